"""A server of asyncio's that sends back each connection's bytes."""
import asyncio
import os
import signal
import socket


def notify(state):
    """Tells whoever started this process how it is (sd_notify(3))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(state.encode(), os.environ["NOTIFY_SOCKET"])


async def main():
    open_connections = set()

    async def echo(reader, writer):
        open_connections.add(asyncio.current_task())
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        open_connections.discard(asyncio.current_task())

    server = await asyncio.start_server(echo, sock=socket.socket(fileno=3))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    notify("READY=1")
    await stop.wait()
    server.close()
    while open_connections:
        await asyncio.wait(open_connections)


asyncio.run(main())
