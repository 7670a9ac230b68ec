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
    request = trace.request
    match = getattr(request, "resolver_match", None)
    fields = {"route": clean(route_of(match)), "method": method_of(getattr(request, "method", None))}
    _log(run.shape.key, run.ns, run.rows, place_of(run.site), {**fields, "request_id": request_id(trace)})


def log_outside(key: Key, elapsed_ns: int, rows: int) -> None:
    """Log a slow statement that no request has asked for."""
    if elapsed_ns >= slow_ns():
        _log(
            key,
            elapsed_ns,
            rows,
            place_of(find_site(sys._getframe(1))),
            {"route": "-", "method": "-", "request_id": "-"},
        )


def _log(key: Key, elapsed_ns: int, rows: int, place: str, request: dict[str, str]) -> None:
    _, alias, sql = key
    fields = {
        "duration_s": round(elapsed_ns / 1e9, 4),
        "alias": alias,
        "rows": rows,
        "query_id": shape_id(alias, sql),
        "place": clean(place) or "-",
        "sql": sql,
        **request,
    }
    logger.warning(
        "slow query: %(duration_s).3f s on %(alias)s, %(rows)d rows, id=%(query_id)s, at %(place)s, "
        "%(method)s %(route)s, request_id=%(request_id)s: %(sql)s",
        fields,
        extra=fields,
    )
