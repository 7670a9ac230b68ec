"""Keep requests that were slow, failed, or had statements worth a closer look, as examples of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..metrics.aggregate import Key
from ..metrics.catalog import FINDING
from ..metrics.endpoints import request_id
from ..metrics.names import clean
from ..metrics.recorder import recorder
from ..metrics.statement import NS, column
from ..metrics.trace import Trace
from .timeline import describe

Scope = tuple[str, str]

# The examples of slow statements begin long before their log does.
_SLOW_STATEMENT_NS = 100_000_000

SLOW_REQUEST, SLOW_QUERY, N_PLUS_ONE, EXCEPTION = "slow_request", "slow_query", "n_plus_one", "exception"
REASONS = (SLOW_REQUEST, SLOW_QUERY, N_PLUS_ONE, EXCEPTION)


def offer(scope: Scope, trace: Trace, status: int, elapsed_ns: int, is_slow: bool) -> None:
    """Offer the request as an example of each thing that was remarkable in it."""
    described: list[dict[str, Any]] = []

    def once() -> dict[str, Any]:
        """Describe the request for whichever reason wins first; for the others it is the same."""
        if not described:
            described.append(describe(trace, elapsed_ns, _facts(scope, trace, status)))
        return described[0]

    for key, us in _reasons(scope, trace, elapsed_ns, is_slow):
        recorder.samples.offer(key, scope, us, once)


def _reasons(scope: Scope, trace: Trace, elapsed_ns: int, is_slow: bool) -> Iterator[tuple[Key, int]]:
    """Yield what the request is an example of, and by which time it is compared with others."""
    if is_slow:
        yield (SLOW_REQUEST, *scope), elapsed_ns // 1000
    if trace.error is not None:
        yield (EXCEPTION, *scope, clean(trace.error)), elapsed_ns // 1000
    if trace.watch is None:
        return
    for shape, runs in trace.statements.items():
        longest_ns = max(column(runs, NS))
        if longest_ns >= _SLOW_STATEMENT_NS:
            yield (SLOW_QUERY, *shape.key[1:]), longest_ns // 1000
    for key, gathered in (trace.more.series if trace.more else {}).items():
        if key[0] == FINDING.name and key[1] == N_PLUS_ONE:
            yield (N_PLUS_ONE, *scope), sum(gathered.values)


def _facts(scope: Scope, trace: Trace, status: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"route": scope[0], "method": scope[1], "status": status}
    facts |= {"request_id": request_id(trace), "queries": trace.queries, "db_us": trace.query_ns // 1000}
    if trace.error is not None:
        facts |= {"exception": clean(trace.error), "raised_at": clean(trace.error_place)}
    return facts
