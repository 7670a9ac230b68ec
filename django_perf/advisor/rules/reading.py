"""Read what several rules judge only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ...reports.requests import Endpoint, endpoints
from ...reports.window import Window
from ...store.reader import Snapshot

Rows = TypeVar("Rows")


def once(read: Callable[[Snapshot, Window], Rows], snapshot: Snapshot, window: Window) -> Rows:
    """Return what a report's function reads; the same rows for all rules of one answer, so nobody may change them."""
    name = f"{read.__module__}.{read.__name__} {window.span}"
    if name not in snapshot.kept:
        snapshot.kept[name] = read(snapshot, window)
    found: Rows = snapshot.kept[name]
    return found


def by_scope(snapshot: Snapshot, window: Window) -> dict[tuple[str, str], Endpoint]:
    """Return the endpoints by (route, method)."""
    return {(row.route, row.method): row for row in once(endpoints, snapshot, window)}
