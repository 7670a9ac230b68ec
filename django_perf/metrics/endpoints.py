"""Name the series of a request: its route, never its raw path, so that visitors cannot invent series."""

from __future__ import annotations

from typing import Protocol

from .catalog import UNRESOLVED

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_CLASSES = {hundred: f"{hundred}xx" for hundred in range(1, 6)}


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
