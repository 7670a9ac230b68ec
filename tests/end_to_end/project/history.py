"""Fill the store with two hours of a busy shop: `python -m tests.end_to_end.project.history`."""

from __future__ import annotations

import random
import time

import django

django.setup()

from django_perf.metrics.aggregate import Key, Table, new_aggregate  # noqa: E402 - needs the apps
from django_perf.metrics.batch import Batch, Origin  # noqa: E402
from django_perf.store.models import Delta  # noqa: E402
from django_perf.store.writer import _rows  # noqa: E402

MINUTES = 120
ROUTES = {
    "products": 30,
    "products/<int:pk>": 12,
    "products/search": 180,
    "categories/<slug:slug>/products/<int:pk>/reviews/<uuid:review>/comments": 45,
    "cart": 25,
    "checkout/<str:token>/confirm": 640,
    "(unresolved)": 2,
}
COLUMNS = ", ".join(f'"shop_product"."{name}"' for name in ("id", "name", "price", "stock", "category_id", "created"))
LEVELS = {"rss_bytes": 84_000_000.0, "cpu_percent": 31.5, "threads": 6.0, "saturation": 0.42}
STATEMENTS = (
    f'SELECT {COLUMNS} FROM "shop_product" WHERE "shop_product"."category_id" = ? LIMIT ?',
    'SELECT COUNT(*) AS "__count" FROM "shop_product"',
    'UPDATE "shop_cart" SET "updated" = ? WHERE "shop_cart"."id" = ?',
)


def minute_of_traffic(chance: random.Random) -> Table:
    """Return what one worker measures in a minute."""
    table: Table = {}
    for route, typical_ms in ROUTES.items():
        count, errors = chance.randint(20, 60), chance.random() < 0.3
        times = [int(chance.lognormvariate(0, 0.5) * typical_ms * 1_000) for _ in range(count)]
        status = "4xx" if route == "(unresolved)" else "2xx"
        counters = [errors, 0, sum(times) // 2, count, 0, 4_000 * count, 3 * count, sum(times) * 3 // 4]
        add(table, ("request", route, "GET", status), times, counters)
        for sql in STATEMENTS:
            add(table, ("endpoint_query", route, "GET", "default", sql), [time // 4 for time in times], [errors])
        if errors:
            add(table, ("exception", route, "GET", "ConnectionResetError"), [1], [])
    for name, level in LEVELS.items():
        hundredths = [int(level * chance.uniform(80, 120)) for _ in range(6)]
        add(table, ("process", name, "web-1"), hundredths, [])
    return table


def add(table: Table, key: Key, values: list[int], counters: list[int]) -> None:
    table[key] = new_aggregate(key)
    table[key].add_all(values, counters + [0] * (len(table[key].counters) - len(counters)))


def main() -> None:
    """Write; the minute that runs is left to the site itself."""
    chance, now = random.Random(1), int(time.time()) // 60
    for minute in range(now - MINUTES, now):
        tables = {} if 40 <= now - minute < 45 else {minute: minute_of_traffic(chance)}  # five minutes of silence
        origin = Origin("web-1", 1000, (now - MINUTES) * 60.0)
        Delta.objects.bulk_create(_rows(Batch(origin, (minute + 1) * 60.0, tables, LEVELS, final=minute == now - 1)))


if __name__ == "__main__":
    main()
