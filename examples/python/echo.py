#!/usr/bin/env python3
"""An echo server that a supervisor can replace without losing a connection.

It implements docs/protocol.md from scratch with Python's standard library:
hello, welcome, listeners, received, ready; pause, resume, drain; stats; rejoin,
when its supervisor was killed. One thread and one selector, so that "nothing
more will be accepted" is true the moment that the listeners are taken out of the
selector.

    supervisor run --listen echo=tcp://127.0.0.1:7007 -- python3 echo.py

Without a supervisor it opens its own port, for development:

    python3 echo.py 7007
"""

import json
import os
import selectors
import signal
import socket
import struct
import sys
import time

PROTOCOL = 1
MAX_PACKET = 65536
MAX_FDS = 253
SO_COOKIE = 57
STREAMS = ("tcp", "tcp4", "tcp6", "unix")
DURATIONS = 24  # elements of the histogram: the last counts 2^22 ms and longer
ORDER_GRACE = 0.5  # seconds
STATS_AT_LEAST = 1  # seconds after which a listener is reported though nothing happened
PACKETS = 100  # of statistics in a second at most; the supervisor takes many more for a flood
ACCEPTS = 64  # connections taken in one go, before the others have their turn
GIFTS = 24  # listeners given back in one packet: as many as fit with the longest names
FIRST_TRY = 0.02  # seconds after the end of the channel
PACE = 1  # seconds between attempts to rejoin, in the end
ATTEMPT = 10  # seconds that one may take


class Failure(Exception):
    """The reason why this program cannot do its work."""


class Channel:
    """The SOCK_SEQPACKET socket to the supervisor: one packet, one message."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.set_inheritable(False)

    @classmethod
    def inherited(cls, fd):
        try:
            sock = socket.socket(fileno=fd)
        except OSError as error:
            raise Failure(f"SUPERVISOR_FD={fd} is not a socket: {error}") from error
        if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_SEQPACKET:
            sock.detach()  # it belongs to somebody else
            raise Failure(f"SUPERVISOR_FD={fd} is not a channel")
        return cls(sock)

    @classmethod
    def at(cls, path):
        """Connects to a rendezvous, if nobody else can hear the token there."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.setblocking(False)
            sock.connect(path)
            sock.setblocking(True)
            _, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if user not in (0, os.geteuid()):
                raise Failure(f"user {user} listens there, who is neither root nor this one")
        except Exception:
            sock.close()
            raise
        return cls(sock)

    def send(self, kind, fds=(), **fields):
        """Sends a message; a supervisor that is gone is no reason to stop.

        One that does not read is none to wait, where the message is only news.
        """
        flags = socket.MSG_DONTWAIT if kind == "stats" else 0
        packet = json.dumps({"type": kind, **fields}).encode()
        try:
            if fds:
                socket.send_fds(self.sock, [packet], fds, flags)
            else:
                self.sock.send(packet, flags)
        except (BrokenPipeError, ConnectionResetError, BlockingIOError):
            pass

    def receive(self):
        """Returns a message and its descriptors; (None, []) at the end."""
        try:
            packet = self._recv()
        except ConnectionResetError:
            packet = self._recv()  # reported once; what was sent before follows
        data, fds, flags, _ = packet
        try:
            if flags & socket.MSG_CTRUNC:
                raise Failure(
                    "descriptors were lost: this process may not open enough "
                    "(RLIMIT_NOFILE); raise it, in systemd with LimitNOFILE="
                )
            if not data and not fds:
                return None, []
            if flags & socket.MSG_TRUNC:
                raise ValueError(f"the packet is longer than {MAX_PACKET} bytes")
            message = json.loads(data)
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                raise ValueError("the packet is not an object with a type")
        except Exception:
            close_all(fds)
            raise
        return message, fds

    def _recv(self):
        return socket.recv_fds(self.sock, MAX_PACKET, MAX_FDS, socket.MSG_CMSG_CLOEXEC)

    def expect(self, kind):
        """Receives a message of one type: the only one that can come now."""
        message, fds = self.receive()
        if message is None:
            raise Failure(f"the supervisor left before it sent {kind}")
        if message["type"] == "error":
            raise Failure(f"the supervisor refused: {message.get('reason')}")
        if message["type"] != kind:
            close_all(fds)
            raise Failure(f"the supervisor sent {message['type']} instead of {kind}")
        return message, fds


