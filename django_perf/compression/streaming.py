"""Compress a body that comes in pieces, in constant memory, and let the client read it as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from time import perf_counter_ns, thread_time_ns

from .codecs import Stream

# A source that took so long for a piece may take as long for the next: what there is goes out.
_SLOW_NS = 2_000_000
# So much is never held back.
_MOST_PENDING = 8_192


class Pump:
    """Feed the pieces of one body to a stream; counts bytes and the CPU time of compressing, in nanoseconds.

    Flushing every piece makes small pieces twice as many bytes, never flushing shows the visitor nothing: what the
    first piece has, what comes slowly and what is much is flushed, or, with `is_live`, everything.
    """

    def __init__(self, stream: Stream, is_live: bool) -> None:
        self._stream, self._is_live = stream, is_live
        self.bytes_in = self.bytes_out = self.cpu_ns = 0
        self._pending = 0
        self._asked_ns = perf_counter_ns()

    def feed(self, chunk: bytes) -> bytes:
        """Take a piece as it comes; returns what is to be sent now, which may be nothing."""
        began, is_first = thread_time_ns(), not self.bytes_in
        is_slow = perf_counter_ns() - self._asked_ns > _SLOW_NS
        self.bytes_in += len(chunk)
        self._pending += len(chunk)
        data = self._stream.write(chunk)
        if self._is_live or is_first or is_slow or self._pending >= _MOST_PENDING:
            data, self._pending = data + self._stream.flush(), 0
        return self._counted(data, began)

    def end(self) -> bytes:
        """Return the rest; a body that fails has no end, so that the client sees that it is broken."""
        began = thread_time_ns()
        return self._counted(self._stream.end(), began)

    def ask(self) -> None:
        """Note that the source is asked for its next piece."""
        self._asked_ns = perf_counter_ns()

    def _counted(self, data: bytes, began: int) -> bytes:
        self.bytes_out += len(data)
        self.cpu_ns += thread_time_ns() - began
        return data


def compressed(chunks: Iterable[bytes], pump: Pump, done: Callable[[Pump], None]) -> Iterator[bytes]:
    """Yield a body as it is compressed; `done` is called at its end, also when it breaks off."""
    try:
        pump.ask()
        for chunk in chunks:
            if chunk and (data := pump.feed(chunk)):
                yield data
            pump.ask()
        yield pump.end()
    finally:
        done(pump)


async def acompressed(chunks: AsyncIterator[bytes], pump: Pump, done: Callable[[Pump], None]) -> AsyncIterator[bytes]:
    """Yield the same of an asynchronous body."""
    try:
        pump.ask()
        async for chunk in chunks:
            if chunk and (data := pump.feed(chunk)):
                yield data
            pump.ask()
        yield pump.end()
    finally:
        done(pump)
