"""Read all that is exported out of the store: whichever process does so gives the figures of all."""

from __future__ import annotations

import time

from ..conf import get_settings
from ..metrics.catalog import Kind
from ..metrics.recorder import recorder
from ..reports.window import last
from ..store.alias import store_alias
from ..store.reader import Snapshot, consistent
from ..store.totals import Totals
from .exported import EXPORTED
from .families import Family, Rows, families
from .gauges import gauges

# Longer than the longest silence after which a process counts as running.
_LATELY = "24h"


def read_families() -> list[Family]:
    """Return every family as of now, on this thread's connection. Raises DatabaseError, and StoreBusy."""
    by_host = get_settings().metrics_by_host
    with recorder.paused():
        return consistent(store_alias(), lambda snapshot: _read(snapshot, by_host))


def _read(snapshot: Snapshot, by_host: bool) -> list[Family]:
    totals = Totals(snapshot, by_host=by_host)

    def rows_of(kind: Kind) -> Rows:
        return totals.sums(kind)

    found = list(families(EXPORTED, rows_of, by_host))
    return found + list(gauges(snapshot, last(_LATELY, time.time()), by_host))
