"""The page of the caches."""

from __future__ import annotations

from django.utils.translation import gettext, pgettext

from ...metrics.catalog import CACHE, CACHE_EVENT
from ...reports.cache import CACHE_KEYS, CACHE_PROCESSES, CACHES, HITS, TROUBLES
from ...reports.health import health
from ...reports.text import text_of
from ...reports.window import Window
from ...store.reader import Snapshot, Sum, Wanted
from ..charts import Chart, Line
from ..page import (
    FEW_NOTES,
    Asked,
    Card,
    Page,
    card,
    charted,
    notes,
    quantile_lines,
    seconds_of,
    settled,
    times_of,
    total,
)


def cache(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of the caches: who answers the reads, and how fast the shared level is."""
    window = asked.window
    tables = [asked.table(report, snapshot) for report in (CACHES, CACHE_KEYS, CACHE_PROCESSES)]
    fleet, keys, _ = tables
    texts = [f"{row['alias']}: {row['advice']}." for row in fleet.rows if row["advice"]]
    texts += [f"{row['alias']}, {row['pattern']}: {row['advice']}." for row in keys.rows if row["advice"]][:FEW_NOTES]
    for table in (fleet, keys):  # advice stands above, as that on pools does
        table.columns.pop()
    figures = [_cache_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Reads", "per_s"), ("Hit ratio", "ratio"), ("From memory (L1)", "ratio"), ("L2 p95", "us")
    cards = [card(*label, index, figures, index == 3) for index, label in enumerate(labels)]
    cards.append(card("Failed or skipped", "count", 4, figures))
    held = pgettext("django_perf", "%(count)s entries") % {"count": text_of(fleet.totals["entries"], "count")}
    cards.append(Card("In memory now", text_of(fleet.totals["bytes"], "bytes"), held, "calm"))
    charts = _cache_charts(snapshot, charted(window))
    said = notes(texts if fleet.rows else [_no_cache()])
    targets = [str(row["alias"]) for row in fleet.rows]
    return Page(window, health(snapshot, window), cards, charts, tables, said, targets=targets)


def _no_cache() -> str:
    return gettext(
        'No process has a cache of django_perf in this time: CACHES takes "django_perf.cache.MultiLevelCache".'
    )


def _cache_figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    """Return reads per second, hit ratio, share of memory, p95 of L2 in microseconds, failures."""
    ended: dict[str, Sum] = {how: Sum() for how in (*HITS, "miss")}
    for (_, how), sum_ in snapshot.sums(CACHE, window.span).items():
        if how in ended:
            ended[how].merge(sum_)
    keys = {how: sum_.counter(CACHE, "keys") for how, sum_ in ended.items()}
    events = total(snapshot, CACHE_EVENT, window, None)
    failed = float(sum(events.counter(CACHE_EVENT, name) for name in TROUBLES))
    p95 = ended["l2"].quantiles((0.95,))[0] / 1_000 if ended["l2"].count else None
    if not (reads := sum(keys.values())):
        return [0.0, None, None, p95, failed]
    return [reads / window.seconds, 1 - keys["miss"] / reads, keys["l1"] / reads, p95, failed]


def _cache_charts(snapshot: Snapshot, window: Window) -> list[Chart]:
    length = len(settled(snapshot.points(CACHE, window.span, window.step), window.now))
    ended = {how: snapshot.points(CACHE, window.span, window.step, _ended(how))[:length] for how in (*HITS, "miss")}
    times = times_of(ended["l2"])
    seconds = seconds_of(times, window)
    names = ("L1", "1"), ("L2", "2"), ("L3", "3"), ("misses", "bad")
    reads = [
        Line(*name, [sum_.counter(CACHE, "keys") / each for (_, sum_), each in zip(points, seconds, strict=True)])
        for name, points in zip(names, ended.values(), strict=True)
    ]
    return [
        Chart("reads", "Reads by the level that answered", "per_s", times, reads),
        Chart("below", "Reads from L2", "ms", times, quantile_lines(ended["l2"], per_ms=1e6)),
    ]


def _ended(how: str) -> Wanted:
    return lambda labels: labels[1] == how
