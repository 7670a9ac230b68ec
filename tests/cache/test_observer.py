"""What the recorder gets to know of the caches."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.cache import caches

from django_perf.cache import assembly, observer, tally
from django_perf.metrics.catalog import CACHE, CACHE_EVENT, CACHE_KEY, OTHER
from django_perf.metrics.recorder import recorder
from django_perf.metrics.trace import PAUSED, Trace, current
from tests.waiting import wait_until

ALIAS = "observed"
MEMORY_ALONE = {"LOCATION": ""}
FEW_ENTRIES = {"OPTIONS": {"L1": {"max_entries": 5}}}


@pytest.fixture
def cached(settings, monkeypatch):
    """Return a function that makes the only cache of this process, on the Redis of the tests unless told otherwise."""
    monkeypatch.setattr(assembly, "_built", {})
    location = settings.CACHES["default"]["LOCATION"]

    def make(**changes):
        given = {"BACKEND": "django_perf.cache.MultiLevelCache", "LOCATION": location, "KEY_PREFIX": uuid4().hex}
        settings.CACHES = {**settings.CACHES, ALIAS: {**given, **changes}}
        cache = caches[ALIAS]
        if cache.levels.backplane is not None:
            cache.get("nothing")
            wait_until(lambda: cache.levels.backplane.is_linked)
            cache.levels.tally.take()
        return cache

    yield make
    for levels in assembly.all_levels():
        if levels.backplane is not None:
            levels.backplane.stop()


@pytest.fixture
def flush():
    """Return a function that hands over the series of the alias as {labels without alias: aggregate}."""
    recorder.enabled = True

    def drain(kind):
        tables = recorder.drain().values()
        return {key[2:]: one for table in tables for key, one in table.items() if key[:2] == (kind.name, ALIAS)}

    return drain


def levels_now():
    """Return the gauges of the alias."""
    found, prefix = recorder.levels("host"), f"cache.{ALIAS}."
    return {name.removeprefix(prefix): level for name, level in found.items() if name.startswith(prefix)}


def counters(kind, aggregate):
    """Return the counters that are not zero."""
    return {name: count for name, count in zip(kind.counters, aggregate.counters, strict=True) if count}


def test_every_call_is_counted_by_how_it_ended_with_its_keys(cached, flush):
    cache = cached(OPTIONS={"L1": False})
    cache.set_many({"product:1": 1, "product:2": 2})
    cache.get_many(["product:1", "product:2", "product:3"])
    cache.delete("product:2")
    found = flush(CACHE)
    assert {labels[0]: (one.histogram.count, one.counters) for labels, one in found.items()} == {
        "set": (1, [2]),
        "l2": (0, [2]),
        "miss": (1, [1]),
        "delete": (1, [1]),
    }
    assert flush(CACHE) == {}


def test_a_hit_of_memory_is_less_than_a_microsecond_and_not_lost(cached, flush):
    cache = cached(**MEMORY_ALONE)
    cache.set("a", 1)
    for _ in range(1_000):
        cache.get("a")
    found = flush(CACHE)["l1",]
    assert (found.histogram.count, found.counters) == (1_000, [1_000])
    assert 50 < found.histogram.quantile(0.05) < 100_000


def test_keys_are_counted_by_pattern_and_never_named(cached, flush):
    cache = cached()
    for number in range(3):
        cache.get(f"product:{number}")
    cache.set("basket:ann@example.org", 1)
    cache.delete("basket:ann@example.org")
    found = flush(CACHE_KEY)
    assert {labels[0]: counters(CACHE_KEY, one) for labels, one in found.items()} == {
        "product:*": {"miss": 3},
        "basket:*": {"set": 1, "delete": 1},
    }


def test_a_value_that_several_threads_compute_at_once_is_counted_and_no_other(cached, flush):
    cache = cached()
    waiting = threading.Barrier(4)

    def compute():
        cache.get("product:7")
        waiting.wait(10)
        cache.set("product:7", 1)

    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.set("product:7", 2)  # a write that nobody read for
    cache.get("product:8")
    cache.set("product:8", 1)
    (found,) = flush(CACHE_KEY).values()
    assert counters(CACHE_KEY, found) == {"miss": 5, "set": 6, "again": 3}


def test_races_are_known_for_the_latest_keys_only(monkeypatch):
    monkeypatch.setattr(tally, "_MAX_RACES", 3)
    races = tally.Races()
    for number in range(20):
        races.miss(1, f"{number}")
        races.miss(2, f"{number}")
        assert [races.store(1, f"{number}"), races.store(1, f"{number}")] == [False, False]
    assert max(len(races._missed), len(races._stored)) <= 3


def test_what_came_back_soon_after_memory_had_no_room_for_it_is_counted(cached, flush):
    cache = cached(**MEMORY_ALONE, **FEW_ENTRIES)
    for number in (*range(6), 0):
        cache.set(f"product:{number}", "x")
    (found,) = flush(CACHE_EVENT).values()
    assert counters(CACHE_EVENT, found)["ghost_hits"] == 1


def test_more_patterns_than_are_kept_become_other_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(tally, "_MAX_PATTERNS", 2)
    counting = tally.Tally("x")
    for number, letter in enumerate("abcd"):
        counting.operation("miss", [f"{letter}:1"], number)
    assert {pattern: reads.miss for pattern, reads in counting.take().patterns.items()} == {
        "a:*": 1,
        "b:*": 1,
        OTHER: 2,
    }


def test_what_memory_did_and_what_else_happened_is_one_series(cached, flush):
    cache = cached(**MEMORY_ALONE, **FEW_ENTRIES)
    for number in range(12):
        cache.set(f"product:{number}", "x")
    cache.levels.tally.count("stale_served", 3)
    (found,) = flush(CACHE_EVENT).values()
    counted = counters(CACHE_EVENT, found)
    assert counted.pop("evicted_bytes") > 7 * 100
    assert counted == {"evicted_entries": 7, "stale_served": 3}
    assert flush(CACHE_EVENT) == {}


def test_a_cache_tells_what_it_holds_and_how_it_is(cached):
    levels = cached(**FEW_ENTRIES).levels
    levels.memory.put("a", "x", None)
    found = levels_now()
    assert found.pop("entries") == len(levels.memory) > 0
    assert found.pop("bytes") == levels.memory.bytes
    assert found == {
        "max_entries": 5,
        "max_bytes": 32 * 2**20,
        "redis": 0,
        "coherence": 3,
        "linked": 1,
        "fallen_back": 0,
        "dirty": 0,
    }


def test_a_cache_without_shared_levels_tells_only_of_its_memory(cached):
    cached(**MEMORY_ALONE)
    assert observer.figures(caches[ALIAS].levels).keys() == {
        "coherence",
        "entries",
        "bytes",
        "max_entries",
        "max_bytes",
    }


def test_an_open_breaker_and_what_is_dirty_are_seen(cached):
    shared = cached().levels.shared
    shared.redis.breaker.trip()
    shared.repairs.redis.add(["a", "b"])
    assert (levels_now()["redis"], levels_now()["dirty"]) == (2, 2)
    shared.repairs.redis.is_everything = True
    assert levels_now()["dirty"] == 10_000


@pytest.mark.parametrize(("mode", "coherence", "linked"), [("pubsub", 2, 1), ("ttl", 1, 0)])
def test_a_coherence_that_the_server_refused_is_seen(cached, mode, coherence, linked):
    cached().levels.backplane.mode = mode
    found = levels_now()
    assert (found["coherence"], found["linked"], found["fallen_back"]) == (coherence, linked, 1)


def test_a_coherence_that_was_asked_for_is_no_fall(cached):
    cached(OPTIONS={"coherence": "pubsub"})
    found = levels_now()
    assert (found["coherence"], found["fallen_back"]) == (2, 0)


def test_a_child_reads_its_levels_and_counts_from_zero(cached, flush):
    cache = cached()
    cache.set("a", 1)
    cache.levels.forget_parent()
    found = levels_now()
    assert (found["linked"], found["redis"], found["coherence"]) == (0, 0, 3)
    assert flush(CACHE) == {}


def test_gauges_keep_no_cache_alive(cached):
    reference = weakref.ref(cached(**MEMORY_ALONE).levels)
    assembly._built.clear()
    del caches[ALIAS]
    gc.collect()
    assert reference() is None
    assert levels_now()["entries"] == 0


def test_a_request_knows_what_its_caches_did_but_not_what_was_paused(cached):
    cache = cached()
    cache.set("a", 1)
    trace = Trace(0)
    token = current.set(trace)
    try:
        cache.get_many(["a", "b"])
        with recorder.paused():
            assert current.get() is PAUSED
            cache.get_many(["a", "b"])
    finally:
        current.reset(token)
    assert (trace.cache_hits, trace.cache_misses) == (1, 1)
    assert 0 < trace.cache_ns < 1e9


def test_every_count_has_a_place_in_the_catalog():
    folder = Path(observer.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    counted = set(re.findall(r'\.count\(\s*"(\w+)"', source)) | set(re.findall(r'counts\["(\w+)"\]', source))
    counted |= set(re.findall(r'"(\w+)" if .* else "(\w+)"\)', source).pop())
    counted |= {f"{level}_{what}" for level in ("redis", "table") for what in ("failed", "skipped")}
    assert {"foreign", "stale_served", "early_left_to_another", "evicted_entries", "refused"} <= counted
    assert counted == set(CACHE_EVENT.counters)
    assert tuple(tally.Reads.__slots__) == CACHE_KEY.counters
