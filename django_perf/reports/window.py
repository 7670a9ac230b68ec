"""Turn "24h" into the minutes that are read."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ..store.reader import Range
from ..store.tiers import TIERS, floor, resolution

PRESETS = ("5m", "1h", "24h", "7d")
_MINUTES = {"m": 1, "h": 60, "d": 1_440}
_MAX_POINTS = 180


@dataclass(frozen=True, slots=True)
class Window:
    """Bound a report: whole minutes, UTC, half open; the last one is the minute that runs.

    `now` (seconds since 1970) is when it was asked for: rates are per second that has passed, not per second to come.
    """

    span: Range
    now: float

    @property
    def seconds(self) -> float:
        """Return the seconds that have passed inside the window, at least one."""
        return max(1.0, min(self.now, self.span.end * 60) - self.span.start * 60)

    @property
    def since(self) -> datetime:
        """Return its beginning."""
        return moment(self.span.start * 60)

    @property
    def until(self) -> datetime:
        """Return its end."""
        return moment(self.span.end * 60)

    @property
    def before(self) -> Window:
        """Return the window of the same length that ends where this one begins; all of it has passed.

        Its beginning is rounded down, as in last(): it is twice as old, and kept in coarser buckets.
        """
        length = self.span.end - self.span.start
        start = floor(self.span.start - length, resolution(2 * length))
        return Window(Range(start, self.span.start), self.span.start * 60)

    @property
    def step(self) -> int:
        """Return the minutes per point of a chart: the finest tier that gives at most 180 points."""
        length = self.span.end - self.span.start
        return next((tier.size for tier in TIERS if length <= tier.size * _MAX_POINTS), TIERS[-1].size)


def moment(seconds: float) -> datetime:
    """Return an aware time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def minutes_of(text: str) -> int:
    """Return the minutes of "5m", "1h", "24h" or "7d"; raises ValueError that says what is understood."""
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", text.strip().lower(), re.ASCII)
    if not match or not 1 <= (minutes := int(match[1]) * _MINUTES[match[2]]) <= TIERS[-1].keep:
        raise ValueError(f"{text!r} is no time range; write for instance {', '.join(PRESETS)}, at most 400d")
    return minutes


def last(text: str, now: float | None = None) -> Window:
    """Return the window that ends with the current minute.

    Its beginning is rounded down to what the store still holds of that age: 10 minutes beyond 24 h, hours beyond 7 d.
    """
    now = time.time() if now is None else now
    minutes = minutes_of(text)
    end = int(now) // 60 + 1
    return Window(Range(floor(end - minutes, resolution(minutes)), end), now)
