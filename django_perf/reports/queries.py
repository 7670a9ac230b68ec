"""Report database statements by shape, and by the endpoints that run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..db.fingerprint import shape_id
from ..metrics.catalog import ENDPOINT_QUERY, QUERY
from ..store.fresh import Labels
from ..store.reader import Snapshot, Sum
from .report import Column, Report, Value
from .requests import endpoint_totals
from .window import Window, moment

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(slots=True)
class Statement:
    """Add up one SQL shape. `requests` counts the requests of the endpoints that ran it, None outside requests.

    `endpoint_us` is the time that those requests took, the part that this statement has in it included.
    """

    alias: str
    sql: str
    sum: Sum
    endpoints: int = 0
    requests: int | None = None
    endpoint_us: int = 0
    route: str = ""
    method: str = ""
    seen: tuple[int, int] | None = None

    @property
    def id(self) -> str:
        """Return the stable name of the shape: the same on every machine and after every restart."""
        return shape_id(self.alias, self.sql)

    def quantile_ms(self, index: int) -> float:
        """Return p50, p95 or p99."""
        return self.sum.quantiles(QUANTILES)[index] / 1_000

    def calls_per_request(self) -> float | None:
        """Return the calls per request of the endpoints that run it."""
        return self.sum.count / self.requests if self.requests else None

    def rows_per_call(self) -> float | None:
        """Return the rows that one call returns or changes."""
        return self.sum.counter(QUERY, "rows") / self.sum.count if self.sum.count else None

    def share(self) -> float | None:
        """Return the part of its endpoints' time that it takes."""
        return self.sum.total / self.endpoint_us if self.endpoint_us else None

    def seen_at(self, index: int) -> str | None:
        """Return when it was seen first (0) or last (1), None where nobody knows."""
        minute = self.seen[index] if self.seen else 0
        return moment(minute * 60).isoformat(timespec="minutes") if minute else None


def statements(snapshot: Snapshot, window: Window) -> list[Statement]:
    """Return every shape that ran in the window."""
    return [Statement(alias, sql, sum_) for (alias, sql), sum_ in snapshot.sums(QUERY, window.span).items()]


def statement_named(snapshot: Snapshot, window: Window, id_: str) -> Statement | None:
    """Return the shape with an id, None when it did not run in the window."""
    return next((row for row in snapshot.once(statements, window) if row.id == id_), None)


def statements_of(snapshot: Snapshot, window: Window, route: str, method: str) -> list[Statement]:
    """Return the shapes that one endpoint ran."""
    return _pairs(snapshot, window, {(route, method)}, None)


def endpoints_of(snapshot: Snapshot, window: Window, alias: str, sql: str) -> list[Statement]:
    """Return one row for each endpoint that ran a shape."""
    return _pairs(snapshot, window, None, (alias, sql))


def _pairs(snapshot: Snapshot, window: Window, scopes: set[Labels] | None, shape: Labels | None) -> list[Statement]:
    def is_wanted(labels: Labels) -> bool:
        return (scopes is None or labels[:2] in scopes) and (shape is None or labels[2:] == shape)

    pairs = snapshot.sums(ENDPOINT_QUERY, window.span, is_wanted)
    asked = endpoint_totals(snapshot, window, {labels[:2] for labels in pairs})
    return [
        Statement(alias, sql, sum_, 1, *asked[route, method], route=route, method=method)
        for (route, method, alias, sql), sum_ in pairs.items()
    ]


def _enrich(snapshot: Snapshot, window: Window, rows: list[Statement]) -> None:
    by_shape = {(row.alias, row.sql): row for row in rows}
    pairs = snapshot.sums(ENDPOINT_QUERY, window.span, lambda labels: labels[2:] in by_shape)
    asked = endpoint_totals(snapshot, window, {labels[:2] for labels in pairs})
    for row in rows:  # others may have read them before
        row.endpoints, row.requests, row.endpoint_us = 0, None, 0
    for labels in pairs:
        row, (count, total_us) = by_shape[labels[2], labels[3]], asked[labels[:2]]
        row.endpoints += 1
        row.requests, row.endpoint_us = (row.requests or 0) + count, row.endpoint_us + total_us
    for labels, seen in snapshot.seen(QUERY, by_shape).items():
        by_shape[labels[0], labels[1]].seen = seen


def _totals(snapshot: Snapshot, window: Window, rows: Sequence[Statement]) -> Mapping[str, Value]:
    return {
        "count": sum(row.sum.count for row in rows),
        "errors": sum(row.sum.counter(QUERY, "errors") for row in rows),
        "total_ms": sum(row.sum.total for row in rows) / 1_000,
    }


QUERIES = Report[Statement](
    name="queries",
    title="Queries",
    order="total_ms",
    rows=statements,
    enrich=_enrich,
    totals=_totals,
    keys=("id",),
    columns=(
        Column("id", "Id", "text", lambda row: row.id, is_detail=True),
        Column("sql", "SQL", "text", lambda row: row.sql, link="query"),
        Column("alias", "Database", "text", lambda row: row.alias, is_detail=True),
        Column("total_ms", "Total time", "ms", lambda row: row.sum.total / 1_000),
        Column("share", "Of its requests", "ratio", Statement.share, is_late=True),
        Column("count", "Count", "count", lambda row: row.sum.count),
        Column("errors", "Errors", "count", lambda row: row.sum.counter(QUERY, "errors")),
        Column("mean_ms", "Mean", "ms", lambda row: row.sum.mean / 1_000),
        Column("p50_ms", "p50", "ms", lambda row: row.quantile_ms(0), is_detail=True),
        Column("p95_ms", "p95", "ms", lambda row: row.quantile_ms(1)),
        Column("p99_ms", "p99", "ms", lambda row: row.quantile_ms(2), is_detail=True),
        Column("max_ms", "Max", "ms", lambda row: row.sum.max / 1_000),
        Column("calls_per_request", "Per request", "number", Statement.calls_per_request, is_late=True),
        Column("rows_per_call", "Rows", "number", Statement.rows_per_call),
        Column("endpoints", "Endpoints", "count", lambda row: row.endpoints, is_late=True, is_detail=True),
        Column("first_seen", "First seen", "time", lambda row: row.seen_at(0), is_late=True, is_detail=True),
        Column("last_seen", "Last seen", "time", lambda row: row.seen_at(1), is_late=True, is_detail=True),
    ),
)


def queries_of(route: str, method: str) -> Report[Statement]:
    """Return the report on queries with the rows of one endpoint only."""
    hidden = {"endpoints", "first_seen", "last_seen"}
    return replace(
        QUERIES,
        rows=lambda snapshot, window: statements_of(snapshot, window, route, method),
        enrich=None,
        columns=tuple(column for column in QUERIES.columns if column.name not in hidden),
    )


def endpoints_report(alias: str, sql: str) -> Report[Statement]:
    """Return the report on the endpoints that run one shape."""
    kept = ("total_ms", "share", "count", "errors", "mean_ms", "p95_ms", "max_ms", "calls_per_request", "rows_per_call")
    return Report[Statement](
        name="query_endpoints",
        title="Endpoints that run it",
        order="total_ms",
        rows=lambda snapshot, window: endpoints_of(snapshot, window, alias, sql),
        columns=(
            Column("name", "Endpoint", "text", lambda row: row.route, link="endpoint"),
            Column("method", "Method", "text", lambda row: row.method),
            *(QUERIES.column(name) for name in kept),
        ),
    )
