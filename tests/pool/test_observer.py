"""What the recorder gets to know of the pools."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import POOL, POOL_HOLD
from django_perf.metrics.recorder import recorder
from django_perf.pool import observer
from tests.pool.test_engine import in_threads, rows


@pytest.fixture
def counted():
    """Return a function that flushes: the aggregates of the alias, and the levels."""
    observer.read_all = list(observer.read())  # what earlier tests left behind
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


def test_every_count_has_a_place_in_the_catalog(pooled, counted):
    source = (__import__("pathlib").Path(observer.__file__).parent / "pool.py").read_text()
    import re

    reasons = set(re.findall(r'_discard\([^,]+, "(\w+)"\)', source)) | {"lifetime", "uses", "surplus", "broken", "idle"}
    assert {f"closed_{reason}" for reason in reasons} <= set(POOL.counters)
    added = set(re.findall(r'tally\.add\("(\w+)"', source)) - {"queued", "closed_cut"}
    assert added <= set(POOL.counters)
