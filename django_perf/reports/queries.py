"""Report database statements by shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..db.fingerprint import shape_id
from ..metrics.catalog import ENDPOINT_QUERY, QUERY, REQUEST
from ..store.fresh import Labels
from ..store.reader import Snapshot, Sum
from .report import Column, Report, Value
from .window import Window


@dataclass(slots=True)
class Statement:
    """Add up one SQL shape. `requests` counts the requests of the endpoints that ran it, None outside requests."""

    alias: str
    sql: str
    sum: Sum
    endpoints: int = 0
    requests: int | None = None

    @property
    def id(self) -> str:
        """Return the stable name of the shape: the same on every machine and after every restart."""
        return shape_id(self.alias, self.sql)

    def p95_ms(self) -> float:
        """Return the 95th percentile."""
        return self.sum.quantiles((0.95,))[0] / 1_000

    def calls_per_request(self) -> float | None:
        """Return the calls per request of the endpoints that run it."""
        return self.sum.count / self.requests if self.requests else None


def statements(snapshot: Snapshot, window: Window) -> list[Statement]:
    """Return every shape that ran in the window."""
    return [Statement(alias, sql, sum_) for (alias, sql), sum_ in snapshot.sums(QUERY, window.span).items()]


def statements_of(snapshot: Snapshot, window: Window, route: str, method: str) -> list[Statement]:
    """Return the shapes that one endpoint ran."""
    requests = sum(_requests(snapshot, window, {(route, method)}).values())
    pairs = snapshot.sums(ENDPOINT_QUERY, window.span, lambda labels: labels[:2] == (route, method))
    return [Statement(alias, sql, sum_, 1, requests) for (_, _, alias, sql), sum_ in pairs.items()]


def _enrich(snapshot: Snapshot, window: Window, rows: list[Statement]) -> None:
    by_shape = {(row.alias, row.sql): row for row in rows}
    pairs = snapshot.sums(ENDPOINT_QUERY, window.span, lambda labels: labels[2:] in by_shape)
    counts = _requests(snapshot, window, {labels[:2] for labels in pairs})
    for labels in pairs:
        row = by_shape[labels[2], labels[3]]
        row.endpoints += 1
        row.requests = (row.requests or 0) + counts[labels[:2]]


def _requests(snapshot: Snapshot, window: Window, wanted: set[Labels]) -> dict[Labels, int]:
    counts: dict[Labels, int] = defaultdict(int)
    for labels, sum_ in snapshot.sums(REQUEST, window.span, lambda labels: labels[:2] in wanted).items():
        counts[labels[:2]] += sum_.count
    return counts


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
    columns=(
        Column("id", "Id", "text", lambda row: row.id, is_detail=True),
        Column("sql", "SQL", "text", lambda row: row.sql),
        Column("alias", "Database", "text", lambda row: row.alias, is_detail=True),
        Column("total_ms", "Total time", "ms", lambda row: row.sum.total / 1_000),
        Column("count", "Count", "count", lambda row: row.sum.count),
        Column("errors", "Errors", "count", lambda row: row.sum.counter(QUERY, "errors")),
        Column("mean_ms", "Mean", "ms", lambda row: row.sum.mean / 1_000),
        Column("p95_ms", "p95", "ms", Statement.p95_ms),
        Column("max_ms", "Max", "ms", lambda row: row.sum.max / 1_000, is_detail=True),
        Column("calls_per_request", "Per request", "number", Statement.calls_per_request, is_late=True),
        Column("endpoints", "Endpoints", "count", lambda row: row.endpoints, is_late=True),
    ),
)
