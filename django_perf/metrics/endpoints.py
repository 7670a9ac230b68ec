"""Name a request: by its route, never its raw path, so that visitors cannot invent series; in logs by its id."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Protocol

from .catalog import UNRESOLVED

if TYPE_CHECKING:
    from .trace import Trace

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_CLASSES = {hundred: f"{hundred}xx" for hundred in range(1, 6)}
# A client may send anything as its id: only what cannot forge a log line is taken over.
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)


class Match(Protocol):
    """What Django's ResolverMatch tells of the route that matched."""

    @property
    def route(self) -> str:
        """Return the pattern."""


def route_of(match: Match | None) -> str:
    """Return the route pattern that matched ("/" for the empty one); all unmatched paths share one name."""
    return UNRESOLVED if match is None else match.route or "/"


def method_of(method: str | None) -> str:
    """Return the method, or OTHER: a client may send any text of any length as a method."""
    return method if method is not None and method in METHODS else "OTHER"


def status_class(status: int) -> str:
    """Return "2xx" for 204."""
    return _CLASSES.get(status // 100, "other")


def request_id(trace: Trace) -> str:
    """Return the client's X-Request-ID where it is harmless, else a new one; the same for all lines of a request."""
    if not trace.request_id:
        given = trace.given_id if trace.request is None else trace.request.META.get("HTTP_X_REQUEST_ID")
        is_harmless = isinstance(given, str) and _REQUEST_ID.fullmatch(given)
        trace.request_id = str(given) if is_harmless else uuid.uuid4().hex
    return trace.request_id
