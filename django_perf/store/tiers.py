"""State the tiers of the rollups, and which rows answer a range of time; pure arithmetic on minutes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HOUR, DAY = 60, 24 * 60


@dataclass(frozen=True, slots=True)
class Tier:
    """Describe a tier: minutes per bucket, and minutes for which rows are kept."""

    number: int
    size: int
    keep: int


# An hour of slack: a page that asks for exactly 24 h finds its first minute.
TIERS = (
    Tier(0, 1, DAY + HOUR),
    Tier(1, 10, 7 * DAY + HOUR),
    Tier(2, HOUR, 35 * DAY + HOUR),
    Tier(3, DAY, 400 * DAY),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """Ask for the rows of one tier with start <= bucket < end."""

    tier: int
    start: int
    end: int


def floor(minute: int, size: int) -> int:
    """Round down to a multiple of `size`."""
    return minute - minute % size


def ceiling(minute: int, size: int) -> int:
    """Round up to a multiple of `size`."""
    return -(-minute // size) * size


def resolution(age: int) -> int:
    """Return the finest bucket that is surely kept of what is `age` minutes old: minutes below 24 h, and so on."""
    return next((tier.size for tier in TIERS if age < tier.keep - HOUR), TIERS[-1].size)


def segments(start: int, end: int, rolled: Mapping[int, int], tier: int = len(TIERS) - 1) -> Iterator[Segment]:
    """Yield, in order, segments that cover [start, end) exactly once with the fewest rows.

    `rolled` gives for each tier above 0 the minute up to which its buckets are complete.
    """
    if start >= end:
        return
    if tier == 0:
        yield Segment(0, start, end)
        return
    size = TIERS[tier].size
    first, last = ceiling(start, size), min(floor(end, size), rolled.get(tier, 0))
    if first >= last:
        yield from segments(start, end, rolled, tier - 1)
        return
    yield from segments(start, first, rolled, tier - 1)
    yield Segment(tier, first, last)
    yield from segments(last, end, rolled, tier - 1)
