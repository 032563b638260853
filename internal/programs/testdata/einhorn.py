"""A server of http.server's that runs under einhorn and answers with what it is sent."""
import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ack():
    """Tells einhorn that this process is up, if it listens."""
    path = os.environ.get("EINHORN_SOCK_PATH")
    if path:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(json.dumps({"command": "worker:ack", "pid": os.getpid()}).encode() + b"\n")


listener = socket.socket(fileno=int(os.environ["EINHORN_FD_0"]))
listener.setblocking(False)  # others accept from it too
server = Server(listener.getsockname(), Handler, bind_and_activate=False)
server.socket.close()
server.socket = listener
signal.signal(signal.SIGUSR2, lambda *_: threading.Thread(target=server.shutdown).start())
ack()
server.serve_forever(poll_interval=0.05)
server.server_close()
