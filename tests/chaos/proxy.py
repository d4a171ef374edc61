# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Takt authors
"""A TCP fault proxy before PostgreSQL, in a thread of its own.

    with Proxy(pg.host + "/.s.PGSQL.5432") as proxy:          # or ("127.0.0.1", 5432)
        node.db = f"{proxy.conninfo} dbname=takt"
        proxy.hold()                                          # black hole: accepted, passed on at heal()
        proxy.heal()
        drop = proxy.drop_commit(role="takt_engine")          # the next commit's answer never arrives
        drop.wait(10); drop.statements

Of the protocol (v3) it knows the framing, the user of the startup packet and the names of the statements in
Bind. Faults apply to the connections of `role` (None: all), also to ones that are made later, until heal().
What a held connection sent stays in order and arrives at heal(), the end of the connection too: as TCP does
when the network is back before anybody gave up.
"""
import asyncio
import collections
import socket
import struct
import threading
import time

CHUNK = 64 * 1024
WAITING_MAX = 2000  # chunks per direction; then the sender is held by its own full socket
UP, DOWN = "up", "down"  # to the server, to the client
CANCEL, SSL, GSS = 80877102, 80877103, 80877104


class Framer:
    """Cuts a stream into messages. The client's begins with untyped packets."""

    def __init__(self, is_client):
        self.buffer = b""
        self.has_type = not is_client

    def feed(self, data):
        """[(type or "", whole message)]; an incomplete rest waits."""
        self.buffer += data
        found = []
        while True:
            head = 1 if self.has_type else 0
            if len(self.buffer) < head + 4:
                return found
            size = head + struct.unpack_from("!I", self.buffer, head)[0]
            if size < head + 4 or size > 1 << 30:
                raise ValueError("not the PostgreSQL protocol")
            if len(self.buffer) < size:
                return found
            message, self.buffer = self.buffer[:size], self.buffer[size:]
            found.append((chr(message[0]) if self.has_type else "", message))
            if not self.has_type and struct.unpack_from("!I", message, 4)[0] not in (SSL, GSS, CANCEL):
                self.has_type = True


def startup_user(message):
    fields = message[8:].split(b"\0")
    return dict(zip(fields[::2], fields[1::2])).get(b"user", b"").decode()


def bound_statement(message):
    return message[5:].split(b"\0")[1].decode()


class Drop:
    """One commit whose answer is to vanish. statements: what the transaction executed."""

    def __init__(self, role, wanted, passing):
        self.role, self.wanted, self.passing = role, wanted, passing
        self.statements, self.at, self.link = [], None, None
        self._done = threading.Event()

    def suits(self, link, statements):
        if self.at or self.link or (self.role and link.user != self.role):
            return False
        if not (statements if self.wanted is None else set(statements) & self.wanted):
            return False
        self.passing -= 1
        return self.passing < 0

    def wait(self, limit_s):
        return self._done.wait(limit_s)

    @property
    def is_done(self):
        return self._done.is_set()