def close_all(fds):
    for fd in fds:
        os.close(fd)


class Listener:
    """A listening socket, shared with the supervisor and other generations."""

    def __init__(self, name, sock, description=None):
        self.name = name
        self.sock = sock
        self.description = description or {}  # as the supervisor has it
        self.accepted = 0
        self.open = set()  # of Connection
        self.durations = [0] * DURATIONS
        self.told = None  # the counts that were sent last
        self.told_at = 0

    def counts(self):
        return self.accepted, len(self.open)

    def kept(self):
        """Whether the service manager holds the socket too."""
        return self.description.get("kept", False)

    def cookie(self):
        raw = self.sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
        return str(struct.unpack("=Q", raw)[0])


class Connection:
    """A client, and what is still to be sent back to it."""

    def __init__(self, sock, listener):
        self.sock = sock
        self.listener = listener
        self.since = time.monotonic()
        self.unsent = b""

    def age_ms(self):
        return int((time.monotonic() - self.since) * 1000)


def about_me():
    return {"protocol": PROTOCOL, "pid": os.getpid(), "library": "echo.py", "capabilities": ["pause", "stats"]}


def join(channel):
    """The child's end of the handoff: returns the welcome and the listeners."""
    channel.send("hello", **about_me())
    welcome, fds = channel.expect("welcome")
    close_all(fds)  # the probe socket: not stated, not used
    if welcome.get("protocol") != PROTOCOL:
        raise Failure(f"the supervisor speaks version {welcome.get('protocol')}, this program {PROTOCOL}")
    listeners = []
    while len(listeners) < welcome.get("listeners", 0):
        batch, fds = channel.expect("listeners")
        listeners += take(channel, batch, fds)
    if len(listeners) != welcome.get("listeners", 0):
        raise Failure(f"{len(listeners)} listeners came, {welcome.get('listeners')} were announced")
    return welcome, listeners


def take(channel, batch, fds):
    """Acknowledges a batch with the cookies as this process sees them."""
    # socket(fileno=...) changes no flag of the shared socket, and neither may
    # anything later: settimeout(None) would make it blocking for everyone.
    sockets = [socket.socket(fileno=fd) for fd in fds]
    described = batch["listeners"]
    if len(sockets) != len(described):
        raise Failure(f"{len(sockets)} descriptors came for {len(described)} listeners")
    listeners = [Listener(d["name"], s, d) for d, s in zip(described, sockets)]
    cookies = [listener.cookie() for listener in listeners]
    channel.send("received", batch=batch["batch"], count=len(listeners), cookies=cookies)
    for d, cookie in zip(described, cookies):
        if d["cookie"] != cookie:
            raise Failure(f"listener {d['name']} is socket {cookie} instead of {d['cookie']}")
        if d["network"] not in STREAMS:
            raise Failure(f"listener {d['name']} is {d['network']}, and this program serves streams only")
    return listeners


