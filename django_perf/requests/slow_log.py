"""Write one line for each request over the threshold."""

from __future__ import annotations

import logging

from django.http import HttpRequest

from ..metrics.endpoints import method_of, request_id, route_of
from ..metrics.names import clean
from ..metrics.trace import Trace

logger = logging.getLogger("django_perf.slow_requests")


def log_slow_request(request: HttpRequest, status: int, elapsed_ns: int, trace: Trace) -> None:
    """Log one WARNING line."""
    fields = {
        "route": clean(route_of(request.resolver_match)),
        "method": method_of(request.method),
        "status": status,
        "duration_s": round(elapsed_ns / 1e9, 4),
        "queries": trace.queries,
        "db_s": round(trace.query_ns / 1e9, 4),
        "request_id": request_id(trace),
    }
    logger.warning(
        "slow request: %(method)s %(route)s %(status)d took %(duration_s).3f s, %(queries)d queries %(db_s).3f s, "
        "request_id=%(request_id)s",
        fields,
        extra=fields,
    )