class Link:
    """One client with its connection to the server."""

    def __init__(self, proxy, reader, writer):
        self.proxy, self.client = proxy, (reader, writer)
        self.server = None
        self.user = ""
        self.framers = {UP: Framer(True), DOWN: Framer(False)}
        self.asked = 0  # encryption requests that wait for their one byte
        self.statements = []  # of the transaction that is being sent
        self.open_syncs = collections.deque()  # [statements, drop or None] for each answer to come
        self.kept, self.has_error = [], False
        self.queues = {UP: asyncio.Queue(WAITING_MAX), DOWN: asyncio.Queue(WAITING_MAX)}
        self.tasks = []
        self.is_over = False
        self.broken = set()  # directions whose receiver is gone

    async def run(self):
        try:
            target = self.proxy.target
            self.server = await (asyncio.open_unix_connection(target) if isinstance(target, str)
                                 else asyncio.open_connection(*target))
        except OSError:
            self.reset()
            return
        pumps = ((UP, self.client[0], self.server[1]), (DOWN, self.server[0], self.client[1]))
        for way, reader, writer in pumps:
            self.tasks.append(asyncio.ensure_future(self._read(way, reader)))
            self.tasks.append(asyncio.ensure_future(self._write(way, writer)))
        await asyncio.wait([t for i, t in enumerate(self.tasks) if i % 2])
        self.close(is_abrupt=False)

    async def _read(self, way, reader):
        try:
            while data := await reader.read(CHUNK):
                out = self._see_client(data) if way == UP else self._see_server(data)
                if out and way not in self.broken:
                    await self.queues[way].put((time.monotonic(), out))
        except (OSError, ValueError):
            pass
        if way not in self.broken:
            await self.queues[way].put((time.monotonic(), b""))

    async def _write(self, way, writer):
        try:
            while True:
                arrived, data = await self.queues[way].get()
                await self.proxy.may_pass(self, way, arrived, len(data))
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
        except (OSError, RuntimeError):
            # The sender learns it from the other direction, when that one passes something on.
            self.broken.add(way)
            while not self.queues[way].empty():
                self.queues[way].get_nowait()

    def _see_client(self, data):
        for kind, message in self.framers[UP].feed(data):
            if kind == "":
                code = struct.unpack_from("!I", message, 4)[0]
                if code in (SSL, GSS):
                    self.asked += 1
                elif code != CANCEL:
                    self.user = startup_user(message)
            elif kind == "B":
                self.statements.append(bound_statement(message))
            elif kind in "SQ":
                if kind == "Q":
                    self.statements.append("query")
                self.open_syncs.append([self.statements, self.proxy.find_drop(self, self.statements)])
                self.statements = []
        return data

    def _see_server(self, data):
        out = []
        if self.asked and data[:1] in b"NS":  # S would be TLS: the test's server has none
            self.asked -= 1
            out, data = [data[:1]], data[1:]
        for kind, message in self.framers[DOWN].feed(data):
            is_kept = bool(self.open_syncs and self.open_syncs[0][1])
            (self.kept if is_kept else out).append(message)
            self.has_error |= kind == "E"
            if kind == "Z" and self.open_syncs:
                self._answered(*self.open_syncs.popleft(), out)
                if self.is_over:
                    return b"".join(out)
        return b"".join(out)

    def _answered(self, statements, drop, out):
        """A transaction is over. One that failed was no commit: its answer passes, the drop waits for another."""
        was_error, self.has_error = self.has_error, False
        if not drop:
            return
        if was_error:
            drop.link = None
            out += self.kept
            self.kept = []
            return
        drop.statements, drop.at = statements, time.time()
        self.proxy.finished_drop(drop)
        self.reset()

    def reset(self):
        """Both ends at once, to the client as RST."""
        sock = self.client[1].get_extra_info("socket")
        if sock is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        self.close()

    def half_close(self, way):
        """The end of one direction; the other goes on."""
        writer = (self.server if way == UP else self.client)[1]
        try:
            writer.write_eof()
        except (OSError, RuntimeError):
            pass

    def close(self, is_abrupt=True):
        if self.is_over:
            return
        self.is_over = True
        for _, drop in self.open_syncs:
            if drop:
                drop.link = None  # never answered: another commit takes its place
        for side in (self.client, self.server):
            if side:
                (side[1].transport.abort if is_abrupt else side[1].close)()
        for task in self.tasks:
            if task is not asyncio.current_task(self.proxy.loop):
                task.cancel()
        self.proxy.links.discard(self)