class Homecoming:
    """The way to the supervisor that goes on where the last one was.

    It is taken step by step from the server's loop, which serves all the while.
    """

    def __init__(self, server, welcome):
        self.server = server
        self.welcome = welcome  # the last one
        self.pace = FIRST_TRY
        self.due = time.monotonic() + self.pace  # of the next attempt, or of the end of this one
        self.channel = None  # of an attempt under way
        self.batches = []  # of listeners to give back
        self.given = 0  # batches sent
        self.missing = None  # since when the folder of the rendezvous is
        self.reasons = set()  # said already

    def act(self):
        """Called when due."""
        if self.channel:
            self.fail("it does not answer", PACE)
            return
        try:
            self.channel = Channel.at(self.welcome["rendezvous"])
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            self.nobody()
        except (OSError, Failure) as error:
            self.fail(str(error), PACE)
        else:
            self.missing = None
            self.begin()

    def nobody(self):
        """Nobody is there yet; or ever, if the folder is gone for a second."""
        now = time.monotonic()
        if os.path.exists(os.path.dirname(self.welcome["rendezvous"])):
            self.missing = None
        elif self.missing is None:
            self.missing = now
        elif now - self.missing >= 1 and self.server.drains is None:
            print("the service was stopped: draining", file=sys.stderr, flush=True)
            self.server.drain([], 30, final=True)
        self.wait()

    def wait(self, pace=0):
        self.pace = min(max(2 * self.pace, pace), PACE)
        self.due = time.monotonic() + self.pace

    def fail(self, reason, pace=0):
        """Ends an attempt. Each reason is said once."""
        if self.channel:
            if self.channel.sock in self.server.selector.get_map():
                self.server.selector.unregister(self.channel.sock)
            self.channel.sock.close()
            self.channel = None
        if reason not in self.reasons and len(self.reasons) < 16:
            self.reasons.add(reason)
            print(f"cannot rejoin the supervisor yet: {reason[:1000]}", file=sys.stderr, flush=True)
        self.wait(pace)

    def begin(self):
        """Says who this is and gives the first listeners back."""
        server = self.server
        held = [l for l in server.listeners if l.sock.fileno() >= 0]
        self.batches = [held[i : i + GIFTS] for i in range(0, len(held), GIFTS)]
        self.given = 0
        self.due = time.monotonic() + ATTEMPT
        server.selector.register(self.channel.sock, selectors.EVENT_READ, self.read)
        self.channel.send(
            "rejoin",
            **about_me(),
            service=self.welcome["service"],
            generation=self.welcome["generation"],
            token=self.welcome["token"],
            ready=server.ready,
            draining=server.drains is not None,
            listeners=len(held),
        )
        self.give()

    def give(self):
        """Sends the next batch, if one is left."""
        if self.given == len(self.batches):
            return
        batch = self.batches[self.given]
        self.given += 1
        self.channel.send(
            "listeners",
            fds=[l.sock.fileno() for l in batch],
            batch=self.given,
            of=len(self.batches),
            listeners=[l.description for l in batch],
        )

    def read(self, _):
        try:
            message, fds = self.channel.receive()
            close_all(fds)
            self.obey(message)
        except (Failure, ValueError, KeyError, TypeError, OSError) as error:
            self.fail(str(error))

    def obey(self, message):
        if message is None:
            raise Failure("the supervisor closed the connection")
        if message["type"] == "error" and message.get("dismissed"):
            self.fail(f"the supervisor dismissed this generation: {message.get('reason')}")
            self.server.home = None
            self.server.drain([], 30, final=True)
        elif message["type"] == "error":
            self.fail(f"the supervisor refused: {message.get('reason')}", PACE)
        elif message["type"] == "received" and self.given > 0:
            batch = self.batches[self.given - 1]
            if message["batch"] != self.given or message["cookies"] != [l.description["cookie"] for l in batch]:
                raise Failure("the supervisor received other sockets than those that were sent")
            self.give()
        elif message["type"] == "welcome":
            self.arrive(message)
        else:
            raise Failure(f"the supervisor sent {message['type'][:100]}")

    def arrive(self, welcome):
        if welcome.get("protocol") != PROTOCOL:
            raise Failure(f"the supervisor speaks version {welcome.get('protocol')}, this program {PROTOCOL}")
        for field, mine in (
            ("service", self.welcome["service"]),
            ("generation", self.welcome["generation"]),
            ("listeners", sum(len(batch) for batch in self.batches)),
        ):
            if welcome.get(field, 0) != mine:
                raise Failure(f"the welcome is for somebody else: its {field} is {welcome.get(field)}, not {mine}")
        self.server.selector.unregister(self.channel.sock)
        self.server.follow(self.channel, welcome)


