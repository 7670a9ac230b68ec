"""Read what several rules judge."""

from __future__ import annotations

from ...reports.requests import Endpoint, endpoints
from ...reports.window import Window
from ...store.reader import Snapshot


def by_scope(snapshot: Snapshot, window: Window) -> dict[tuple[str, str], Endpoint]:
    """Return the endpoints by (route, method)."""
    return {(row.route, row.method): row for row in snapshot.once(endpoints, window)}
