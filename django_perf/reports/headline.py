"""Read the figures of the whole site that a person looks at first: rate, errors, duration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..metrics.catalog import SITE
from ..store.reader import Range, Snapshot
from .requests import whole_site
from .text import text_of
from .window import Window

_BLOCKS = "▁▂▃▄▅▆▇█"
# Five points make no line: a short range is drawn with the hour around it.
_LEAST_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Headline:
    """Hold the figures of the site; durations are None where nothing was measured, `counts` are over time."""

    rate: float
    error_rate: float | None
    quantiles_ms: tuple[float, float, float] | None
    counts: Sequence[int]

    def text(self) -> str:
        """Return them as one line."""
        p50, p95, p99 = (text_of(value, "ms") for value in self.quantiles_ms or (None, None, None))
        errors = text_of(self.error_rate, "ratio")
        return f"rate {text_of(self.rate, 'per_s')}   errors {errors}   p50 {p50}   p95 {p95}   p99 {p99}"


def headline(snapshot: Snapshot, window: Window) -> Headline:
    """Return the figures of a window."""
    site = whole_site(snapshot, window)
    is_empty = not site.sum.count
    return Headline(
        rate=site.sum.count / window.seconds,
        error_rate=None if is_empty else site.error_rate(),
        quantiles_ms=None if is_empty else (site.quantile_ms(0), site.quantile_ms(1), site.quantile_ms(2)),
        counts=_counts(snapshot, window),
    )


def _counts(snapshot: Snapshot, window: Window) -> list[int]:
    start = min(window.span.start, window.span.end - _LEAST_MINUTES)
    wide = replace(window, span=Range(start, window.span.end))
    return [sum_.count for _, sum_ in snapshot.points(SITE, wide.span, wide.step)]


def spark(values: Sequence[float], width: int) -> str:
    """Return values as a line of block characters, at most `width` of them; neighbours that share one are summed."""
    if not values or width < 1 or not max(values):
        return ""
    shared = -(-len(values) // width)
    sums = [sum(values[place : place + shared]) for place in range(0, len(values), shared)]
    highest = max(sums)
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(value / highest * len(_BLOCKS)))] for value in sums)