class Server:
    """Serves the listeners until it is told to drain and has done so."""

    def __init__(self, listeners):
        self.selector = selectors.DefaultSelector()
        self.listeners = listeners
        self.connections = set()
        self.channel = None
        self.welcome = {}
        self.home = None  # a Homecoming, while there is no supervisor
        self.ready = False
        self.stats_every = 0
        self.next_stats = time.monotonic()
        self.accepting = False
        self.drains = None  # ids to answer, once it drains
        self.deadline = None
        self.order_by = None  # after SIGTERM: when to drain without an order
        self.cut = 0
        self.catch_sigterm()

    def follow(self, channel, welcome):
        """Obeys a supervisor from now on."""
        self.channel, self.welcome, self.home = channel, welcome, None
        self.stats_every = welcome.get("stats_ms", 0) / 1000
        self.next_stats = time.monotonic() + self.stats_every
        for listener in self.listeners:
            listener.told = None
        self.selector.register(channel.sock, selectors.EVENT_READ, self.read_channel)

    def become_ready(self):
        self.resume()
        self.ready = True
        if self.channel:
            self.channel.send("ready")

    def catch_sigterm(self):
        """Turns SIGTERM and SIGINT into a readable socket."""
        self.woken, waker = socket.socketpair()
        for end in (self.woken, waker):
            end.setblocking(False)
        self.waker = waker
        signal.set_wakeup_fd(waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.selector.register(self.woken, selectors.EVENT_READ, self.read_signal)

    def read_signal(self, _):
        self.woken.recv(64)
        if self.drains is not None:
            return
        if self.channel is None:
            self.drain([], 30, final=True)
        elif self.order_by is None:
            # The supervisor may have got the same signal and is about to say how
            # to end. Until then clients are served; without an order it keeps
            # the sockets, and what is queued.
            self.order_by = time.monotonic() + ORDER_GRACE

    # Accepting

    def resume(self):
        if not self.accepting:
            for listener in self.listeners:
                self.selector.register(listener.sock, selectors.EVENT_READ, lambda _, l=listener: self.accept(l))
            self.accepting = True

    def pause(self):
        """No accept is under way in a single thread: this takes effect at once."""
        if self.accepting:
            for listener in self.listeners:
                self.selector.unregister(listener.sock)
            self.accepting = False

    def accept(self, listener):
        """Takes what waits; returns how many connections that were."""
        for taken in range(ACCEPTS):
            try:
                sock, _ = listener.sock.accept()
            except BlockingIOError:
                return taken  # all are taken, perhaps by another generation
            except ConnectionAbortedError:
                continue
            except OSError as error:
                print(f"cannot accept: {error}", file=sys.stderr, flush=True)
                time.sleep(0.01)  # too many open files: let some close
                return taken
            sock.setblocking(False)
            listener.accepted += 1
            connection = Connection(sock, listener)
            self.connections.add(connection)
            listener.open.add(connection)
            self.selector.register(sock, selectors.EVENT_READ, lambda events, c=connection: self.serve(c, events))
        return ACCEPTS

    # Serving

    def serve(self, connection, events):
        """Echoes. A client that does not read is not read from either."""
        try:
            if events & selectors.EVENT_READ:
                data = connection.sock.recv(65536)
                if not data:
                    self.close(connection)
                    return
                connection.unsent = data
            sent = connection.sock.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.close(connection)
            return
        wanted = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        key = self.selector.get_key(connection.sock)
        if key.events != wanted:
            self.selector.modify(connection.sock, wanted, key.data)

    def close(self, connection):
        self.selector.unregister(connection.sock)
        connection.sock.close()
        self.connections.remove(connection)
        connection.listener.open.remove(connection)
        bucket = connection.age_ms().bit_length()
        connection.listener.durations[min(bucket, DURATIONS - 1)] += 1

    # The supervisor

    def read_channel(self, _):
        try:
            message, fds = self.channel.receive()
        except (ValueError, Failure) as error:
            self.channel.send("error", reason=str(error)[:1000])
            return
        close_all(fds)  # nothing that comes after the handoff carries any
        if message is None:
            self.lose_channel()
            return
        try:
            self.obey(message)
        except (KeyError, TypeError) as error:
            self.channel.send("error", reason=f"bad {message['type']} message: {error}")

    def obey(self, message):
        kind = message["type"]
        if kind == "drain":
            self.drain([message["id"]], message.get("deadline_ms", 0) / 1000, message.get("final", False))
        elif kind in ("pause", "resume") and self.drains is not None:
            self.channel.send("error", reason=f"cannot {kind}: this generation drains")
        elif kind == "pause":
            self.pause()
            self.send_stats()
            self.channel.send("paused", id=message["id"], accepted=self.accepted())
        elif kind == "resume":
            self.resume()
            self.channel.send("resumed", id=message["id"])
        elif kind == "error":
            print(f"the supervisor says: {message.get('reason')}", file=sys.stderr, flush=True)
        else:
            self.channel.send("error", reason=f"unknown message {kind[:100]}")

    def lose_channel(self):
        """Serves on; and if it was paused, nobody is left to resume it."""
        self.selector.unregister(self.channel.sock)
        self.channel.sock.close()
        self.channel = None
        if self.order_by is not None:
            self.drain([], 30, final=True)
        elif self.drains is None:
            self.resume()
        else:
            self.drains = []  # the next supervisor has other numbers
        if self.welcome.get("rendezvous"):
            self.home = Homecoming(self, self.welcome)

    def accepted(self):
        return sum(listener.accepted for listener in self.listeners)

    def send_stats(self, final=True):
        """Sends all figures, or those that changed or were left out for long.

        They have no answered, for an echo has no requests, and no sojourn, which
        may be left out.
        """
        if not self.channel or not self.stats_every:
            return
        now = time.monotonic()
        # The next look would come too late for those told before this moment.
        overdue = now + self.stats_every - STATS_AT_LEAST
        news = [l for l in self.listeners if final or l.counts() != l.told or l.told_at < overdue]
        for start in range(0, len(news), 100):  # a packet has its limit
            self.channel.send("stats", listeners=[self.stats_of(l) for l in news[start : start + 100]])
        for listener in news:
            listener.told, listener.told_at = listener.counts(), now
        self.next_stats = now + max(self.stats_every, len(news) / 100 / PACKETS)

    def stats_of(self, listener):
        return {
            "name": listener.name,
            "accepted": listener.accepted,
            "active": len(listener.open),
            "oldest_ms": max((c.age_ms() for c in listener.open), default=0),
            "durations": listener.durations,
        }

    # The end

    def drain(self, ids, seconds, final):
        """Accepts nothing more and lets the clients finish until the deadline."""
        self.deadline = time.monotonic() + seconds
        if self.drains is not None:
            self.drains += ids
            return
        self.drains = ids
        if final:
            self.empty_queues(time.monotonic() + seconds / 2)
        self.pause()
        for listener in self.listeners:
            listener.sock.close()

    def empty_queues(self, until):
        """Nobody else will take what waits; closing would reset it.

        What waits at a kept listener is left to the service manager.
        """
        lost = [l for l in self.listeners if not l.kept()]
        while time.monotonic() < until:
            if not sum(self.accept(listener) for listener in lost):
                return

    def drained(self):
        """An echo client cannot be told to go: it leaves, or it is cut."""
        if self.connections and time.monotonic() < self.deadline:
            return False
        self.cut = len(self.connections)
        for connection in list(self.connections):
            self.close(connection)
        self.send_stats()
        for number in self.drains:
            if self.channel:
                self.channel.send("drained", id=number, accepted=self.accepted(), cut=self.cut)
        return True

    def timeout(self):
        times = []
        if self.channel and self.stats_every:
            times.append(self.next_stats)
        if self.home:
            times.append(self.home.due)
        if self.deadline is not None:
            times.append(self.deadline)
        elif self.order_by is not None:
            times.append(self.order_by)
        return max(0, min(times) - time.monotonic()) if times else None

    def run(self):
        while self.drains is None or not self.drained():
            for key, events in self.selector.select(self.timeout()):
                if key.fileobj.fileno() >= 0:  # not closed by an earlier one
                    key.data(events)
            if time.monotonic() >= self.next_stats:
                self.send_stats(final=False)
            if self.home and time.monotonic() >= self.home.due:
                self.home.act()
            if self.drains is None and self.order_by is not None and time.monotonic() >= self.order_by:
                self.drain([], 30, final=False)


def alone(arguments):
    """No supervisor: opens a port of its own."""
    port = int(arguments[0]) if arguments else 7007
    sock = socket.create_server(("127.0.0.1", port))
    sock.setblocking(False)
    print(f"no supervisor; echoing at 127.0.0.1:{sock.getsockname()[1]}", file=sys.stderr, flush=True)
    return [Listener("echo", sock)]


def main(arguments):
    value = os.environ.pop("SUPERVISOR_FD", None)
    if value is None:
        server = Server(alone(arguments))
        server.become_ready()
        server.run()
        return 0
    channel = Channel.inherited(int(value))
    try:
        welcome, listeners = join(channel)
    except (Failure, ValueError, KeyError, TypeError, OSError) as error:
        channel.send("failed", reason=str(error)[:1000])
        print(error, file=sys.stderr, flush=True)
        return 1
    server = Server(listeners)
    server.follow(channel, welcome)
    server.become_ready()
    server.run()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as reason:
        sys.exit(str(reason))
