"""Report unhandled exceptions by class."""

from __future__ import annotations

from dataclasses import dataclass

from ..metrics.catalog import EXCEPTION
from ..store.reader import Snapshot
from .report import Column, Report
from .window import Window


@dataclass(frozen=True, slots=True)
class Failure:
    """Count one class of exception at one endpoint."""

    route: str
    method: str
    name: str
    count: int


def _failures(snapshot: Snapshot, window: Window) -> list[Failure]:
    found = snapshot.sums(EXCEPTION, window.span)
    return [Failure(route, method, name, sum_.count) for (route, method, name), sum_ in found.items()]


EXCEPTIONS = Report[Failure](
    name="exceptions",
    title="Exceptions",
    empty="No request has raised an exception in this time.",
    order="count",
    rows=_failures,
    keys=("name", "endpoint", "method"),
    columns=(
        Column("name", "Exception", "text", lambda row: row.name),
        Column("endpoint", "Endpoint", "text", lambda row: row.route, link="endpoint"),
        Column("method", "Method", "text", lambda row: row.method),
        Column("count", "Count", "count", lambda row: row.count),
    ),
)
