"""Turn "24h", or a beginning and an end, into the minutes that are read, and into those that they are compared with."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ..store.reader import Range
from ..store.tiers import TIERS, ceiling, floor, resolution

PRESETS = ("5m", "1h", "24h", "7d")
PREVIOUS = "previous"
# What a range is compared with: the time right before it, or the same time so many minutes earlier.
_EARLIER = {"yesterday": 1_440, "week": 7 * 1_440}
COMPARISONS = (PREVIOUS, *_EARLIER)
_MINUTES = {"m": 1, "h": 60, "d": 1_440}
_MAX_POINTS = 180
_HINT = "write for instance 2026-11-29T14:05, in UTC, or with +01:00 for another zone"


@dataclass(frozen=True, slots=True)
class Window:
    """Bound a report: whole minutes, UTC, half open; the last one is the minute that runs.

    `now` (seconds since 1970) is when it was asked for: rates are per second that has passed, not per second to come.
    `against` is one of COMPARISONS.
    """

    span: Range
    now: float
    against: str = PREVIOUS

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
        """Return the window of the same length that this one is compared with.

        Its ends are rounded, as in last(): it is older, and kept in coarser buckets.
        """
        shift = _EARLIER.get(self.against, self.span.end - self.span.start)
        minute = int(self.now) // 60 + 1
        start, end = self.span.start - shift, self.span.end - shift
        span = Range(floor(start, resolution(minute - start)), ceiling(end, resolution(minute - end)))
        return Window(span, span.end * 60)

    @property
    def step(self) -> int:
        """Return the minutes per point of a chart: the finest tier that is kept and gives at most 180 points."""
        length, kept = self.span.end - self.span.start, resolution(int(self.now) // 60 + 1 - self.span.start)
        fitting = (tier.size for tier in TIERS if tier.size >= kept and length <= tier.size * _MAX_POINTS)
        return next(fitting, TIERS[-1].size)


def moment(seconds: float) -> datetime:
    """Return an aware time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_of(text: str) -> float:
    """Return the seconds since 1970 of "2026-11-29T14:05"; raises ValueError that says what is understood."""
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time; {_HINT}") from None


def window_of(since: str, until: str = "", against: str = "", now: float | None = None) -> Window:
    """Return a window as people ask for it: `since` is a length or a time, `until` a time or "" for now.

    Raises ValueError that says what is understood.
    """
    now = time.time() if now is None else now
    if against and against not in COMPARISONS:
        raise ValueError(f"{against!r} is nothing to compare with; it is one of {', '.join(COMPARISONS)}")
    end = min(ceiling(int(moment_of(until)), 60) // 60, int(now) // 60 + 1) if until else int(now) // 60 + 1
    start = int(moment_of(since)) // 60 if _is_time(since) else end - minutes_of(since)
    if start >= end:
        raise ValueError(f"nothing lies between {since!r} and {until or 'now'!r}")
    return Window(_kept(start, end, now), now, against or PREVIOUS)


def _is_time(text: str) -> bool:
    try:
        moment_of(text)
    except ValueError:
        return False
    return True


def _kept(start: int, end: int, now: float) -> Range:
    """Round outwards to what the store still holds of that age: 10 minutes beyond 24 h, hours beyond 7 d."""
    minute = int(now) // 60 + 1
    if minute - start > TIERS[-1].keep:
        raise ValueError("nothing is kept that is older than 400 days")
    return Range(floor(start, resolution(minute - start)), ceiling(end, resolution(minute - end)))


def minutes_of(text: str) -> int:
    """Return the minutes of "5m", "1h", "24h" or "7d"; raises ValueError that says what is understood."""
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", text.strip().lower(), re.ASCII)
    if not match or not 1 <= (minutes := int(match[1]) * _MINUTES[match[2]]) <= TIERS[-1].keep:
        raise ValueError(
            f"{text!r} is no time range; write for instance {', '.join(PRESETS)}, at most 400d, or 2026-11-29T14:05"
        )
    return minutes


def last(text: str, now: float | None = None) -> Window:
    """Return the window that ends with the current minute.

    Its beginning is rounded down to what the store still holds of that age: 10 minutes beyond 24 h, hours beyond 7 d.
    """
    now = time.time() if now is None else now
    end = int(now) // 60 + 1
    return Window(_kept(end - minutes_of(text), end, now), now)
