"""What does a hit cost, at each level? Ours beside Django's LocMemCache and DatabaseCache and beside django-redis.

One process, real servers. Blocks of operations alternate between the contestants, so that a slow moment of the machine
hits all alike; figures are medians over rounds, ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings

from django_perf.cache.memory import Memory
from tests.services import find_postgres, find_redis

ROUNDS = 41
ROWS = 20_000
TABLE, RIVAL_TABLE = "bench_cache", "bench_django_cache"
SMALL = {"id": 17, "name": "Red bike"}
# 4.5 kB as a pickle, like a page of products.
LARGE = [{"id": number, "name": f"Product {number}", "price": Decimal("9.90")} for number in range(118)]
TEXT = "x" * 20
WAIT_S = 5.0


def configure(postgres: str, redis: str) -> None:
    """Set Django up with all contestants."""
    url = urlsplit(postgres)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.removeprefix("/"),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port,
    }
    ours = {"BACKEND": "django_perf.cache.MultiLevelCache", "TIMEOUT": 3600}
    settings.configure(
        SECRET_KEY="benchmark",
        DATABASES={"default": database},
        CACHES={
            "default": {**ours, "LOCATION": redis, "KEY_PREFIX": "bench"},
            "memory": {**ours, "KEY_PREFIX": "bench-memory"},
            "redis": {**ours, "LOCATION": redis, "KEY_PREFIX": "bench-redis", "OPTIONS": {"L1": False}},
            "table": {**ours, "KEY_PREFIX": "bench-table", "OPTIONS": {"L1": False, "L3": {"table": TABLE}}},
            "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "django-redis": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": redis,
                "KEY_PREFIX": "bench-rival",
            },
            "database": {
                "BACKEND": "django.core.cache.backends.db.DatabaseCache",
                "LOCATION": RIVAL_TABLE,
                "TIMEOUT": 3600,
                "OPTIONS": {"MAX_ENTRIES": 10 * ROWS},
            },
        },
    )
    django.setup()


def compare(title: str, target: str, block: int, rounds: int, **contestants: Callable[[], object]) -> None:
    """Time blocks of calls in turn, and print each one's median and its ratio to the last one's."""
    for call in contestants.values():
        for _ in range(block):
            call()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        # Who goes first changes: the first after a pause is the slower one.
        names = list(contestants)[:: 1 if number % 2 else -1]
        for name in names:
            times[name].append(_seconds(contestants[name], block) / block)
    *_, rival = contestants
    for name, own in times.items():
        ratio = statistics.median(one / other for one, other in zip(own, times[rival], strict=True))
        wanted = f"  (target {target})" if name != rival and target else ""
        print(f"  {title:34} {name:14} {statistics.median(own) * 1e6:10.2f} us  {ratio:8.3f}{wanted}", flush=True)
        target = "" if name != rival else target


def _seconds(call: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - began


def memory(rounds: int) -> None:
    """A hit in memory: with tracking (nobody writes), without, and beside the rivals."""
    from django.core.cache import caches

    for name, value, target in (
        ("str", TEXT, "0.4"),
        ("dict of two", SMALL, "0.5"),
        ("4.5 kB", LARGE, "1.0"),
    ):
        contestants = {"ours": "default", "ours, L1 only": "memory", "LocMemCache": "locmem"}
        for alias in contestants.values():
            caches[alias].set("key", value)
        _until_in_memory("key")
        calls = {label: _getter(caches[alias], "key") for label, alias in contestants.items()}
        compare(f"hit in memory, {name}", target, 2_000 if value is not LARGE else 200, rounds, **calls)
    for alias in ("default", "django-redis"):
        caches[alias].set("key", TEXT)
    _until_in_memory("key")
    calls = {"ours": _getter(caches["default"], "key"), "django-redis": _getter(caches["django-redis"], "key")}
    compare("hit in memory, str", "0.04", 200, rounds, **calls)


def _getter(cache: object, key: str) -> Callable[[], object]:
    return lambda: cache.get(key)  # type: ignore[attr-defined]


def _until_in_memory(key: str) -> None:
    """Wait until memory is trusted and has the key."""
    from django.core.cache import caches

    levels, deadline = caches["default"].levels, time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        caches["default"].get(key)
        entry = levels.read(caches["default"].physical(key))
        if entry is not None and entry.level == "l1":
            return
        time.sleep(0.05)
    raise RuntimeError("memory is not trusted")


def size(rounds: int) -> None:
    """A get from a large memory costs what it costs from a small one."""
    stores = {}
    for count in (100_000, 1_000):
        store = stores[f"{count} entries"] = Memory(max_entries=count, max_bytes=2**30)
        for number in range(count):
            store.put(f"key:{number}", TEXT, None)
    keys = [f"key:{number * 7919 % 1_000}" for number in range(500)]
    now = time.monotonic()
    calls = {name: _reader(store, keys, now) for name, store in stores.items()}
    compare("500 gets of 500 keys", "1.5", 20, rounds, **calls)


def _reader(store: Memory, keys: list[str], now: float) -> Callable[[], object]:
    return lambda: [store.get(key, now) for key in keys]


def shared(rounds: int) -> None:
    """The way to Redis: a hit that memory has not, and a write."""
    from django.core.cache import caches

    ours, bare, rival = caches["default"], caches["redis"], caches["django-redis"]
    for cache in (ours, bare, rival):
        cache.set("key", TEXT)
    _until_in_memory("key")
    physical, levels = ours.physical("key"), ours.levels

    def miss_memory() -> object:
        levels.memory.evict(physical)
        return ours.get("key")

    hits = {"ours": miss_memory, "ours, no L1": _getter(bare, "key"), "django-redis": _getter(rival, "key")}
    compare("hit in Redis, str", "1.35", 100, rounds, **hits)
    sets = {
        "ours": lambda: ours.set("key", TEXT),
        "ours, no L1": lambda: bare.set("key", TEXT),
        "django-redis": lambda: rival.set("key", TEXT),
    }
    compare("set, str", "1.15", 100, rounds, **sets)


def table(rounds: int) -> None:
    """The table beside Django's, both with 20,000 rows."""
    from django.core.cache import caches
    from django.core.management import call_command
    from django.db import connection

    ours, rival = caches["table"], caches["database"]
    level = ours.levels.shared.table.level
    level.create_table()
    call_command("createcachetable", verbosity=0)
    try:
        for start in range(0, ROWS, 500):
            ours.set_many({f"row:{number}": "x" * 500 for number in range(start, start + 500)})
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {RIVAL_TABLE} SELECT ':1:row:' || n, repeat('x', 680), now() + interval '1 hour' "
                f"FROM generate_series(1, {ROWS}) n ON CONFLICT DO NOTHING"
            )
        value, many = "x" * 500, {f"row:{number * 991}": "x" * 500 for number in range(20)}
        compare(
            "set, 20,000 rows",
            "0.1",
            20,
            rounds,
            ours=lambda: ours.set("row:7", value),
            DatabaseCache=lambda: rival.set("row:7", value),
        )
        compare(
            "set_many(20), 20,000 rows",
            "0.02",
            2,
            rounds,
            ours=lambda: ours.set_many(many),
            DatabaseCache=lambda: rival.set_many(many),
        )
        compare("hit, 20,000 rows", "", 20, rounds, ours=_getter(ours, "row:7"), DatabaseCache=_getter(rival, "row:7"))
    finally:
        level.close()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {TABLE}, {RIVAL_TABLE}")


def decorated(rounds: int) -> None:
    """A warm call of a cached function, with two tags."""
    from django.core.cache import caches

    from django_perf import cache_result

    @cache_result(ttl=300, key="product:{product_id}", tags=["products", "product:{product_id}"])
    def product(product_id: int) -> dict[str, object]:
        return SMALL

    product(17)
    _until_in_memory("product:17")
    cache = caches["django-redis"]
    cache.set("product:17", SMALL)
    compare(
        "cached function, two tags",
        "",
        200,
        rounds,
        ours=lambda: product(17),
        **{"django-redis": _getter(cache, "product:17")},
    )


PARTS = {"memory": memory, "size": size, "shared": shared, "table": table, "decorated": decorated}


def main() -> None:
    """Run the parts that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    postgres, redis = find_postgres(), find_redis()
    configure(postgres.url, redis.url)
    print(", ".join(f"{name} {version(name)}" for name in ("Django", "django-redis", "redis")))
    print(f"{postgres.origin}; {redis.origin}; medians of {options.rounds} rounds, ratio to the last of each group")
    for name in options.parts or PARTS:
        print(f"\n{name}")
        PARTS[name](options.rounds)


if __name__ == "__main__":
    main()
