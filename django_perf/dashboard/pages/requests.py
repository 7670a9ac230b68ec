"""The pages of the whole site and of one endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...advisor.report import advise
from ...metrics.catalog import REQUEST, SITE, Kind
from ...reports.changes import CHANGES
from ...reports.exceptions import EXCEPTIONS
from ...reports.findings import FINDINGS
from ...reports.health import health
from ...reports.lines import LINES
from ...reports.queries import QUERIES, queries_of
from ...reports.report import Report, Table
from ...reports.requests import QUANTILES, REQUESTS
from ...reports.samples import SAMPLES, examples
from ...reports.transactions import TRANSACTIONS
from ...reports.window import Window
from ...store.fresh import Labels
from ...store.reader import Snapshot, Sum, Wanted
from ...store.samples import of_endpoint
from ..charts import Chart, Line
from ..heat import heat_map
from ..page import (
    FEW_NOTES,
    FEW_ROWS,
    ROWS,
    Asked,
    Card,
    Page,
    advised,
    breached,
    card,
    charted,
    quantile_lines,
    seconds_of,
    settled,
    times_of,
    total,
)

# Of the endpoints, on the first page: as many as fit beside the rest.
_SHOWN = 15


def overview(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the first page: the whole site, what needs attention, and the endpoints by total time."""
    tables = asked.tables(snapshot, {REQUESTS: _SHOWN, QUERIES: FEW_ROWS, EXCEPTIONS: FEW_ROWS})
    said = [*breached(snapshot, asked.window), *advised(advise(snapshot, asked.window)[:FEW_NOTES])]
    page, _ = _page(snapshot, asked.window, SITE, None, tables)
    return replace(page, notes=said)


def requests(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of all endpoints, and of what has changed since the time before."""
    tables = asked.tables(snapshot, {REQUESTS: ROWS, CHANGES: FEW_ROWS})
    page, _ = _page(snapshot, asked.window, SITE, None, tables)
    return page


def endpoint(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of one endpoint: its figures over time, its queries and findings, its exceptions, examples."""
    scope = asked.route, asked.method

    def is_own(labels: Labels) -> bool:
        return labels[:2] == scope

    def own(report: Report[Any], scope_of: Callable[[Any], tuple[str, str]]) -> Report[Any]:
        """Return a report with the rows of this endpoint only."""
        return replace(report, rows=lambda *args: [row for row in report.rows(*args) if scope_of(row) == scope])

    reports: tuple[Report[Any], ...] = (
        queries_of(*scope),
        own(FINDINGS, lambda row: (row.route, row.method)),
        own(LINES, lambda row: (row.route, row.method)),
        own(TRANSACTIONS, lambda row: (row.route, row.method)),
        own(EXCEPTIONS, lambda row: (row.route, row.method)),
        replace(SAMPLES, rows=lambda snapshot, window: examples(of_endpoint(snapshot.alias, *scope), window)),
    )
    tables = [asked.table(report, snapshot) for report in reports]
    shown = [table for number, table in enumerate(tables) if table.rows or number in (0, 4)]
    page, points = _page(snapshot, asked.window, REQUEST, is_own, shown)
    return replace(page, own={"heat": heat_map(points)})


def _page(
    snapshot: Snapshot, window: Window, kind: Kind, wanted: Wanted | None, tables: list[Table]
) -> tuple[Page, list[tuple[int, Sum]]]:
    """Return the page, and the points of its charts."""
    figures = [_figures(kind, total(snapshot, kind, one, wanted), one.seconds) for one in (window, window.before)]
    wide = charted(window)
    points = settled(snapshot.points(kind, wide.span, wide.step, wanted), wide.now)
    seconds = seconds_of(times_of(points), wide)
    over_time = [_figures(kind, sum_, each) for (_, sum_), each in zip(points, seconds, strict=True)]
    cards, charts = _cards(figures, over_time), _charts(kind, points, wide)
    return Page(window, health(snapshot, window), cards, charts, tables), points


def _cards(figures: Sequence[Sequence[float | None]], over_time: Sequence[Sequence[float | None]]) -> list[Card]:
    """Return the headline figures; `figures` are those of the period and of the one before."""
    names = (
        ("Requests", "per_s"),
        ("Error rate", "ratio"),
        ("p50", "ms"),
        ("p95", "ms"),
        ("p99", "ms"),
        ("Queries per request", "number"),
    )
    columns = zip(*over_time, strict=True) if over_time else [()] * len(names)
    return [
        card(label, unit, index, figures, index > 0, values)
        for index, ((label, unit), values) in enumerate(zip(names, columns, strict=True))
    ]


def _figures(kind: Kind, sum_: Sum, seconds: float) -> list[float | None]:
    """Return rate, error rate, p50, p95, p99 and queries per request; None where there was no request."""
    if not sum_.count:
        return [0.0, None, None, None, None, None]
    quantiles = [value / 1_000 for value in sum_.quantiles(QUANTILES)]
    per_request = [sum_.counter(kind, name) / sum_.count for name in ("errors", "queries")]
    return [sum_.count / seconds, per_request[0], *quantiles, per_request[1]]


def _charts(kind: Kind, points: list[tuple[int, Sum]], window: Window) -> list[Chart]:
    times = times_of(points)
    seconds = seconds_of(times, window)
    rate = [sum_.count / length for (_, sum_), length in zip(points, seconds, strict=True)]
    errors = [sum_.counter(kind, "errors") / length for (_, sum_), length in zip(points, seconds, strict=True)]
    lines = [Line("requests", "1", rate), Line("errors", "bad", errors)]
    return [
        Chart("rate", "Requests and errors per second", "per_s", times, lines),
        Chart("duration", "Duration", "ms", times, quantile_lines(points)),
    ]
