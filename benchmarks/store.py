"""What does the store cost? One flush, the overview page, and the room for 400 days.

Series are generated: 500 that are active in every minute with 60 values each, lognormal with a median and a spread of
their own. Every row of every tier is really inserted; the histograms in them repeat after some hundred, which changes
neither their size nor what it takes to read them.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.admin import site  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402

from django_perf.dashboard import views  # noqa: E402
from django_perf.dashboard.pages import BY_NAME  # noqa: E402
from django_perf.metrics.aggregate import Aggregate, Key  # noqa: E402
from django_perf.metrics.batch import Batch, Origin  # noqa: E402
from django_perf.metrics.catalog import ENDPOINT_QUERY, QUERY, REQUEST, SITE, Kind  # noqa: E402
from django_perf.metrics.recorder import Recorder  # noqa: E402
from django_perf.reports.answer import answer  # noqa: E402
from django_perf.reports.window import last  # noqa: E402
from django_perf.store import alias as store  # noqa: E402
from django_perf.store.copying import fetch  # noqa: E402
from django_perf.store.models import Delta, Lease, Rollup, Series  # noqa: E402
from django_perf.store.rows import pack_row, shard_of  # noqa: E402
from django_perf.store.series import hash_of  # noqa: E402
from django_perf.store.tiers import DAY, HOUR, TIERS, floor  # noqa: E402
from django_perf.store.writer import write  # noqa: E402

SERIES, QUERIES, PER_MINUTE, VARIANTS = 500, 2_000, 60, 4
# What four workers have sent in the two minutes before they are merged.
WAITING = 48
FLUSH_TARGET_MS, PAGE_TARGET_MS, SIZE_TARGET_MB = 1.0, 150.0, 400
ENDPOINT_TARGET_MS, STATS_TARGET_MS = 50.0, 500.0


def sample(source: random.Random, series: int, count: int) -> list[int]:
    """Return `count` durations in microseconds of one series."""
    median = 2_000 * 1.01**series
    return [int(source.lognormvariate(math.log(median), 0.3 + series % 7 / 10)) for _ in range(count)]


def aggregate(source: random.Random, kind: Kind, series: int, count: int) -> Aggregate:
    """Return one bucket of one series."""
    made = Aggregate(len(kind.counters))
    made.add_all(sample(source, series, min(count, 20_000)))
    scale = max(1, count // 20_000)
    made.histogram.counts = {index: number * scale for index, number in made.histogram.counts.items()}
    made.histogram.count, made.histogram.sum = made.histogram.count * scale, made.histogram.sum * scale
    # errors, aborted, cpu_us, cpu_count, bytes_in, bytes_out, queries, db_us, cache_hits, cache_misses, cache_us
    made.counters = [
        count // 100,
        0,
        made.histogram.sum // 2,
        count,
        0,
        count * 9_000,
        count * 4,
        made.histogram.sum // 3,
        count * 3,
        count // 2,
        made.histogram.sum // 9,
    ][: len(kind.counters)]
    return made


def keys() -> list[Key]:
    """Return the keys of 500 series: 125 routes with two methods and two status classes."""
    return [
        (REQUEST.name, f"shop/area-{route}/<int:pk>", method, status)
        for route in range(SERIES // 4)
        for method in ("GET", "POST")
        for status in ("2xx", "4xx")
    ]


# --- one flush ----------------------------------------------------------------------------------------------------


def batches(source: random.Random, count: int) -> Iterator[Callable[[], Batch]]:
    """Yield functions that drain a recorder with 200 series in it: 40 endpoints, 4 statements each."""
    recorder = Recorder()
    recorder.enabled = True
    for _ in range(count):
        for route in range(40):
            name = f"shop/area-{route}/<int:pk>"
            recorder._commit(
                [((REQUEST.name, name, "GET", "2xx"), sample(source, route, 10), (0, 0, 9, 1, 0, 5, 4, 9), None)]
            )
            for query in range(4):
                sql = f'SELECT "t{route}"."id", "t{route}"."name" FROM "t{route}" WHERE "t{route}"."c{query}" = ?'
                key = (ENDPOINT_QUERY.name, name, "GET", "default", sql)
                recorder._commit([(key, sample(source, query * 100, 10), (0,), None)])
        yield lambda: Batch(Origin("host", 1, 1.0), time.time(), recorder.drain(), {"rss_bytes": 1.0})


def flush() -> None:
    """Time draining, packing and inserting, on a SQLite file of the store's own and on PostgreSQL."""
    for alias in ("own", "default"):
        with override_settings(DJANGO_PERF={"DATABASE": alias}):
            milliseconds = []
            for make in batches(random.Random(1), 200):
                started = time.perf_counter()
                write(make())
                milliseconds.append((time.perf_counter() - started) * 1e3)
        target = f"   target <= {FLUSH_TARGET_MS} ms" if alias == "own" else ""
        median, p95 = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1]
        print(f"flush of 200 series, {vendor(alias):10}: median {median:.2f} ms, p95 {p95:.2f} ms{target}")


