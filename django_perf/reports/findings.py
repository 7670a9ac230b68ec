"""Report what was wrong with statements: the line of code, what it cost, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..db import findings as rules
from ..db.fingerprint import shape_id
from ..metrics.catalog import FINDING
from ..store.reader import Snapshot, Sum
from .report import Column, Report, Value
from .requests import endpoint_totals
from .window import Window

MEANINGS = {
    rules.N_PLUS_ONE: "N+1: one query for each row of another",
    rules.DUPLICATE: "the same query with the same values again",
    rules.UNBOUNDED: f"more than {rules.MOST_ROWS:,} rows without a limit",
    rules.TEMPLATE: "a query that a template sends",
    rules.OPEN_TRANSACTION: "a transaction that waits for something else",
}


@dataclass(slots=True)
class Finding:
    """Add up one finding over the requests that had it."""

    route: str
    method: str
    name: str
    alias: str
    sql: str
    place: str
    remedy: str
    sum: Sum
    requests: int = 0
    endpoint_us: int = 0

    def per_request(self, counter: str) -> float:
        """Return the calls or the rows of a request that had it."""
        return self.sum.counter(FINDING, counter) / self.sum.count if self.sum.count else 0.0

    def share(self) -> float | None:
        """Return the part of the endpoint's time that it takes."""
        return self.sum.total / self.endpoint_us if self.endpoint_us else None


def findings(snapshot: Snapshot, window: Window) -> list[Finding]:
    """Return every finding of the window."""
    return [
        Finding(route, method, name, alias, sql, place, remedy, sum_)
        for (route, method, name, alias, sql, place, remedy), sum_ in snapshot.sums(FINDING, window.span).items()
    ]


def _enrich(snapshot: Snapshot, window: Window, rows: list[Finding]) -> None:
    asked = endpoint_totals(snapshot, window, {(row.route, row.method) for row in rows})
    for row in rows:
        row.requests, row.endpoint_us = asked[row.route, row.method]


def _totals(snapshot: Snapshot, window: Window, rows: Sequence[Finding]) -> Mapping[str, Value]:
    return {name: sum(row.sum.count for row in rows if row.name == name) for name in MEANINGS}


FINDINGS = Report[Finding](
    name="findings",
    title="Findings in queries",
    empty="Nothing is wrong with the queries of this time.",
    order="total_ms",
    rows=findings,
    enrich=_enrich,
    totals=_totals,
    columns=(
        Column("finding", "Finding", "text", lambda row: row.name, link="query"),
        Column("meaning", "Meaning", "prose", lambda row: MEANINGS.get(row.name, ""), is_detail=True),
        Column("name", "Endpoint", "text", lambda row: row.route, link="endpoint"),
        Column("method", "Method", "text", lambda row: row.method, is_detail=True),
        Column("total_ms", "Total time", "ms", lambda row: row.sum.total / 1_000),
        Column("place", "Line", "prose", lambda row: row.place),
        Column("remedy", "Remedy", "prose", lambda row: row.remedy),
        Column("share", "Of its requests", "ratio", Finding.share, is_late=True),
        Column("count", "Requests", "count", lambda row: row.sum.count),
        Column("calls_per_request", "Calls each", "number", lambda row: row.per_request("calls")),
        Column("rows_per_request", "Rows each", "number", lambda row: row.per_request("rows"), is_detail=True),
        Column("query_id", "Query", "text", lambda row: shape_id(row.alias, row.sql), is_detail=True),
        Column("sql", "SQL", "text", lambda row: row.sql, is_detail=True),
        Column("alias", "Database", "text", lambda row: row.alias, is_detail=True),
    ),
)
