"""Load the dictionaries in use from the database."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections, router

from .dictionary import Known, known
from .models import CompressionDictionary
from .profiles import Levels


def active(levels: Levels) -> Iterator[Known]:
    """Yield the dictionaries in use, newest first; closes the connection, which belongs to the calling thread."""
    rows = CompressionDictionary.objects.filter(state=CompressionDictionary.State.ACTIVE).order_by("-created", "-id")
    try:
        for row in rows:
            yield known(row.sha256, row.match, bytes(row.content), levels)
    finally:
        connections[router.db_for_read(CompressionDictionary)].close()
