"""The pages of the whole site and of one endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...advisor.report import advise
from ...metrics.catalog import REQUEST, SITE, Kind
from ...reports.exceptions import EXCEPTIONS
from ...reports.findings import FINDINGS
from ...reports.health import health
from ...reports.lines import LINES
from ...reports.process import PROCESSES
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
from ..page import (
    FEW_NOTES,
    FEW_ROWS,
    ROWS,
    Asked,
    Card,
    Page,
    advised,
    card,
    charted,
    quantile_lines,
    seconds_of,
    settled,
    times_of,
    total,
)


def overview(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the first page: the whole site, and its endpoints by total time. Raises KeyError for a wrong `sort`."""
    window = asked.window
    shown: tuple[tuple[Report[Any], str | None, int], ...] = (
        (REQUESTS, asked.sort, ROWS),
        (QUERIES, None, FEW_ROWS),
        (EXCEPTIONS, None, FEW_ROWS),
        (PROCESSES, None, ROWS),
    )
    tables = [report.table(snapshot, window, by, limit) for report, by, limit in shown]
    said = advised(advise(snapshot, window)[:FEW_NOTES])
    return replace(_page(snapshot, window, SITE, None, tables), notes=said)


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
    tables = [report.table(snapshot, asked.window, None, ROWS) for report in reports]
    shown = [table for number, table in enumerate(tables) if table.rows or number in (0, 4)]
    return _page(snapshot, asked.window, REQUEST, is_own, shown)


def _page(snapshot: Snapshot, window: Window, kind: Kind, wanted: Wanted | None, tables: list[Table]) -> Page:
    windows = window, window.before
    cards = _cards([_figures(kind, total(snapshot, kind, one, wanted), one.seconds) for one in windows])
    wide = charted(window)
    points = settled(snapshot.points(kind, wide.span, wide.step, wanted), wide.now)
    return Page(window, health(snapshot, window), cards, _charts(kind, points, wide), tables)


def _cards(figures: Sequence[Sequence[float | None]]) -> list[Card]:
    """Return the headline figures; `figures` are those of the period and of the one before."""
    return [
        card("Requests", "per_s", 0, figures, is_bad_when_up=False),
        card("Error rate", "ratio", 1, figures),
        card("p50", "ms", 2, figures),
        card("p95", "ms", 3, figures),
        card("p99", "ms", 4, figures),
        card("Queries per request", "number", 5, figures),
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
