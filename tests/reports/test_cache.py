"""The fleet of caches, the patterns of keys, and each process."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import CACHE, CACHE_EVENT, CACHE_KEY
from tests.store.data import MIDNIGHT

from .data import series, store, table_of

pytestmark = pytest.mark.django_db
NOW = MIDNIGHT * 60.0 + 200


def levels(alias="default", **values):
    """Return levels as a process reports them."""
    return {f"cache.{alias}.{name}": float(value) for name, value in values.items()}


def calls(operation, count, us, alias="default", keys=None):
    """Return calls that took so many microseconds each, of one key unless told otherwise."""
    return series(CACHE, (alias, operation), [round(us * 1_000)] * count, keys=count if keys is None else keys)


@pytest.fixture
def _fleet():
    one = {"entries": 900, "bytes": 5_000_000, "max_entries": 1_000, "max_bytes": 32_000_000}
    events = {"evicted_entries": 9, "invalidations": 4, "fills_refused": 3, "stale_served": 2, "fail_safe_served": 1}
    troubles = {"redis_failed": 5, "table_failed": 1, "redis_skipped": 7, "stampede_avoided": 6}
    store(
        calls("l1", 600, 0.4) | calls("l2", 10, 310, keys=200) | calls("l3", 100, 2_000) | calls("miss", 100, 400),
        calls("set", 80, 500) | calls("delete", 20, 500),
        series(CACHE_EVENT, ("default",), [], **events, **troubles),
        pid=1,
        taken=NOW,
        levels=levels(**one, redis=0, table=1, coherence=3, linked=1, dirty=0),
    )
    store(pid=2, taken=NOW, levels=levels(**one, redis=2, table=0, coherence=2, linked=0, dirty=12))
    store(pid=3, taken=NOW, final=True, levels=levels(**one, redis=2, table=2, coherence=1))


@pytest.mark.usefixtures("_fleet")
def test_the_fleet_is_what_was_counted_and_what_the_processes_hold_that_run():
    (row,) = table_of("cache").rows
    latencies = {name: row.pop(name) for name in list(row) if name.endswith("_us")}
    assert "Level redis does not answer 1 of 2 processes" in row.pop("advice")
    assert row == {
        "alias": "default",
        "processes": 2,
        "reads": 1_000,
        "hit_ratio": 0.9,
        "l1_ratio": 0.6,
        "l2_ratio": 0.2,
        "l3_ratio": 0.1,
        "sets": 80,
        "deletes": 20,
        "entries": 1_800,
        "bytes": 10_000_000,
        "evicted": 9,
        "invalidations": 4,
        "fills_refused": 3,
        "stale_served": 3,
        "stampedes_avoided": 6,
        "failed": 6,
        "skipped": 7,
        "redis": "away",
        "table": "failing",
        "coherence": "pubsub",
    }
    assert list(latencies.values()) == pytest.approx([0.4, 0.4, 310, 310, 2_000, 2_000], rel=0.02)


@pytest.mark.usefixtures("_fleet")
def test_each_process_has_a_row():
    rows = table_of("cache_processes", sort="pid").rows
    assert [(row["pid"], row["redis"], row["coherence"], row["linked"], row["dirty"]) for row in rows] == [
        (2, "away", "pubsub", "no", 12),
        (1, "up", "tracking", "yes", 0),
    ]


def test_a_level_that_a_cache_has_not_is_unknown_and_not_well():
    store(calls("l1", 1, 0.4), pid=1, taken=NOW, levels=levels(entries=1, coherence=0))
    (row,) = table_of("cache").rows
    assert (row["redis"], row["table"], row["coherence"], row["l2_p95_us"]) == (None, None, "off", None)
    (row,) = table_of("cache_processes").rows
    assert (row["redis"], row["linked"], row["dirty"], row["max_entries"]) == (None, None, None, None)


def test_an_alias_may_have_a_dot_and_need_not_run():
    store(pid=1, taken=NOW, levels=levels("my.alias", entries=4, coherence=1))
    store(calls("miss", 1, 400, alias="gone"))
    rows = table_of("cache", sort="alias").rows
    assert [(row["alias"], row["entries"], row["coherence"], row["hit_ratio"]) for row in rows] == [
        ("gone", 0, None, 0),
        ("my.alias", 4, "ttl", None),
    ]


def test_the_patterns_that_are_read_most_come_first():
    store(
        series(CACHE_KEY, ("default", "rare:*"), [], l3=1, delete=3),
        series(CACHE_KEY, ("default", "basket:*"), [], l1=50, l2=50, miss=1_900, set=500),
        series(CACHE_KEY, ("default", "written"), [], set=9),
    )
    rows = table_of("cache_keys").rows
    assert [(row["pattern"], row["reads"], row["hit_ratio"], row["sets"], row["deletes"]) for row in rows] == [
        ("basket:*", 2_000, 0.05, 500, 0),
        ("rare:*", 1, 1, 0, 3),
        ("written", 0, None, 9, 0),
    ]
    assert [bool(row["advice"]) for row in rows] == [True, False, False]
    assert (rows[0]["l1"], rows[0]["l2"], rows[0]["l3"], rows[0]["misses"]) == (50, 50, 0, 1_900)


def test_the_totals_are_those_of_all_caches():
    store(
        calls("l1", 3, 0.4) | calls("set", 2, 500) | calls("miss", 4, 500, alias="other"),
        series(CACHE_EVENT, ("other",), [], table_failed=5),
        pid=1,
        taken=NOW,
        levels=levels(entries=7, bytes=100) | levels("other", entries=1, bytes=10),
    )
    assert table_of("cache").totals == {
        "reads": 7,
        "sets": 2,
        "deletes": 0,
        "entries": 8,
        "bytes": 110,
        "failed": 5,
        "skipped": 0,
    }
