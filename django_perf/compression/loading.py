"""Load the dictionaries in use from the database."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections, router

from .dictionary import Known, known
from .models import CompressionDictionary
from .profiles import Levels


def active(levels: Levels) -> Iterator[Known]:
    """Yield the dictionaries in use, newest first."""
    rows = CompressionDictionary.objects.filter(state=CompressionDictionary.State.ACTIVE)
    for row in rows.order_by("-created", "-id"):
        yield known(row.sha256, row.match, bytes(row.content), levels)


def active_in_thread(levels: Levels) -> list[Known]:
    """Return the same for a thread that ends, whose connection nobody else would close."""
    try:
        return list(active(levels))
    finally:
        connections[router.db_for_read(CompressionDictionary)].close()
