"""Report failed database statements by shape and code."""

from __future__ import annotations

from dataclasses import dataclass

from ..db.errors import meaning_of
from ..db.fingerprint import shape_id
from ..metrics.catalog import QUERY_ERROR
from ..store.reader import Snapshot
from .report import Column, Report
from .window import Window


@dataclass(frozen=True, slots=True)
class QueryError:
    """Count the failures of one shape with one code."""

    alias: str
    sql: str
    code: str
    count: int


def query_errors(snapshot: Snapshot, window: Window) -> list[QueryError]:
    """Return one row for each shape and code of the window."""
    found = snapshot.sums(QUERY_ERROR, window.span)
    return [QueryError(alias, sql, code, sum_.count) for (alias, sql, code), sum_ in found.items()]


QUERY_ERRORS = Report[QueryError](
    name="query_errors",
    title="Failed queries",
    order="count",
    rows=query_errors,
    keys=("query_id", "code"),
    columns=(
        Column("query_id", "Query", "text", lambda row: shape_id(row.alias, row.sql), is_detail=True),
        Column("sql", "SQL", "text", lambda row: row.sql, link="query"),
        Column("alias", "Database", "text", lambda row: row.alias, is_detail=True),
        Column("code", "Code", "text", lambda row: row.code),
        Column("meaning", "Meaning", "text", lambda row: meaning_of(row.code)),
        Column("count", "Count", "count", lambda row: row.count),
    ),
)