class Proxy:
    def __init__(self, target, name="proxy"):
        self.target, self.name = target, name
        self.links, self.drops, self.dropped = set(), [], []
        self.held = {}  # way -> role or None
        self.delay_s, self.rate_bps, self.slow_role = 0.0, 0, None
        self.is_refusing = False
        self.opened = 0
        self.loop = asyncio.new_event_loop()
        self._gate = None
        ready = threading.Event()
        self.thread = threading.Thread(target=self._main, args=(ready,), name=name, daemon=True)
        self.thread.start()
        ready.wait()

    def _main(self, ready):
        asyncio.set_event_loop(self.loop)
        self._gate = asyncio.Condition()

        async def listen():
            self.listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
            self.port = self.listener.sockets[0].getsockname()[1]
            ready.set()
        self.loop.run_until_complete(listen())
        self.loop.run_forever()

    async def _accept(self, reader, writer):
        link = Link(self, reader, writer)
        self.opened += 1
        self.links.add(link)
        if self.is_refusing:
            link.reset()
            return
        try:
            await link.run()
        except asyncio.CancelledError:
            pass
        finally:
            link.close()

    async def may_pass(self, link, way, arrived, size):
        """Waits for what the faults in force ask for."""
        if size and self.delay_s and self._is_meant(link, self.slow_role):
            await asyncio.sleep(max(0.0, arrived + self.delay_s - time.monotonic()))
        if size and self.rate_bps and self._is_meant(link, self.slow_role):
            await asyncio.sleep(size / self.rate_bps)
        while way in self.held and self._is_meant(link, self.held[way]):
            async with self._gate:
                await self._gate.wait()

    @staticmethod
    def _is_meant(link, role):
        return role is None or link.user == role

    def find_drop(self, link, statements):
        for drop in self.drops:
            if drop.suits(link, statements):
                drop.link = link
                return drop
        return None

    def finished_drop(self, drop):
        self.drops.remove(drop)
        self.dropped.append(drop)
        drop._done.set()

    # From any other thread ------------------------------------------------------------------------

    @property
    def conninfo(self):
        return f"host=127.0.0.1 port={self.port}"

    def _call(self, function):
        async def run():
            function()
            async with self._gate:
                self._gate.notify_all()
        asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def _each(self, role, what):
        for link in list(self.links):
            if self._is_meant(link, role):
                what(link)

    def hold(self, role=None, ways=(UP, DOWN)):
        """Nothing passes; both ends see an open connection. One way: cut in that direction only."""
        self._call(lambda: self.held.update({way: role for way in ways}))

    def slow(self, role=None, delay_s=0.0, rate_bps=0):
        """Each piece arrives so much later, and no faster than so many bytes a second."""
        self._call(lambda: self.__dict__.update(delay_s=delay_s, rate_bps=rate_bps, slow_role=role))

    def refuse(self):
        """All connections are reset, new ones too."""
        def start():
            self.is_refusing = True
            self._each(None, Link.reset)
        self._call(start)

    def reset(self, role=None):
        self._call(lambda: self._each(role, Link.reset))

    def half_close(self, role=None, way=UP):
        self._call(lambda: self._each(role, lambda link: link.half_close(way)))

    def heal(self, reset=False):
        """No fault any more. reset: what was held is lost, and both ends learn it now; else it arrives now."""
        def stop():
            if reset:
                for role in list(self.held.values()):
                    self._each(role, Link.reset)
            self.held.clear()
            self.delay_s, self.rate_bps, self.slow_role, self.is_refusing = 0.0, 0, None, False
        self._call(stop)

    def forget(self, role=None):
        """As heal(), but what is open now stays dead and silent for ever: a firewall that lost its state."""
        def stop():
            self._each(role, lambda link: setattr(link, "user", "*dead*"))
            self.held = {UP: "*dead*", DOWN: "*dead*"}
            self.delay_s, self.rate_bps, self.is_refusing = 0.0, 0, False
        self._call(stop)

    def drop_commit(self, role="takt_engine", statements=None, passing=0):
        """The answer to a coming commit is dropped and the connection reset, after the server has answered. statements:
        only a transaction with one of these; passing: let so many go first."""
        drop = Drop(role, None if statements is None else set(statements), passing)
        self._call(lambda: self.drops.append(drop))
        return drop

    def disarm(self, drop):
        def stop():
            if drop in self.drops and not drop.link:
                self.drops.remove(drop)
        self._call(stop)

    def close(self):
        async def stop():
            self.listener.close()
            for link in list(self.links):
                link.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.loop.call_soon(self.loop.stop)
        if self.thread.is_alive():
            asyncio.run_coroutine_threadsafe(stop(), self.loop)
            self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
