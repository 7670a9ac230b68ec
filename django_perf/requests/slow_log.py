"""Write one line for each request over the threshold."""

from __future__ import annotations

import logging
import re
import uuid

from django.http import HttpRequest

from ..metrics.endpoints import method_of, route_of
from ..metrics.names import clean
from ..metrics.trace import Trace

logger = logging.getLogger("django_perf.slow_requests")

# A client may send anything as its id: only what cannot forge a log line is taken over.
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)


def request_id(request: HttpRequest) -> str:
    """Return the client's X-Request-ID where it is harmless, else a new one."""
    given = str(request.META.get("HTTP_X_REQUEST_ID", ""))
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def log_slow_request(request: HttpRequest, status: int, elapsed_ns: int, trace: Trace) -> None:
    """Log one WARNING line."""
    fields = {
        "route": clean(route_of(request.resolver_match)),
        "method": method_of(request.method),
        "status": status,
        "duration_s": round(elapsed_ns / 1e9, 4),
        "queries": trace.queries,
        "db_s": round(trace.query_ns / 1e9, 4),
        "request_id": request_id(request),
    }
    logger.warning(
        "slow request: %(method)s %(route)s %(status)d took %(duration_s).3f s, %(queries)d queries %(db_s).3f s, "
        "request_id=%(request_id)s",
        fields,
        extra=fields,
    )
