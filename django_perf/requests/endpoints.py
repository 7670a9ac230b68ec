"""Name the series of a request: its route, never its raw path, so that visitors cannot invent series."""

from __future__ import annotations

from fnmatch import fnmatchcase

from django.http import HttpRequest

from ..metrics.catalog import UNRESOLVED

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_CLASSES = {hundred: f"{hundred}xx" for hundred in range(1, 6)}


def route_of(request: HttpRequest) -> str:
    """Return the route pattern that matched ("/" for the empty one); all unmatched paths share one name."""
    match = request.resolver_match
    return UNRESOLVED if match is None else match.route or "/"


def method_of(request: HttpRequest) -> str:
    """Return the method, or OTHER: a client may send any text of any length as a method."""
    method = request.method or ""
    return method if method in METHODS else "OTHER"


def status_class(status: int) -> str:
    """Return "2xx" for 204."""
    return _CLASSES.get(status // 100, "other")


def is_ignored(route: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether `route` matches one of the patterns of the setting IGNORE_ROUTES."""
    return any(fnmatchcase(route, pattern) for pattern in patterns)