# --- a full store -------------------------------------------------------------------------------------------------


def fill(alias: str, now: int) -> None:
    """Insert every rollup row that 500 always-active series leave at full retention."""
    source = random.Random(2)
    Delta.objects.using(alias).all().delete()
    Series.objects.using(alias).bulk_create(
        [
            Series(key_hash=hash_of(key), kind=key[0], labels=labels_of(key), last_seen=now)
            for key in [*keys(), (SITE.name,)]
        ]
    )
    ids = dict(Series.objects.using(alias).values_list("key_hash", "id"))
    rolled = {}
    for tier in TIERS:
        end = floor(now, tier.size)
        rolled[str(tier.number)] = end
        for kind, own in ((REQUEST, keys()), (SITE, [(SITE.name,)])):
            insert(alias, tier.number, kind, [ids[hash_of(key)] for key in own], source, end)
    Lease.objects.using(alias).create(name="compactor", rolled=rolled, generation=1, expires=time.time() + 3_600)


def fill_queries(alias: str, now: int) -> None:
    """Insert what 2,000 statements leave in a day, as far as a page of 24 hours reads it."""
    names = [(QUERY.name, "default", f'SELECT "t{number}"."id" FROM "t{number}"') for number in range(QUERIES)]
    Series.objects.using(alias).bulk_create(
        [Series(key_hash=hash_of(key), kind=key[0], labels=labels_of(key), last_seen=now) for key in names],
        batch_size=500,
    )
    ids = list(Series.objects.using(alias).filter(kind=QUERY.name).values_list("id", flat=True))
    for tier, keep in ((0, HOUR), (1, DAY), (2, DAY)):
        insert(alias, tier, QUERY, ids, random.Random(4), floor(now, TIERS[tier].size), keep)


