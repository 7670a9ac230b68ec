"""Write one line for each statement over the threshold."""

from __future__ import annotations

import logging
import sys

from ..conf import get_settings
from ..metrics.aggregate import Key
from ..metrics.callsite import find_site, place_of
from ..metrics.endpoints import method_of, request_id, route_of
from ..metrics.names import clean
from ..metrics.statement import Run
from ..metrics.trace import Trace
from .fingerprint import shape_id

logger = logging.getLogger("django_perf.slow_queries")


def slow_ns() -> float:
    """Return the threshold, in nanoseconds."""
    return get_settings().slow_query_seconds * 1e9


def log_run(run: Run, trace: Trace) -> None:
    """Log the execution of a statement in a request; of its parameters nobody knows here."""
    _log(run.shape.key, run.ns, f"{run.rows} rows", place_of(run.site), trace, rows=run.rows)


def log_outside(key: Key, elapsed_ns: int, rows: int) -> None:
    """Log a slow statement that no request has asked for."""
    if elapsed_ns >= slow_ns():
        _log(key, elapsed_ns, f"{rows} rows", place_of(find_site(sys._getframe(1))), None, rows=rows)


def log_failed(key: Key, elapsed_ns: int, code: str, trace: Trace | None) -> None:
    """Log a statement that failed after so long a time: a limit, a lock that never came, somebody's cancellation."""
    if elapsed_ns >= slow_ns():
        _log(key, elapsed_ns, f"failed with {code}", place_of(find_site(sys._getframe(1))), trace, error=code)


def _request_of(trace: Trace | None) -> dict[str, str]:
    if trace is None or trace.is_over:
        return {"route": "-", "method": "-", "request_id": "-"}
    match = getattr(trace.request, "resolver_match", None)
    method = method_of(getattr(trace.request, "method", None))
    return {"route": clean(route_of(match)), "method": method, "request_id": request_id(trace)}


def _log(
    key: Key, elapsed_ns: int, result: str, place: str, trace: Trace | None, *, rows: int = 0, error: str = ""
) -> None:
    _, alias, sql = key
    fields = {
        "duration_s": round(elapsed_ns / 1e9, 4),
        "alias": alias,
        "rows": rows,
        "error": error,
        "query_id": shape_id(alias, sql),
        "place": clean(place) or "-",
        "sql": sql,
        **_request_of(trace),
    }
    logger.warning(
        "slow query: %(duration_s).3f s on %(alias)s, %(result)s, id=%(query_id)s, at %(place)s, "
        "%(method)s %(route)s, request_id=%(request_id)s: %(sql)s",
        {**fields, "result": result},
        extra=fields,
    )
