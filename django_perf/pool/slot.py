"""Hold what the pool knows of one connection, and of one thread that waits for one."""

from __future__ import annotations

from math import inf
from threading import Lock, Thread
from typing import Any

from ..exceptions import PoolError
from .channel import Channel


class Slot:
    """Hold one physical connection. Times are monotonic seconds.

    Whoever took the slot out of the idle stack is the only one to write to it, except `doom`: a reason, set by
    anybody, for which the connection will be closed when it comes back.
    """

    __slots__ = (
        "channel",
        "conn",
        "doom",
        "expires_at",
        "facts",
        "is_dirty",
        "is_limited",
        "limit",
        "owner",
        "pinged_at",
        "released_at",
        "reported_at",
        "session",
        "since",
        "taken_at",
        "uses",
    )

    def __init__(self, conn: Any, channel: Channel | None, now: float, expires_at: float = inf) -> None:
        self.conn = conn
        self.channel = channel
        self.taken_at = self.released_at = self.pinged_at = now
        self.expires_at = expires_at
        self.uses = 0
        self.owner: Thread | None = None
        self.doom = ""
        # A statement changed the session; statement_timeout() is in force.
        self.is_dirty = self.is_limited = False
        # Which checkout was reported as a leak: its taken_at.
        self.reported_at = -inf
        # When the statement that runs now began, 0.0 when none does; how many seconds it may take.
        self.since = 0.0
        self.limit = inf
        # What the driver compares a returned session with.
        self.session: Any = None
        # What the driver learnt at opening (the backend's pid, its limits).
        self.facts: dict[str, Any] = {}


class Waiter:
    """Let one thread sleep until it is served; `slot` or `error` says with what."""

    __slots__ = ("_latch", "error", "slot")

    def __init__(self) -> None:
        self.slot: Slot | None = None
        self.error: BaseException | None = None
        self._latch = Lock()
        self._latch.acquire()

    def wait(self, seconds: float) -> bool:
        """Sleep until served; False when the time is over."""
        return self._latch.acquire(timeout=max(0.0, seconds))

    def serve(self, slot: Slot) -> None:
        """Hand a connection over."""
        self.slot = slot
        self._latch.release()

    def fail(self, error: BaseException) -> None:
        """Wake the thread with an error."""
        self.error = error
        self._latch.release()


def copied(error: BaseException) -> BaseException:
    """Return a copy for one thread: a shared exception would gather the tracebacks of all."""
    try:
        copy = type(error)(*error.args)
    except Exception:
        copy = PoolError(str(error))
    copy.__cause__ = error
    return copy
