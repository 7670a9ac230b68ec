"""Stop asking what does not answer, until somebody has seen it answer again."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Open after `tolerance` seconds of nothing but failures; one success closes it.

    A time, not a number of failures: the fewer ask, the longer a number takes to come together. A failure that is
    older than `tolerance` when the next attempt begins says nothing any more. Whoever owns the breaker sends the one
    probe, and refuses everybody else while `is_open`. Calls may come from any thread, one at a time.
    """

    def __init__(self, tolerance: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.tolerance = tolerance
        self.is_open = False
        self._clock = clock
        # When the first attempt of the failing series began, and when its latest one failed.
        self._series: tuple[float, float] | None = None

    @property
    def state(self) -> str:
        """Return closed, failing (not for long enough to open) or open."""
        if self.is_open:
            return "open"
        return "failing" if self.failing_s() else "closed"

    def failing_s(self) -> float:
        """Return for how many seconds nothing has succeeded, 0.0 when all is well."""
        now = self._clock()
        if self._series is None or not (self.is_open or now - self._series[1] <= self.tolerance):
            return 0.0
        return now - self._series[0]

    def failed(self, began: float) -> None:
        """Count the failure of an attempt that began at `began`, by the clock."""
        first, last = self._series or (began, began)
        if began - last > self.tolerance:
            first = began
        self._series = first, self._clock()
        self.is_open = self.is_open or self.failing_s() >= self.tolerance

    def trip(self) -> None:
        """Open at once: the silence has been confirmed otherwise."""
        now = self._clock()
        self._series = (self._series or (now, now))[0], now
        self.is_open = True

    def succeeded(self) -> None:
        """Close."""
        self._series = None
        self.is_open = False
