"""Write one line for each request over the threshold."""

from __future__ import annotations

import logging
import re
import uuid

from django.http import HttpRequest

from ..metrics.names import clean

logger = logging.getLogger("django_perf.slow_requests")

# A client may send anything as its id: only what cannot forge a log line is taken over.
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)


def request_id(request: HttpRequest) -> str:
    """Return the client's X-Request-ID where it is harmless, else a new one."""
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def log_slow_request(
    request: HttpRequest, endpoint: tuple[str, str], status: int, duration_s: float, queries: int, db_s: float
) -> None:
    """Log one WARNING line; `endpoint` is (route, method)."""
    route, method = endpoint
    fields = {
        "route": clean(route),
        "method": method,
        "status": status,
        "duration_s": round(duration_s, 4),
        "queries": queries,
        "db_s": round(db_s, 4),
        "request_id": request_id(request),
    }
    logger.warning(
        "slow request: %(method)s %(route)s %(status)d took %(duration_s).3f s, %(queries)d queries %(db_s).3f s, "
        "request_id=%(request_id)s",
        fields,
        extra=fields,
    )
