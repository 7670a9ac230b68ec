"""Fill the store with two hours of a pool and a cache: `python -m tests.end_to_end.project.feature_history`."""

from __future__ import annotations

import random
import time

import django

django.setup()

from django_perf.metrics.aggregate import Table  # noqa: E402 - needs the apps
from django_perf.metrics.batch import Batch, Origin  # noqa: E402
from django_perf.metrics.catalog import CACHE_EVENT  # noqa: E402
from django_perf.store.models import Delta  # noqa: E402
from django_perf.store.writer import _rows  # noqa: E402
from tests.end_to_end.project.history import MINUTES, add  # noqa: E402

ALIAS = "default"
# Typical nanoseconds, and how many calls a minute.
OPERATIONS = {
    "l1": (450, 600),
    "l2": (310_000, 120),
    "l3": (1_900_000, 12),
    "miss": (420_000, 60),
    "set": (380_000, 70),
    "delete": (360_000, 9),
}
PATTERNS = {
    "product:*": (500, 60, 10, 20, 25, 6),
    "views.decorators.cache.cache_page*": (90, 20, 2, 10, 12, 0),
    "category-tree": (10, 30, 0, 5, 3, 3),
    "basket:*": (0, 10, 0, 25, 30, 0),
}
EVENTS = {"evicted_entries": 900, "evicted_bytes": 400_000, "invalidations": 15, "stampede_avoided": 2}


def minute_of_features(chance: random.Random) -> Table:
    """Return what one worker counts in a minute; one checkout in ten waits."""
    table: Table = {}
    holds = [int(chance.lognormvariate(0, 0.5) * 30_000) for _ in range(100)]
    add(table, ("pool", ALIAS), [hold if hold % 10 == 0 else 0 for hold in holds], [])
    add(table, ("pool_hold", ALIAS), holds, [])
    for operation, (typical_ns, count) in OPERATIONS.items():
        calls = chance.randint(count // 2, count * 2)
        times = [int(chance.lognormvariate(0, 0.5) * typical_ns) for _ in range(calls)]
        add(table, ("cache", ALIAS, operation), times, [calls])
    for pattern, counts in PATTERNS.items():
        add(table, ("cache_key", ALIAS, pattern), [0], list(counts))
    add(table, ("cache_event", ALIAS), [0], [EVENTS.get(name, 0) for name in CACHE_EVENT.counters])
    return table


def main() -> None:
    """Write; the minute that runs is left to the site itself."""
    chance, now = random.Random(2), int(time.time()) // 60
    origin = Origin("web-2", 1001, (now - MINUTES) * 60.0)
    for minute in range(now - MINUTES, now):
        tables = {minute: minute_of_features(chance)}
        Delta.objects.bulk_create(_rows(Batch(origin, (minute + 1) * 60.0, tables, {}, final=minute == now - 1)))


if __name__ == "__main__":
    main()
