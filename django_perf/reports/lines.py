"""Report the lines of code that send statements which take long or come often."""

from __future__ import annotations

from dataclasses import dataclass

from ..db.fingerprint import shape_id
from ..metrics.catalog import CALL_SITE
from ..store.reader import Snapshot, Sum
from .report import Column, Report
from .window import Window


@dataclass(frozen=True, slots=True)
class SendingLine:
    """Add up what one line sent of one shape, for one endpoint: what it took in each request that had it."""

    route: str
    method: str
    alias: str
    sql: str
    place: str
    sum: Sum

    def calls(self) -> int:
        """Return the executions of all requests."""
        return self.sum.counter(CALL_SITE, "calls")

    def mean_ms(self) -> float | None:
        """Return what one execution takes."""
        return self.sum.total / self.calls() / 1_000 if self.calls() else None


def lines(snapshot: Snapshot, window: Window) -> list[SendingLine]:
    """Return a row for each line, shape and endpoint."""
    return [
        SendingLine(route, method, alias, sql, place, sum_)
        for (route, method, alias, sql, place), sum_ in snapshot.sums(CALL_SITE, window.span).items()
    ]


LINES = Report[SendingLine](
    name="lines",
    title="Lines that send slow or frequent queries",
    order="total_ms",
    rows=lines,
    columns=(
        Column("place", "Line", "prose", lambda row: row.place),
        Column("name", "Endpoint", "text", lambda row: row.route, link="endpoint"),
        Column("method", "Method", "text", lambda row: row.method, is_detail=True),
        Column("total_ms", "Total time", "ms", lambda row: row.sum.total / 1_000),
        Column("count", "Requests", "count", lambda row: row.sum.count),
        Column("calls", "Calls", "count", SendingLine.calls),
        Column("mean_ms", "Mean", "ms", SendingLine.mean_ms),
        Column("max_ms", "Most a request", "ms", lambda row: row.sum.max / 1_000),
        Column("sql", "SQL", "text", lambda row: row.sql, link="query"),
        Column("query_id", "Query", "text", lambda row: shape_id(row.alias, row.sql), is_detail=True),
        Column("alias", "Database", "text", lambda row: row.alias, is_detail=True),
    ),
)
