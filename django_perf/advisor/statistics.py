"""Tell what is surely so from what chance can do: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import median

Point = tuple[float, float]


def deviations(events: int, count: int, events_before: int, count_before: int) -> float:
    """Return by how many standard deviations a rate is above that of before; 0 where one of them is unknown.

    Two-proportion z-test, the rates pooled.
    """
    if not count or not count_before:
        return 0.0
    pooled = (events + events_before) / (count + count_before)
    variance = pooled * (1 - pooled) * (1 / count + 1 / count_before)
    return (events / count - events_before / count_before) / math.sqrt(variance) if variance else 0.0


def slope(points: Sequence[Point]) -> float:
    """Return what y gains per x: the median over all pairs, which no outlier moves (Theil, Sen); 0 for one point."""
    return median(_slopes(points) or [0.0])


def steadiness(points: Sequence[Point]) -> float:
    """Return how steadily y rises, from -1 to 1: pairs that rise less those that fall, of all (Kendall's tau)."""
    slopes = _slopes(points)
    return sum((one > 0) - (one < 0) for one in slopes) / len(slopes) if slopes else 0.0


def _slopes(points: Sequence[Point]) -> list[float]:
    return [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2)]


def doubt(part: float, count: int, sure: float = 3.0) -> float:
    """Return how far a quantile of `count` values may be from its place in all values: `sure` standard deviations."""
    return sure * math.sqrt(part * (1 - part) / count)
