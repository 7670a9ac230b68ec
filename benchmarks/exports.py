"""What does a scrape cost? Reading the totals out of the store, and writing them as Prometheus reads them.

Series of requests with three status classes a route, merged into the totals, on PostgreSQL.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from django_perf.exporters.prometheus import OPENMETRICS, exposition  # noqa: E402
from django_perf.exporters.reading import read_families  # noqa: E402
from tests.store.data import MIDNIGHT, compact_at, put, requests  # noqa: E402

SERIES = (100, 1_500)
STATUSES = ("2xx", "4xx", "5xx")
ROUNDS = 11


def fill(series: int) -> None:
    """Leave the totals of so many series."""
    table = {}
    for number in range(series // len(STATUSES)):
        for status in STATUSES:
            table.update(requests(50, route=f"shop/area-{number}/<int:pk>", status=status, us=1_000 + number))
    put("default", {MIDNIGHT: table})
    compact_at("default", MIDNIGHT + 1)


def median_ms(work: Callable[[], object]) -> float:
    """Return the median milliseconds of ROUNDS times."""
    milliseconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        milliseconds.append((time.perf_counter() - started) * 1e3)
    return statistics.median(milliseconds)


def measure(series: int) -> None:
    """Print what one scrape takes."""
    fill(series)
    families = read_families()
    text = exposition(families, OPENMETRICS)
    assert f"area-{series // len(STATUSES) - 1}/".encode() in text, "the scrape does not hold what was stored"
    reading, writing = median_ms(read_families), median_ms(lambda: exposition(families, OPENMETRICS))
    size = len(text) / 1e6
    print(f"{series:,} series of requests: reading {reading:.0f} ms, writing {writing:.0f} ms, {size:.1f} MB")


def main() -> None:
    """Measure and print."""
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        for series in SERIES:
            measure(series)
    finally:
        connection.creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)


if __name__ == "__main__":
    main()
