"""Gather what a page shows from one consistent state of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..metrics.catalog import CACHE, CACHE_EVENT, COMPRESSION, POOL, POOL_HOLD, REQUEST, SITE, Kind
from ..reports.cache import CACHE_KEYS, CACHE_PROCESSES, CACHES, HITS, TROUBLES
from ..reports.compression import COMPRESSION_OUTCOMES, COMPRESSIONS, outcomes
from ..reports.exceptions import EXCEPTIONS
from ..reports.health import Health, health
from ..reports.pool import POOL_PROCESSES, POOLS
from ..reports.process import PROCESSES
from ..reports.queries import QUERIES, statements_of
from ..reports.report import Report, Table
from ..reports.requests import QUANTILES, REQUESTS
from ..reports.text import text_of
from ..reports.window import Window, last
from ..store.fresh import Labels
from ..store.reader import Snapshot, Sum, Wanted
from .charts import Chart, Line

_ROWS = 50
_FEW_ROWS = 10
_FEW_NOTES = 5
# Five points make no line: a short range is charted with the hour around it.
_LEAST_CHART_MINUTES = 60
_NO_CACHE = 'No process has a cache of django_perf in this time: CACHES takes "django_perf.cache.MultiLevelCache".'
_NO_COMPRESSION = "Nothing passed CompressionMiddleware in this time: put it into MIDDLEWARE (django_perf.middleware)."


@dataclass(frozen=True, slots=True)
class Card:
    """Hold one headline figure and its change against the previous period; `tone` is good, bad or calm."""

    label: str
    value: str
    change: str
    tone: str


@dataclass(frozen=True, slots=True)
class Page:
    """Hold all that a template shows."""

    window: Window
    health: Health
    cards: list[Card]
    charts: list[Chart]
    tables: list[Table]
    # What to do, in sentences.
    notes: Sequence[str] = ()


def overview(snapshot: Snapshot, since: str, sort: str | None) -> Page:
    """Return the first page: the whole site, and its endpoints by total time. Raises KeyError for a wrong `sort`."""
    window = last(since)
    shown = (
        (REQUESTS, sort, _ROWS),
        (QUERIES, None, _FEW_ROWS),
        (EXCEPTIONS, None, _FEW_ROWS),
        (PROCESSES, None, _ROWS),
    )
    tables = [report.table(snapshot, window, by, limit) for report, by, limit in shown]
    return _page(snapshot, window, SITE, None, tables)


def endpoint(snapshot: Snapshot, since: str, route: str, method: str) -> Page:
    """Return the page of one endpoint: its figures over time, its queries, its exceptions."""
    window = last(since)

    def is_own(labels: Labels) -> bool:
        return labels[:2] == (route, method)

    # The two reports as on the overview, with rows of this endpoint only.
    own: tuple[Report[Any], ...] = (
        replace(QUERIES, rows=lambda snapshot, window: statements_of(snapshot, window, route, method), enrich=None),
        replace(
            EXCEPTIONS, rows=lambda *args: [row for row in EXCEPTIONS.rows(*args) if is_own((row.route, row.method))]
        ),
    )
    tables = [report.table(snapshot, window, None, _ROWS) for report in own]
    return _page(snapshot, window, REQUEST, is_own, tables)


def pool(snapshot: Snapshot, since: str) -> Page:
    """Return the page of the connection pools: the fleet against the server, waits and holds over time."""
    window = last(since)
    fleet, processes = (report.table(snapshot, window, None, _ROWS) for report in (POOLS, POOL_PROCESSES))
    # The advice is a sentence: it stands above the table instead of at its far end.
    fleet.columns.pop()
    notes = [f"{row['alias']}: {row['advice']}." for row in fleet.rows if row["advice"]]
    figures = [_pool_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Checkouts", "per_s"), ("Wait p95", "ms"), ("Hold p95", "ms"), ("Refused or timed out", "count")
    cards = [_card(*label, index, figures, index > 0) for index, label in enumerate(labels)]
    now = f"{text_of(fleet.totals['in_use'], 'count')} of {text_of(fleet.totals['max_size'], 'count')}"
    cards.append(Card("In use now", now, f"{text_of(fleet.totals['waiting'], 'count')} waiting", "calm"))
    return Page(window, health(snapshot, window), cards, _pool_charts(snapshot, window), [fleet, processes], notes)


def _pool_figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    wait, hold = (_total(snapshot, kind, window, None) for kind in (POOL, POOL_HOLD))
    refused = wait.counter(POOL, "timeouts") + wait.counter(POOL, "refused")
    if not wait.count:
        return [0.0, None, None, float(refused)]
    p95 = [sum_.quantiles(QUANTILES)[1] / 1_000 for sum_ in (wait, hold)]
    return [wait.count / window.seconds, *p95, float(refused)]


def _pool_charts(snapshot: Snapshot, window: Window) -> list[Chart]:
    charted = _charted(window)
    waits, holds = (
        _settled(snapshot.points(kind, charted.span, charted.step, None), charted.now) for kind in (POOL, POOL_HOLD)
    )
    times = [minute * 60 for minute, _ in waits]
    lines = {
        "wait": [Line(f"p{q * 100:g}", str(n + 1), _quantile_ms(waits, n)) for n, q in enumerate(QUANTILES)],
        "hold": [Line(f"p{q * 100:g}", str(n + 1), _quantile_ms(holds, n)) for n, q in enumerate(QUANTILES)],
    }
    return [
        Chart("wait", "Wait for a connection", "ms", times, lines["wait"]),
        Chart("hold", "Connection held", "ms", [minute * 60 for minute, _ in holds], lines["hold"]),
    ]


def cache(snapshot: Snapshot, since: str) -> Page:
    """Return the page of the caches: who answers the reads, and how fast the shared level is."""
    window = last(since)
    tables = [report.table(snapshot, window, None, _ROWS) for report in (CACHES, CACHE_KEYS, CACHE_PROCESSES)]
    fleet, keys, _ = tables
    notes = [f"{row['alias']}: {row['advice']}." for row in fleet.rows if row["advice"]]
    notes += [f"{row['alias']}, {row['pattern']}: {row['advice']}." for row in keys.rows if row["advice"]][:_FEW_NOTES]
    for table in (fleet, keys):  # advice stands above, as that on pools does
        table.columns.pop()
    figures = [_cache_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Reads", "per_s"), ("Hit ratio", "ratio"), ("From memory (L1)", "ratio"), ("L2 p95", "us")
    cards = [_card(*label, index, figures, index == 3) for index, label in enumerate(labels)]
    cards.append(_card("Failed or skipped", "count", 4, figures))
    held = f"{text_of(fleet.totals['entries'], 'count')} entries"
    cards.append(Card("In memory now", text_of(fleet.totals["bytes"], "bytes"), held, "calm"))
    charts = _cache_charts(snapshot, _charted(window))
    return Page(window, health(snapshot, window), cards, charts, tables, notes if fleet.rows else [_NO_CACHE])


def _cache_figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    """Return reads per second, hit ratio, share of memory, p95 of L2 in microseconds, failures."""
    ended: dict[str, Sum] = {how: Sum() for how in (*HITS, "miss")}
    for (_, how), sum_ in snapshot.sums(CACHE, window.span).items():
        if how in ended:
            ended[how].merge(sum_)
    keys = {how: sum_.counter(CACHE, "keys") for how, sum_ in ended.items()}
    events = _total(snapshot, CACHE_EVENT, window, None)
    failed = float(sum(events.counter(CACHE_EVENT, name) for name in TROUBLES))
    p95 = ended["l2"].quantiles((0.95,))[0] / 1_000 if ended["l2"].count else None
    if not (reads := sum(keys.values())):
        return [0.0, None, None, p95, failed]
    return [reads / window.seconds, 1 - keys["miss"] / reads, keys["l1"] / reads, p95, failed]


def _cache_charts(snapshot: Snapshot, charted: Window) -> list[Chart]:
    length = len(_settled(snapshot.points(CACHE, charted.span, charted.step), charted.now))
    ended = {how: snapshot.points(CACHE, charted.span, charted.step, _ended(how))[:length] for how in (*HITS, "miss")}
    times = [minute * 60 for minute, _ in ended["l2"]]
    seconds = _seconds(times, charted)
    names = ("L1", "1"), ("L2", "2"), ("L3", "3"), ("misses", "bad")
    reads = [
        Line(*name, [sum_.counter(CACHE, "keys") / each for (_, sum_), each in zip(points, seconds, strict=True)])
        for name, points in zip(names, ended.values(), strict=True)
    ]
    below = [[ns / 1e6 for ns in sum_.quantiles(QUANTILES)] if sum_.count else [None] * 3 for _, sum_ in ended["l2"]]
    latency = [Line(f"p{q * 100:g}", str(n + 1), [one[n] for one in below]) for n, q in enumerate(QUANTILES)]
    return [
        Chart("reads", "Reads by the level that answered", "per_s", times, reads),
        Chart("below", "Reads from L2", "ms", times, latency),
    ]


def compression(snapshot: Snapshot, since: str) -> Page:
    """Return the page of compression: what it saves, what it costs, and what is left alone."""
    window = last(since)
    tables = [report.table(snapshot, window, None, _ROWS) for report in (COMPRESSIONS, COMPRESSION_OUTCOMES)]
    endpoints, _ = tables
    endpoints.columns.pop()
    notes = [f"{row['method']} {row['route']}: {row['advice']}." for row in endpoints.rows if row["advice"]]
    figures = [_compression_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Saved", "bytes"), ("Share sent", "ratio"), ("Compressed", "ratio"), ("CPU for 1 MB", "ms")
    cards = [_card(*label, index, figures, index in (1, 3)) for index, label in enumerate(labels)]
    cards += [_card("By dictionary", "ratio", 4, figures, False), _card("Not smaller", "ratio", 5, figures)]
    charts = _compression_charts(snapshot, _charted(window))
    return Page(window, health(snapshot, window), cards, charts, tables, notes[:_FEW_NOTES] or _missing(endpoints))


def _missing(endpoints: Table) -> list[str]:
    return [] if endpoints.rows else [_NO_COMPRESSION]


def _compression_figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    """Return bytes saved, the parts of bytes and of responses, ms per megabyte, the parts of dcz and of waste."""
    found = outcomes(snapshot, window)
    packed = [one for one in found if one.is_compressed()]
    count, before = (sum(one.sum.count for one in found), sum(one.bytes("in") for one in packed))
    if not before:
        return [0.0, None, 0.0 if count else None, None, None, None]
    after, responses = sum(one.bytes("out") for one in packed), sum(one.sum.count for one in packed)
    milliseconds = sum(one.sum.total for one in packed) / 1_000 / (before / 1e6)
    by_dictionary = sum(one.sum.count for one in packed if one.name == "dcz") / responses
    wasted = sum(one.sum.count for one in found if one.name == "not_smaller") / count
    return [float(before - after), after / before, responses / count, milliseconds, by_dictionary, wasted]


def _compression_charts(snapshot: Snapshot, charted: Window) -> list[Chart]:
    points = _settled(snapshot.points(COMPRESSION, charted.span, charted.step), charted.now)
    times = [minute * 60 for minute, _ in points]
    seconds = _seconds(times, charted)
    sides = ("before", "2", "bytes_in"), ("sent", "1", "bytes_out")
    sent = [
        Line(
            name,
            style,
            [sum_.counter(COMPRESSION, side) / each for (_, sum_), each in zip(points, seconds, strict=True)],
        )
        for name, style, side in sides
    ]
    cpu = [sum_.total / 1_000 / each for (_, sum_), each in zip(points, seconds, strict=True)]
    return [
        Chart("sent", "Bytes of responses per second", "bytes", times, sent),
        Chart("cpu", "CPU for compression, milliseconds per second", "ms", times, [Line("CPU", "1", cpu)]),
    ]


def _ended(how: str) -> Wanted:
    return lambda labels: labels[1] == how


def _seconds(times: Sequence[int], window: Window) -> list[float]:
    """Return how long each step of a chart is: the last one may not be over."""
    return [max(1.0, min(window.step * 60, window.now - time)) for time in times]


def _quantile_ms(points: Sequence[tuple[int, Sum]], index: int) -> list[float | None]:
    return [sum_.quantiles(QUANTILES)[index] / 1_000 if sum_.count else None for _, sum_ in points]


def _charted(window: Window) -> Window:
    is_long = len_minutes(window) >= _LEAST_CHART_MINUTES
    return window if is_long else last(f"{_LEAST_CHART_MINUTES}m", window.now)


def _page(snapshot: Snapshot, window: Window, kind: Kind, wanted: Wanted | None, tables: list[Table]) -> Page:
    windows = window, window.before
    cards = _cards([_figures(kind, _total(snapshot, kind, one, wanted), one.seconds) for one in windows])
    charted = _charted(window)
    points = _settled(snapshot.points(kind, charted.span, charted.step, wanted), charted.now)
    charts = _charts(kind, points, charted)
    return Page(window, health(snapshot, window), cards, charts, tables)


def len_minutes(window: Window) -> int:
    """Return the minutes of a window."""
    return window.span.end - window.span.start


def _total(snapshot: Snapshot, kind: Kind, window: Window, wanted: Wanted | None) -> Sum:
    sums = list(snapshot.sums(kind, window.span, wanted).values())
    if len(sums) == 1:  # the site: a table may have asked for its quantiles already
        return sums[0]
    total = Sum()
    for sum_ in sums:
        total.merge(sum_)
    return total


def _cards(figures: Sequence[Sequence[float | None]]) -> list[Card]:
    """Return the headline figures; `figures` are those of the period and of the one before."""
    return [
        _card("Requests", "per_s", 0, figures, is_bad_when_up=False),
        _card("Error rate", "ratio", 1, figures),
        _card("p50", "ms", 2, figures),
        _card("p95", "ms", 3, figures),
        _card("p99", "ms", 4, figures),
        _card("Queries per request", "number", 5, figures),
    ]


def _figures(kind: Kind, sum_: Sum, seconds: float) -> list[float | None]:
    """Return rate, error rate, p50, p95, p99 and queries per request; None where there was no request."""
    if not sum_.count:
        return [0.0, None, None, None, None, None]
    quantiles = [value / 1_000 for value in sum_.quantiles(QUANTILES)]
    per_request = [sum_.counter(kind, name) / sum_.count for name in ("errors", "queries")]
    return [sum_.count / seconds, per_request[0], *quantiles, per_request[1]]


def _card(
    label: str, unit: str, index: int, figures: Sequence[Sequence[float | None]], is_bad_when_up: bool = True
) -> Card:
    now, before = figures[0][index], figures[1][index]
    change, tone = "no comparison", "calm"
    if now is not None and before:
        share = (now - before) / before
        change = f"{abs(share):.0%} {'more' if share > 0 else 'less'} than before"
        if abs(share) < 0.005:
            change = "as before"
        if is_bad_when_up and abs(share) >= 0.1:
            tone = "bad" if share > 0 else "good"
    return Card(label, text_of(now, unit), change, tone)


def _settled(points: list[tuple[int, Sum]], now: float) -> list[tuple[int, Sum]]:
    """Leave out a last point younger than a minute: the workers have not flushed it yet, so it would look like a fall.

    Unless it is all there is.
    """
    is_young = now - points[-1][0] * 60 < 60
    return points[:-1] if is_young and any(sum_.count for _, sum_ in points[:-1]) else points


def _charts(kind: Kind, points: list[tuple[int, Sum]], window: Window) -> list[Chart]:
    times = [minute * 60 for minute, _ in points]
    sums = [sum_ for _, sum_ in points]
    seconds = _seconds(times, window)
    rate = [sum_.count / length for sum_, length in zip(sums, seconds, strict=True)]
    errors = [sum_.counter(kind, "errors") / length for sum_, length in zip(sums, seconds, strict=True)]
    quantiles = [[value / 1_000 for value in sum_.quantiles(QUANTILES)] if sum_.count else [None] * 3 for sum_ in sums]
    durations = [
        Line(f"p{q * 100:g}", str(number + 1), [one[number] for one in quantiles]) for number, q in enumerate(QUANTILES)
    ]
    return [
        Chart(
            "rate",
            "Requests and errors per second",
            "per_s",
            times,
            [Line("requests", "1", rate), Line("errors", "bad", errors)],
        ),
        Chart("duration", "Duration", "ms", times, durations),
    ]
