"""Stand between an app and its server as a network does, and fail as networks fail.

One event loop in a thread of its own; every method may be called from any other thread and has taken effect when it
returns. Bytes that are swallowed are acknowledged all the same, as by a firewall that has forgotten a flow.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial
from threading import Thread

_RESET = struct.pack("ii", 1, 0)


class _Side(asyncio.Protocol):
    """One end of a flow: hands over what arrives to the other end."""

    def __init__(self, flow: _Flow) -> None:
        self._flow = flow
        self._peer: _Side | None = None
        self._due = 0.0
        # What arrived before the other end was there: Python before 3.11.5 reads on although it was told to pause.
        self._early: list[bytes] = []
        self.transport: asyncio.Transport | None = None

    def join(self, peer: _Side) -> None:
        self._peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._flow.opened(self)

    def data_received(self, data: bytes) -> None:
        self._later(partial(self._pass, data))
        rate = self._flow.proxy.bytes_per_s
        if rate and self.transport is not None:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(len(data) / rate, self._read_on)

    def _read_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        self._later(self._hang_up)
        # Who hung up is gone, forgotten or not: his own end closes.
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._later(self._hang_up)
        self._flow.closed(self)

    def _later(self, action: Callable[[], None]) -> None:
        """Act after the proxy's delay, and never before what came earlier."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._due = max(self._due, now + self._flow.proxy.delay_s)
        if self._due <= now:
            action()
        else:
            loop.call_at(self._due, action)

    def _pass(self, data: bytes) -> None:
        if not self._is_heard():
            return
        if self._peer is None or self._peer.transport is None:
            self._early.append(data)
        else:
            self._peer.transport.write(data)

    def catch_up(self) -> None:
        """Hand over what arrived early."""
        early, self._early = self._early, []
        for data in early:
            self._pass(data)

    def _hang_up(self) -> None:
        if self._is_heard() and self._peer is not None and self._peer.transport is not None:
            self._peer.transport.close()

    def _is_heard(self) -> bool:
        return not self._flow.is_forgotten


class _Flow:
    """One connection of the app, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        # For ever: a flow of which bytes were lost can never go on.
        self.is_forgotten = proxy.is_swallowing
        self.sides: set[_Side] = set()
        self._client = _Side(self)
        self._connecting: asyncio.Task[None] | None = None

    def accepted(self) -> _Side:
        proxy = self.proxy
        proxy.flows.add(self)
        proxy.accepted_count += 1
        return self._client

    def opened(self, side: _Side) -> None:
        assert side.transport is not None
        assert self._client.transport is not None
        self.sides.add(side)
        self.proxy.flows.add(self)
        if side is self._client and not self.is_forgotten:
            side.transport.pause_reading()
            self._connecting = asyncio.ensure_future(self._connect(side.transport))
        if side is not self._client:
            self._client.catch_up()
            if self._client.transport.is_closing():  # who asked for it has hung up meanwhile
                side.transport.close()

    async def _connect(self, client: asyncio.Transport) -> None:
        try:
            await asyncio.get_running_loop().create_connection(self._joined, *self.proxy.upstream)
        except OSError:
            self.reset()
        else:
            if not client.is_closing():
                client.resume_reading()

    def _joined(self) -> _Side:
        server = _Side(self)
        server.join(self._client)
        self._client.join(server)
        return server

    def closed(self, side: _Side) -> None:
        self.sides.discard(side)
        if not self.sides:
            self.proxy.flows.discard(self)

    def reset(self) -> None:
        """Break off, at both ends."""
        if self._connecting is not None:
            self._connecting.cancel()
        for side in self.sides:
            assert side.transport is not None
            end = side.transport.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.transport.abort()


class Proxy:
    """Pass a port of 127.0.0.1 on to `upstream`, until told to do something else. To be used as a context manager."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.delay_s, self.bytes_per_s = 0.0, 0.0
        self.is_swallowing = False
        self.accepted_count = 0
        self.flows: set[_Flow] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        # What was acknowledged here must not look delivered for long.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._do(self._listen(self._listener))
        return self

    def __exit__(self, *error: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def refuse(self) -> None:
        """Refuse new connections, as a host without the service does; existing flows go on."""
        self._do(self._close_listener())

    def accept(self) -> None:
        """End refuse()."""
        self._do(self._listen(None))

    def cut(self) -> None:
        """Break all flows off at once, with a reset at both ends."""
        self._do(self._cut())

    def swallow(self) -> None:
        """Be a black hole: accept connections and lose every byte, of old flows and of new ones."""
        self._do(self._forget(is_swallowing=True))

    def heal(self) -> None:
        """End swallow() and delay(). New flows work; those that lost bytes stay dead, and nobody is told."""
        self._do(self._heal())

    def forget(self) -> None:
        """Lose every byte of the flows that exist, for ever, as a firewall that dropped them does; new ones work."""
        self._do(self._forget(is_swallowing=False))

    def delay(self, seconds: float) -> None:
        """Deliver everything so much later, in each direction."""
        self._do(self._set_delay(seconds))

    def throttle(self, bytes_per_s: float) -> None:
        """Read no faster than that, in each direction; buffers are small, as those of a router are."""
        self._do(self._set_rate(bytes_per_s))

    # --- in the loop's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, task) -> None:
        asyncio.run_coroutine_threadsafe(task, self._loop).result(10)

    async def _listen(self, listener: socket.socket | None) -> None:
        if self._server is None:
            listener = listener or socket.create_server(self.address, backlog=512)
            self._server = await self._loop.create_server(lambda: _Flow(self).accepted(), sock=listener, backlog=512)

    async def _close_listener(self) -> None:
        if self._server is not None:
            for listener in self._server.sockets:
                self._loop.remove_reader(listener)
            await asyncio.sleep(0)  # Python leaks what it has accepted, but not attached to a server that is closed
            self._server.close()
            self._server = None

    async def _cut(self) -> None:
        for flow in self.flows.copy():
            flow.reset()

    async def _forget(self, is_swallowing: bool) -> None:
        self.is_swallowing = is_swallowing
        for flow in self.flows:
            flow.is_forgotten = True

    async def _heal(self) -> None:
        self.is_swallowing, self.delay_s = False, 0.0

    async def _set_delay(self, seconds: float) -> None:
        self.delay_s = seconds

    async def _set_rate(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s

    async def _end(self) -> None:
        await self._close_listener()
        while self.flows or len(asyncio.all_tasks()) > 1:
            await self._cut()
            await asyncio.sleep(0)
