"""Draw how durations are spread over time: what p50 and p95 hide, as two humps or a tail; pure but for the sums."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from django.utils.translation import pgettext

from ..metrics.histogram import BUCKETS, bucket_bounds
from ..reports.sentence import figure
from ..store.reader import Sum

# Upper bounds in microseconds; the last band has none.
_BOUNDS = tuple(step * 10**power for power in (3, 4, 5, 6) for step in (1, 2, 5))
_LABELS = ("1 ms", "2 ms", "5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s", "5 s", "more")
# Cells beyond that many columns could not be told apart, and would make the page large.
_MOST_COLUMNS = 60
WIDTH, HEIGHT = 600, 20


@dataclass(frozen=True, slots=True)
class Cell:
    """Hold one cell: where it is, how dark (0.1 to 1), and what it says."""

    x: float
    y: int
    shade: float
    text: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Hold the cells that are not empty, the slowest band at the top; `bands` are (y, label)."""

    cells: list[Cell]
    bands: list[tuple[int, str]]
    cell_width: float
    width: int
    height: int
    band_height: int = HEIGHT


def heat_map(points: Sequence[tuple[int, Sum]]) -> HeatMap | None:
    """Return the map of (minute, sum) in order, None where there is nothing."""
    columns = _columns(points)
    known = sorted({band for _, counts in columns for band, count in enumerate(counts) if count})
    if not known:
        return None
    shown = range(known[0], known[-1] + 1)
    most = max(max(counts) for _, counts in columns)
    width = WIDTH / len(columns)
    cells = [
        Cell(
            round(number * width, 1),
            _y(band, shown),
            max(0.1, round((counts[band] / most) ** 0.5, 2)),
            _text(minute, band, counts[band]),
        )
        for number, (minute, counts) in enumerate(columns)
        for band in shown
        if counts[band]
    ]
    bands = [(_y(band, shown), _LABELS[band]) for band in reversed(shown)]
    return HeatMap(cells, bands, round(width, 1), WIDTH, HEIGHT * len(shown))


def _columns(points: Sequence[tuple[int, Sum]]) -> list[tuple[int, list[int]]]:
    """Return (first minute, count by band), several points together where there are many."""
    each = -(-len(points) // _MOST_COLUMNS) or 1
    return [
        (points[start][0], _counts(sum_ for _, sum_ in points[start : start + each]))
        for start in range(0, len(points), each)
    ]


def _counts(sums: Iterable[Sum]) -> list[int]:
    counts, bands = [0] * len(_LABELS), _band_of_buckets()
    for sum_ in sums:
        for index, number in sum_.histogram().counts.items():
            counts[bands[index]] += number
    return counts


@cache
def _band_of_buckets() -> list[int]:
    return [bisect_left(_BOUNDS, bucket_bounds(index)[0]) for index in range(BUCKETS)]


def _y(band: int, shown: range) -> int:
    return (shown[-1] - band) * HEIGHT


def _text(minute: int, band: int, count: int) -> str:
    is_last = band >= len(_BOUNDS)
    text = (
        pgettext("django_perf", "more than %(duration)s") if is_last else pgettext("django_perf", "up to %(duration)s")
    )
    bound = text % {"duration": _LABELS[band - is_last]}
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%d %H:%M} UTC, {bound}: {figure(count)}"
