"""The pages of all queries, and of one query."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlparse

from ...metrics.catalog import QUERY, SITE
from ...reports.findings import FINDINGS
from ...reports.health import health
from ...reports.lines import LINES
from ...reports.plans import find_statement
from ...reports.queries import QUANTILES, QUERIES, Statement, endpoints_report
from ...reports.query_errors import QUERY_ERRORS
from ...reports.report import Report
from ...reports.samples import SAMPLES, examples
from ...reports.text import text_of
from ...reports.transactions import TRANSACTIONS
from ...reports.window import Window
from ...requests.remarkable import SLOW_QUERY
from ...store.fresh import Labels
from ...store.reader import Snapshot, Sum
from ...store.samples import of_series
from ..charts import Chart, Line
from ..page import (
    FEW_ROWS,
    ROWS,
    Asked,
    Card,
    Page,
    card,
    charted,
    quantile_lines,
    seconds_of,
    settled,
    times_of,
    total,
)


def queries(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of all queries: what they cost, what is wrong with them, which fail."""
    window = asked.window
    reports = {FINDINGS: FEW_ROWS, QUERIES: ROWS, LINES: FEW_ROWS, QUERY_ERRORS: FEW_ROWS, TRANSACTIONS: FEW_ROWS}
    tables = asked.tables(snapshot, reports)
    figures = [_site_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Queries", "per_s"), ("Queries per request", "number"), ("Database per request", "ms")
    cards = [card(*label, index, figures, index > 0) for index, label in enumerate(labels)]
    cards.append(card("Of the requests' time", "ratio", 3, figures))
    found, all_ = tables[0].totals, tables[1].totals
    cards.append(Card("N+1", text_of(found["n_plus_one"], "count"), "requests with one", "calm"))
    cards.append(Card("Failed", text_of(all_["errors"], "count"), "queries", "calm"))
    shown_tables = [table for table in tables if table.rows or table.name == QUERIES.name]
    return Page(window, health(snapshot, window), cards, _site_charts(snapshot, charted(window)), shown_tables)


def _site_figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    """Return queries per second and per request, ms per request, and the database's part of the requests' time."""
    site = total(snapshot, SITE, window, None)
    if not site.count:
        return [0.0, None, None, None]
    sent, db_us = site.counter(SITE, "queries"), site.counter(SITE, "db_us")
    share = db_us / site.total if site.total else None
    return [sent / window.seconds, sent / site.count, db_us / site.count / 1_000, share]


def _site_charts(snapshot: Snapshot, window: Window) -> list[Chart]:
    points = settled(snapshot.points(SITE, window.span, window.step), window.now)
    times = times_of(points)
    seconds = seconds_of(times, window)
    sent = [sum_.counter(SITE, "queries") / each for (_, sum_), each in zip(points, seconds, strict=True)]
    each_ms = [sum_.counter(SITE, "db_us") / sum_.count / 1_000 if sum_.count else None for _, sum_ in points]
    return [
        Chart("queries", "Queries per second", "per_s", times, [Line("queries", "1", sent)]),
        Chart("database", "Database per request", "ms", times, [Line("mean", "1", each_ms)]),
    ]


def query(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of one query. Raises NotRecorded when there is none of that id."""
    window = asked.window
    alias, sql = find_statement(snapshot, asked.id)

    def is_own(labels: Labels) -> bool:
        return labels == (alias, sql)

    def own(report: Report[Any]) -> Report[Any]:
        """Return a report with the rows of this query only."""
        return replace(
            report, rows=lambda *args: [row for row in report.rows(*args) if (row.alias, row.sql) == (alias, sql)]
        )

    reports: tuple[Report[Any], ...] = (
        endpoints_report(alias, sql),
        replace(own(LINES), columns=tuple(one for one in LINES.columns if one.name != "sql")),
        own(FINDINGS),
        own(QUERY_ERRORS),
        replace(SAMPLES, rows=lambda *args: examples(of_series(snapshot.alias, (SLOW_QUERY, alias, sql)), window)),
    )
    tables = [asked.table(report, snapshot) for report in reports]
    shown = [table for number, table in enumerate(tables) if table.rows or number == 0]
    sums = [total(snapshot, QUERY, one, is_own) for one in (window, window.before)]
    figures = [_figures(sum_, one.seconds) for sum_, one in zip(sums, (window, window.before), strict=True)]
    labels = ("Calls", "per_s"), ("Mean", "ms"), ("p95", "ms"), ("Max", "ms"), ("Rows", "number"), ("Errors", "count")
    cards = [card(*label, index, figures, index > 0) for index, label in enumerate(labels)]
    wide = charted(window)
    points = settled(snapshot.points(QUERY, wide.span, wide.step, is_own), wide.now)
    row = Statement(alias, sql, sums[0], seen=snapshot.seen(QUERY, [(alias, sql)]).get((alias, sql)))
    facts = {"id": row.id, "alias": alias, "sql": pretty(sql), "first": row.seen_at(0), "last": row.seen_at(1)}
    return Page(window, health(snapshot, window), cards, _charts(points, wide), shown, own=facts)


def _figures(sum_: Sum, seconds: float) -> list[float | None]:
    """Return calls per second, mean, p95 and max in ms, rows per call, errors."""
    errors = float(sum_.counter(QUERY, "errors"))
    if not sum_.count:
        return [0.0, None, None, None, None, errors]
    times = [sum_.mean, sum_.quantiles(QUANTILES)[1], float(sum_.max)]
    return [sum_.count / seconds, *[us / 1_000 for us in times], sum_.counter(QUERY, "rows") / sum_.count, errors]


def _charts(points: list[tuple[int, Sum]], window: Window) -> list[Chart]:
    times = times_of(points)
    seconds = seconds_of(times, window)
    rate = [sum_.count / each for (_, sum_), each in zip(points, seconds, strict=True)]
    errors = [sum_.counter(QUERY, "errors") / each for (_, sum_), each in zip(points, seconds, strict=True)]
    lines = [Line("calls", "1", rate), Line("errors", "bad", errors)]
    return [
        Chart("rate", "Calls and errors per second", "per_s", times, lines),
        Chart("duration", "Duration", "ms", times, quantile_lines(points)),
    ]


def pretty(sql: str) -> str:
    """Return SQL with a line for each clause, as it is where the formatter does not understand it."""
    try:
        return str(sqlparse.format(sql, reindent=True)) or sql
    except (ValueError, RecursionError, sqlparse.exceptions.SQLParseError):
        return sql
