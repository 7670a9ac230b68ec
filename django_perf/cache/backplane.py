"""Tell a process what others have written, and whether it would have been told: only then may it trust its memory.

Three modes. `tracking`: the server itself tells of every change below a prefix (CLIENT TRACKING BCAST, RESP3).
`pubsub`: the writers tell. `ttl`: nobody does, and entries in memory live for a short time only.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from ssl import SSLWantReadError
from threading import Event, RLock, Thread
from typing import Any, Protocol

from .keys import from_bytes, to_bytes
from .resp import Reader, Refused, packed

logger = logging.getLogger("django_perf")

MODES = ("tracking", "pubsub", "ttl")
# A PING every quarter of a second: its PONG comes after all that was told before, on the same connection.
_HEARTBEAT_S = 0.25
# No entry is older than the last PING that was answered; after so long without one, nothing is trusted.
MAX_SILENCE_S = 1.0
_CHUNK = 65_536
_GATHER_S = 0.001
_PAUSES_S = (0.05, 0.1, 0.25, 0.5)
# What a server says that will never have a mode; one that is loading, or busy, or cannot save, says something else.
_DENIED = ("ERR", "NOPERM")


class Listener(Protocol):
    """What is told; called from the thread of the backplane."""

    def invalidated(self, keys: Sequence[str]) -> None:
        """Forget these keys."""

    def forget_all(self) -> None:
        """Forget everything: something may have been missed."""

    def trust(self, until: float) -> None:
        """Memory is right until this moment of the clock, as far as the server has told."""


class Backplane:
    """Listen in one thread per process, which starts with `start` and again after a fork.

    `connect` returns a new connection that speaks RESP3. Where the server refuses a mode, the next one takes its place,
    and the log says so.
    """

    def __init__(
        self,
        listener: Listener,
        connect: Callable[[], Any],
        prefix: str,
        mode: str = "tracking",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mode = mode
        self.is_linked = False
        self.reconnects = 0
        self._listener, self._connect, self._prefix, self._clock = listener, connect, prefix, clock
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        self._pid = 0
        self._starting = RLock()
        self._stop = Event()
        self.is_linked = False
        if (inherited := getattr(self, "_socket", None)) is not None:
            # While a child holds it open too, the server goes on telling when the parent has ended.
            inherited.close()
        self._socket: Any = None
        self._reader = Reader()
        self._answers: deque[Any] = deque()

    @property
    def channel(self) -> str:
        """Return the channel on which writers tell, in mode `pubsub`."""
        return f"{self._prefix}invalidated"

    @property
    def is_told_by_server(self) -> bool:
        """Tell whether this process knows that the server tells of writes, or that nobody does."""
        return self.mode == "ttl" or (self.mode == "tracking" and self.is_linked)

    def start(self) -> None:
        """Listen, if this process does not yet."""
        if self._pid == os.getpid() or self.mode == "ttl":
            return
        with self._starting:  # critical section: two threads would read each other's answers
            pid, self._pid = self._pid, os.getpid()
            if pid == self._pid:
                return
        try:
            Thread(target=self._run, args=(self._pid, self._stop), name="django_perf cache", daemon=True).start()
        except RuntimeError:  # no more threads: at exit, or at a limit of the system
            self._pid = 0

    def stop(self) -> None:
        """End the thread soon."""
        self._stop.set()

    def _run(self, pid: int, stop: Event) -> None:
        failures = 0
        while pid == os.getpid() and not stop.is_set() and self.mode != "ttl":
            failures += 1
            try:
                self._serve(stop)
            except Refused as error:
                if str(error).startswith(_DENIED):
                    self._fall_back(error)
            except Exception:  # the network, a restart, a password: the pause and the next attempt are the answer
                failures = 0 if self.is_linked else failures
            self._listener.trust(0.0)
            self.is_linked = False
            self.reconnects += 1
            stop.wait(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])

    def _serve(self, stop: Event) -> None:
        """Listen until the connection fails. Raises Refused where the server denies it, and what the network raises."""
        connection = self._connect()
        try:
            self._socket, self._reader, self._answers = connection._sock, Reader(), deque()
            _wake_every(self._socket, _HEARTBEAT_S)
            self._ask(self._subscription())
            # From here on the server tells: what was read before is not covered.
            self._listener.forget_all()
            while not stop.is_set():
                self._beat()
        finally:
            connection.disconnect()

    def _subscription(self) -> tuple[str, ...]:
        if self.mode == "tracking":
            return "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix
        return "SUBSCRIBE", self.channel

    def _beat(self) -> None:
        """Ask, trust when the answer has come, and listen until it is time to ask again."""
        asked = self._clock()
        self._ask(("PING",))
        self.is_linked = True
        self._listener.trust(asked + MAX_SILENCE_S)
        self._listen(asked + _HEARTBEAT_S)

    def _ask(self, words: Sequence[str]) -> None:
        """Send a command, and pass on what is told until it has been answered."""
        self._socket.sendall(packed([to_bytes(word) for word in words]))
        deadline = self._clock() + MAX_SILENCE_S
        while not self._answers:
            self._listen(deadline, is_answer_enough=True)
            if not self._answers and self._clock() >= deadline:
                raise TimeoutError("the server is silent")
        answer = self._answers.popleft()
        if isinstance(answer, Refused):
            raise answer

    def _listen(self, until: float, is_answer_enough: bool = False) -> None:
        """Pass on what is told until then; answers are kept."""
        while (left := until - self._clock()) > 0 and not (is_answer_enough and self._answers):
            if self._socket.gettimeout() is not None:
                self._socket.settimeout(left)
            try:
                data = self._socket.recv(_CHUNK)
            except (TimeoutError, BlockingIOError, SSLWantReadError):
                continue
            if not data:
                raise ConnectionError("the server has hung up")
            for answer in self._reader.feed(data):
                self._take(answer)
            if not self._answers:
                # What is told in the next moment is read in one go: each time this thread wakes up, others wait.
                self._stop.wait(_GATHER_S)

    def _take(self, answer: Any) -> None:
        kind = answer[0] if isinstance(answer, tuple) else None
        if kind == b"invalidate":
            keys = answer[1]
            if keys is None:  # FLUSHDB, or the server's table of tracked keys is full
                self._listener.forget_all()
            else:
                self._listener.invalidated([from_bytes(key) for key in keys])
        elif kind == b"message":
            self._listener.invalidated([from_bytes(bytes.fromhex(key.decode())) for key in answer[2].split()])
        else:
            self._answers.append(answer)

    def _fall_back(self, error: Exception) -> None:
        before = self.mode
        self.mode = MODES[MODES.index(before) + 1]
        logger.warning("cache: the server refuses coherence %r (%s); it is %r now", before, error, self.mode)
        self._listener.forget_all()


def _wake_every(sock: Any, seconds: float) -> None:
    """Let the kernel end a recv() after a while: with settimeout() each would be two system calls, and twice the GIL.

    Not with sockets that are not the standard library's own, as under gevent: those keep their timeout.
    """
    if type(sock).__module__ in ("socket", "ssl") and os.name == "posix":
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(seconds * 1e6)))
