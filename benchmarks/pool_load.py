"""Ask an HTTP server as fast as it answers, over a few connections that stay open.

One thread and one selector for all of them: on a machine of two cores, threads would take from the server what they
are to measure.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STALLED_S = 10.0


@dataclass(frozen=True, slots=True)
class Yield:
    """Hold the requests per second, how many there were with warming up, and the part of a core that asking took."""

    rate: float
    answers: int
    own_part: float


class _Caller:
    """One connection with one request on its way."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self._answer = b""

    def ask(self) -> None:
        self._answer = b""
        self.socket.sendall(self._request)

    def has_answer(self) -> bool:
        """Read what has come; True when that is all."""
        data = self.socket.recv(65_536)
        self._answer += data
        if not data or not self._answer.startswith(b"HTTP/1.1 200 "[: len(self._answer)]):
            raise ConnectionError(f"the server answered {self._answer[:200]!r}")
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return False
        length = _LENGTH.search(head)
        assert length is not None, head
        return len(body) >= int(length[1])


def load(address: tuple[str, int], path: str, callers: int, seconds: float, warm_s: float = 0.2) -> Yield:
    """Ask for `path` over `callers` connections; what comes in the first `warm_s` is not counted."""
    with selectors.DefaultSelector() as selector:
        for _ in range(callers):
            caller = _Caller(address, path)
            selector.register(caller.socket, selectors.EVENT_READ, caller)
            caller.ask()
        try:
            early = _ask_until(selector, time.perf_counter() + warm_s)
            used, started = time.process_time(), time.perf_counter()
            count = _ask_until(selector, started + seconds)
            took, used = time.perf_counter() - started, time.process_time() - used
            _drain(selector)
        finally:
            for key in list(selector.get_map().values()):
                key.data.socket.close()
    return Yield(count / took, early + count + callers, used / took)


def _ask_until(selector: selectors.BaseSelector, deadline: float) -> int:
    """Return the number of answers; each but the last ones is followed by the next request."""
    count = 0
    while time.perf_counter() < deadline:
        for key, _ in _ready(selector):
            if key.data.has_answer():
                count += 1
                key.data.ask()
    return count


def _drain(selector: selectors.BaseSelector) -> None:
    """Wait for the answers that are due, so that the next server is measured alone."""
    waiting = {key.data for key in selector.get_map().values()}
    while waiting:
        for key, _ in _ready(selector):
            if key.data.has_answer():
                waiting.discard(key.data)


def _ready(selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
    ready = selector.select(_STALLED_S)
    if not ready:
        raise TimeoutError(f"no answer for {_STALLED_S} s")
    return ready
