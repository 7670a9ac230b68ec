"""Fill the store with two hours of pool, cache, compression, findings, and with an example of a slow request.

`python -m tests.end_to_end.project.feature_history`
"""

from __future__ import annotations

import random
import time

import django

django.setup()

from django.contrib.auth.models import Permission  # noqa: E402 - needs the apps
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.db import connection  # noqa: E402

from django_perf.metrics.aggregate import Table  # noqa: E402
from django_perf.metrics.batch import Batch, Origin  # noqa: E402
from django_perf.metrics.catalog import CACHE_EVENT, KINDS  # noqa: E402
from django_perf.metrics.samples import Sample  # noqa: E402
from django_perf.requests.remarkable import SLOW_QUERY  # noqa: E402
from django_perf.store import samples  # noqa: E402
from django_perf.store.models import Delta  # noqa: E402
from django_perf.store.writer import _rows  # noqa: E402
from tests.dashboard.data import EXAMPLE  # noqa: E402
from tests.end_to_end.project.history import MINUTES, STATEMENTS, add  # noqa: E402
from tests.end_to_end.project.shapes import PLANNED  # noqa: E402

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
# What became of responses, by endpoint: how many a minute, bytes of one before and after, typical microseconds.
COMPRESSED = {
    ("products", "GET"): {
        "zstd": (40, 38_000, 6_200, 180),
        "dcz": (12, 38_000, 1_900, 210),
        "br": (4, 38_000, 5_700, 420),
        "gzip": (3, 38_000, 7_400, 390),
        "not_modified": (9, 0, 0, 0),
        "not_accepted": (2, 38_000, 38_000, 0),
    },
    ("categories/<slug:slug>/products/<int:pk>/reviews/<uuid:review>/comments", "GET"): {
        "zstd": (25, 9_000, 2_100, 60),
        "small": (6, 240, 240, 0),
    },
    ("export/<str:format>", "GET"): {"gzip": (3, 2_400_000, 310_000, 21_000)},
    ("media/<path:path>", "GET"): {"type": (30, 64_000, 64_000, 0)},
    ("checkout/<str:token>/confirm", "POST"): {"zstd": (5, 5_000, 1_600, 45), "cross_site": (1, 5_000, 5_000, 0)},
    ("thumbnail/<int:pk>", "GET"): {"not_smaller": (8, 12_000, 12_000, 95)},
}

LISTING, CHECKOUT = ("products", "GET"), ("checkout/<str:token>/confirm", "POST")
LINE = "shop/catalogue/views.py:118 in ProductListView.get_queryset"
REMEDY = 'select_related("category") where Product is read'
# What was wrong with statements, and where they come from: milliseconds of each request, calls and rows in a minute.
FAULTS = {
    ("finding", *LISTING, "n_plus_one", ALIAS, STATEMENTS[0], LINE, REMEDY): (240, 900, 900),
    ("finding", *LISTING, "unbounded", ALIAS, STATEMENTS[1], "shop/views.py:9 in counts", ""): (60, 20, 40_000),
    ("finding", *CHECKOUT, "open_transaction", ALIAS, "", "shop/checkout.py:31 in confirm", ""): (300, 0, 0),
    ("call_site", *LISTING, ALIAS, STATEMENTS[0], LINE): (240, 900, 900),
    ("call_site", *LISTING, ALIAS, PLANNED, "shop/reports/management/commands/count.py:77 in matrix"): (90, 30, 30),
    ("endpoint_query", *LISTING, ALIAS, PLANNED): (90, 1, 30),
    ("query_error", ALIAS, STATEMENTS[2], "40P01"): (1, 0, 0),
    ("query_error", ALIAS, PLANNED, "57014"): (1, 0, 0),
    ("transaction", *CHECKOUT, ALIAS): (400, 1, 300_000),
}


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
    for (route, method), outcomes in COMPRESSED.items():
        for outcome, (count, before, after, typical_us) in outcomes.items():
            responses = chance.randint(count // 2, count * 2)
            times = [int(chance.lognormvariate(0, 0.5) * typical_us) for _ in range(responses)]
            add(table, ("compression", route, method, outcome), times, [before * responses, after * responses])
    for key, (typical_ms, first, second) in FAULTS.items():
        times = [int(chance.lognormvariate(0, 0.3) * typical_ms * 1_000) for _ in range(10)]
        add(table, key, times, [first, second][: len(KINDS[key[0]].counters)])
    return table


def example(at: float) -> Sample:
    """Return a slow request with all that a timeline can hold, names that are too long for a phone among it."""
    long = {"kind": "template", "name": f"{'catalogue/' * 15}product_list.html", "start_us": 60_000, "us": 330_000}
    planned = {"kind": "database", "name": PLANNED, "alias": ALIAS, "start_us": 20_000, "us": 90_000, "place": LINE}
    block = {"kind": "block", "name": "prices", "start_us": 310_000, "us": 50_000}
    doc = {**EXAMPLE, "route": LISTING[0], "spans": [*EXAMPLE["spans"], long, planned, block]}
    return Sample((SLOW_QUERY, ALIAS, PLANNED), LISTING, at, 90_000, 0.5, doc)


def fill_table_of_plan() -> None:
    """Make the table of PLANNED large enough for its index to be missed."""
    kind = ContentType.objects.get(app_label="auth", model="user")
    Permission.objects.bulk_create(
        Permission(name=f"Can {number}", codename=str(number), content_type=kind) for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE auth_permission")


def main() -> None:
    """Write; the minute that runs is left to the site itself."""
    chance, now = random.Random(2), int(time.time()) // 60
    origin = Origin("web-2", 1001, (now - MINUTES) * 60.0)
    for minute in range(now - MINUTES, now):
        tables = {minute: minute_of_features(chance)}
        Delta.objects.bulk_create(_rows(Batch(origin, (minute + 1) * 60.0, tables, {}, final=minute == now - 1)))
    fill_table_of_plan()
    samples.insert("default", [example(now * 60.0 - 600)])


if __name__ == "__main__":
    main()
