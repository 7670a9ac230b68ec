"""Count what a client asks a PostgreSQL server for, by reading along between the two."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from threading import Thread

# "Frontend/Backend Protocol", Message Formats: these run something; the rest of the extended protocol prepares it.
_STATEMENTS = {b"Q": "query", b"E": "execute", b"F": "function call"}
_STARTUP = 196_608
_HEADER = struct.Struct("!ci")


class Reader:
    """Follow the messages of one client."""

    def __init__(self, proxy: CountingProxy) -> None:
        self._proxy = proxy
        self._buffer = b""
        self._has_started = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes; what is incomplete waits for more."""
        self._buffer += data
        while self._startup() if not self._has_started else self._message():
            pass

    def _startup(self) -> bool:
        """Read a message without a type: a request for encryption, which is refused, or the startup itself."""
        if len(self._buffer) < 8:
            return False
        length, code = struct.unpack_from("!ii", self._buffer)
        if len(self._buffer) < length:
            return False
        self._buffer = self._buffer[length:]
        if code == _STARTUP:
            self._has_started = True
            self._proxy.connections += 1
        return True

    def _message(self) -> bool:
        if len(self._buffer) < _HEADER.size:
            return False
        kind, length = _HEADER.unpack_from(self._buffer)
        if len(self._buffer) <= length:
            return False
        if kind in _STATEMENTS:
            self._proxy.statements.append(self._buffer[_HEADER.size : length].decode(errors="replace"))
        self._buffer = self._buffer[length + 1 :]
        return True


class CountingProxy:
    """Pass a port of 127.0.0.1 on to a server, and note each statement. To be used as a context manager.

    `statements` and `connections` are written by the proxy's own thread; a statement is noted before the server gets
    it, so that whoever has its result finds it there.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self.statements: list[str] = []
        self.connections = 0
        self.address = ("127.0.0.1", 0)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="counting proxy", daemon=True)

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*self._upstream)
        await asyncio.gather(_pump(client, to_server, Reader(self)), _pump(server, to_client, None))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, reader: Reader | None) -> None:
    """Pass bytes on until the source ends, and then end the target."""
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            if reader is not None:
                reader.feed(data)
            target.write(data)
            await target.drain()
    target.close()
