"""Tell whether a process has had no slot free for some seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

# Shorter, and one slow request in a worker of one slot would look like overload.
OVER_S = 5.0


class Overload:
    """Remember how busy the slots were at the last probes, back to the newest that is five seconds old.

    `busy_seconds` is the recorder's running total of the time that requests held a slot. Thread-safe.
    """

    def __init__(self, busy_seconds: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._lock = Lock()
        self._seen: deque[tuple[float, float]] = deque()

    def saturation(self, slots: int) -> float | None:
        """Return the share of the slots' time that was used, over five seconds or more; None while it is too early."""
        with self._lock:  # critical section: guards what was seen, and keeps it in order
            now, busy = self._clock(), self._busy_seconds()
            if not self._seen or now - self._seen[-1][0] >= OVER_S / 10:
                self._seen.append((now, busy))
            while len(self._seen) > 1 and now - self._seen[1][0] >= OVER_S:
                self._seen.popleft()
            since, before = self._seen[0]
        if now - since < OVER_S:
            return None
        return min(1.0, max(0.0, (busy - before) / ((now - since) * slots)))
