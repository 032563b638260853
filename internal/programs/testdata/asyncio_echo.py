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
    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, sock=socket.socket(fileno=3))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    notify("READY=1")
    await stop.wait()
    server.close()
    # Each connection is a task from the moment that it is accepted.
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


asyncio.run(main())
