"""What the recorder gets to know of the pools."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_perf.metrics.catalog import POOL, POOL_HOLD
from django_perf.metrics.recorder import recorder
from django_perf.pool import ConnectionPool, observer, tally
from tests.pool.fakes import FakeDriver, Server
from tests.pool.test_engine import in_threads, rows


@pytest.fixture
def counted():
    """Return a function that flushes: the aggregates of the alias, and the levels."""
    list(observer.read())  # what earlier tests left behind
    recorder.enabled = True
    recorder.drain()

    def flush():
        levels = recorder.levels("host")
        tables = recorder.drain()
        series = {key: aggregate for table in tables.values() for key, aggregate in table.items()}
        return series.get((POOL.name, "pooled")), series.get((POOL_HOLD.name, "pooled")), levels

    return flush


def test_each_checkout_is_one_wait_and_one_hold(pooled, counted):
    wrapper = pooled({"max_size": 3})
    for _ in range(5):
        rows(wrapper, "SELECT 1")
        wrapper.close()
    wait, hold, levels = counted()
    assert (wait.histogram.count, hold.histogram.count) == (5, 5)
    assert wait.counters[POOL.counters.index("opened")] == 1
    assert levels["pool.pooled.max_size"] == 3
    assert levels["pool.pooled.size"] == levels["pool.pooled.idle"] == 1
    assert levels["pool.pooled.breaker"] == 0
    assert levels["pool.pooled.server_max"] > 0


def test_the_wait_of_those_who_did_not_wait_is_zero(pooled, counted):
    wrapper = pooled()
    for _ in range(99):
        rows(wrapper, "SELECT 1")
        wrapper.close()
    wait, _, _ = counted()
    assert wait.histogram.quantile(0.5) == 0.0
    assert wait.histogram.max > 0


def test_refusals_and_lost_connections_are_counted(pooled, counted):
    wrapper = pooled({"max_size": 1, "timeout": 0.05})
    rows(wrapper, "SELECT 1")
    in_threads(1, lambda: rows(wrapper.copy(), "SELECT 1"))
    wrapper.close()
    wait, _, _ = counted()
    assert wait.counters[POOL.counters.index("timeouts")] == 1


def test_what_is_more_than_kept_is_counted_as_lost(monkeypatch):
    monkeypatch.setattr(tally, "_KEPT", 5)
    pool = ConnectionPool(Server().connect, driver=FakeDriver())
    for _ in range(12):
        pool.putconn(pool.getconn())
    taken = pool.take()
    assert (len(taken.holds), taken.lost) == (5, 7)
    pool.putconn(pool.getconn())
    taken = pool.take()
    assert (len(taken.holds), taken.lost) == (1, 0)
    pool.close()


def test_every_count_has_a_place_in_the_catalog():
    source = "".join(path.read_text() for path in Path(observer.__file__).parent.glob("*.py"))
    reasons = set(re.findall(r'discard\([^,()]+, "(\w+)"\)', source)) | {
        "lifetime",
        "uses",
        "surplus",
        "broken",
        "idle",
    }
    assert {"dead", "owner_died", "evicted", "closed"} <= reasons
    assert {f"closed_{reason}" for reason in reasons} <= set(POOL.counters)
    added = set(re.findall(r'(?:tally\.add|count)\("(\w+)"\)', source)) - {"queued"}
    assert {"opened", "failed", "timeouts", "refused", "leaks"} <= added <= set(POOL.counters)
