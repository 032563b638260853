// A server that answers with what it is sent, on the listener at descriptor 3.
const http = require('http');

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => response.end(Buffer.concat(parts)));
});
server.listen({ fd: 3 });
process.on('SIGTERM', () => server.close()); // ends when all connections have
