"""Make executions of statements by hand, as a cursor notes them."""

from __future__ import annotations

from django_perf.metrics.catalog import ENDPOINT_QUERY
from django_perf.metrics.statement import Shape
from django_perf.metrics.trace import Trace

SELECT = Shape((ENDPOINT_QUERY.name, "default", "SELECT ?"))


def shape(sql: str, alias: str = "default") -> Shape:
    """Return a shape of its own."""
    return Shape((ENDPOINT_QUERY.name, alias, sql))


def execute(
    trace: Trace, *times_ns: int, of: Shape = SELECT, rows: int = 0, site=None, mark=None, at: int = 0
) -> Trace:
    """Add executions that took so long to a trace; returns the trace."""
    runs = trace.statements.setdefault(of, [of])
    for ns in times_ns:
        runs += (at, ns, rows, site, mark)
    return trace