def insert(
    alias: str, tier: int, kind: Kind, ids: list[int], source: random.Random, end: int, kept: int | None = None
) -> None:
    """Insert one kind of one tier, from VARIANTS different rows per shard."""
    size, keep = TIERS[tier].size, TIERS[tier].keep if kept is None else kept
    count = PER_MINUTE * size * (SERIES if kind is SITE else 1)
    shards: dict[int, list[int]] = {}
    for id_ in ids:
        shards.setdefault(shard_of(id_), []).append(id_)
    packed = {
        shard: [pack_row({id_: aggregate(source, kind, id_ % SERIES, count) for id_ in own}) for _ in range(VARIANTS)]
        for shard, own in shards.items()
    }
    rows = (
        (tier, kind.number, bucket, shard, connections[alias].Database.Binary(variants[bucket // size % VARIANTS]))
        for bucket in range(end - keep // size * size, end, size)
        for shard, variants in packed.items()
    )
    table = Rollup._meta.db_table
    with connections[alias].cursor() as cursor:
        sql = f"INSERT INTO {table} (tier, kind, bucket, shard, data) VALUES "
        if connections[alias].vendor == "postgresql":
            from psycopg2.extras import execute_values

            execute_values(cursor.cursor, f"{sql} %s", rows, page_size=1_000)
        else:
            cursor.cursor.connection.executemany(f"{sql} (?, ?, ?, ?, ?)", rows)


def labels_of(key: Key) -> str:
    """Return the labels as the store writes them."""
    import json

    return json.dumps(key[1:])


def pages(alias: str) -> None:
    """Time pages of the last 24 hours, rendered, just after a compaction and with what waits for the next."""
    time_pages(alias, "all merged")
    with override_settings(DJANGO_PERF={"DATABASE": alias}):
        for make in batches(random.Random(3), WAITING):
            write(make())
    time_pages(alias, f"{WAITING} deltas of 200 other series waiting")


def time_pages(alias: str, state: str) -> None:
    """Print the medians of the first page, of one endpoint's, and of what `perfstats requests` reads."""
    about = {"route": "shop/area-7/<int:pk>", "method": "GET"}
    with override_settings(DJANGO_PERF={"DATABASE": alias}, ROOT_URLCONF="example_project.urls"):
        figures = {
            "overview": (median_ms(lambda: rendered("overview", {}, b"15 of")), PAGE_TARGET_MS),
            "endpoint": (median_ms(lambda: rendered("endpoint", about, b"area-7")), ENDPOINT_TARGET_MS),
            "perfstats requests": (median_ms(lambda: answer(["requests"], last("24h"))), STATS_TARGET_MS),
        }
    for what, (median, target) in figures.items():
        where = f"{what}, 500 endpoints, 2,000 queries, 24 h, {vendor(alias)}, {state}"
        print(f"{where}: median {median:.0f} ms   target <= {target:.0f} ms")


def fetching(alias: str) -> None:
    """Time reading a day of the statements' rollups with COPY, and with a query of Django."""
    start = floor(int(time.time()) // 60, HOUR) - DAY
    rows = Rollup.objects.using(alias).filter(tier=2, kind=QUERY.number, bucket__gte=start)
    size = sum(len(data) for _, data in fetch(rows)) / 1e6
    ways = {
        "COPY": lambda: list(fetch(rows)),
        "a query": lambda: [(bucket, bytes(data)) for bucket, data in rows.values_list("bucket", "data")],
    }
    medians = ", ".join(f"{way} {median_ms(read):.0f} ms" for way, read in ways.items())
    print(f"reading {size:.1f} MB of rollups, {vendor(alias)}: {medians}")


def median_ms(work: Callable[[], object]) -> float:
    """Return the median milliseconds of 15 times."""
    milliseconds = []
    for _ in range(15):
        started = time.perf_counter()
        work()
        milliseconds.append((time.perf_counter() - started) * 1e3)
    return statistics.median(milliseconds)


def rendered(name: str, about: dict[str, str], expected: bytes) -> None:
    """Render a page as for someone who may see it, and make sure that it shows what it should."""
    request = RequestFactory().get("/admin/django_perf/performance/", {"since": "24h", **about})
    request.user = get_user_model()(username="admin", is_staff=True, is_superuser=True)
    response = views.show(request, site, BY_NAME[name]).render()
    assert expected in b" ".join(response.content.split()), f"the page {name} does not show what it should"


def size(alias: str) -> None:
    """Print the room that the rollups take, indexes included."""
    count = Rollup.objects.using(alias).count()
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            cursor.execute("SELECT pg_total_relation_size('django_perf_rollup')")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        room = cursor.fetchone()[0]
    print(f"full store, {vendor(alias):10}: {count:,} rows, {room / 1e6:.0f} MB   target <= {SIZE_TARGET_MB} MB")


# --- databases ----------------------------------------------------------------------------------------------------


def vendor(alias: str) -> str:
    """Return the name of the database behind an alias."""
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[connections[alias].vendor]


def make_databases(folder: Path) -> None:
    """Make a test database on PostgreSQL, and a SQLite file as the store makes its own."""
    connections["default"].creation.create_test_db(verbosity=0, autoclobber=True)
    options = store._own_file({"NAME": folder / "db.sqlite3"})
    connections.settings["own"] = connections.configure_settings({"own": options, "default": {}})["own"]
    from django.core.management import call_command

    with override_settings(DJANGO_PERF={"DATABASE": "own"}):
        call_command("migrate", "django_perf", database="own", verbosity=0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--vendor", choices=("own", "default"), help="own: SQLite, default: PostgreSQL; both without it"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_databases(Path(folder))
        flush()
        for alias in (options.vendor,) if options.vendor else ("own", "default"):
            fill(alias, int(time.time()) // 60)
            with connections[alias].cursor() as cursor:
                cursor.execute("ANALYZE")
            size(alias)
            fill_queries(alias, int(time.time()) // 60)
            if vendor(alias) == "PostgreSQL":
                fetching(alias)
            pages(alias)
        connections["default"].creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)


if __name__ == "__main__":
    main()
