"""The fleet of pools, and each process."""

from __future__ import annotations

import pytest

from django_perf.checks import check_fleet
from django_perf.metrics.catalog import POOL, POOL_HOLD
from tests.store.data import MIDNIGHT

from .data import HERE, series, store, table_of

pytestmark = pytest.mark.django_db
NOW = MIDNIGHT * 60.0 + 200


def levels(alias="default", **values):
    """Return levels as a process reports them."""
    return {f"pool.{alias}.{name}": float(value) for name, value in values.items()}


@pytest.fixture
def _fleet():
    store(
        series(POOL, ("default",), [0] * 90 + [20_000] * 10, opened=8, timeouts=2, closed_dead=1, closed_broken=2),
        series(POOL_HOLD, ("default",), [30_000] * 100),
        pid=1,
        taken=NOW,
        levels=levels(max_size=4, size=4, in_use=3, waiting=2, server_max=97, breaker=0),
    )
    store(pid=2, taken=NOW, levels=levels(max_size=4, size=1, in_use=1, waiting=0, server_max=97, breaker=2))
    store(pid=3, taken=NOW, final=True, levels=levels(max_size=4, size=4, in_use=4, waiting=4, server_max=97))


@pytest.mark.usefixtures("_fleet")
def test_the_fleet_is_the_sum_of_the_processes_that_run():
    (row,) = table_of("pool").rows
    assert {name: row[name] for name in ("alias", "processes", "max_size", "server_max", "in_use", "waiting")} == {
        "alias": "default",
        "processes": 2,
        "max_size": 8,
        "server_max": 97,
        "in_use": 4,
        "waiting": 2,
    }
    assert (row["count"], row["opened"], row["lost"], row["timeouts"], row["breaker"]) == (100, 8, 3, 2, "open")
    assert row["wait_p95_ms"] == pytest.approx(20, rel=0.02)
    assert row["hold_p95_ms"] == pytest.approx(30, rel=0.02)
    assert row["mean_in_use"] == pytest.approx(100 * 0.03 / HERE.seconds)
    assert "bursts" in row["advice"]


@pytest.mark.usefixtures("_fleet")
def test_each_process_has_a_row():
    rows = table_of("pool_processes").rows
    assert [(row["pid"], row["in_use"], row["breaker"]) for row in rows] == [(1, 3, "closed"), (2, 1, "open")]


def test_an_alias_may_have_a_dot():
    store(pid=1, taken=NOW, levels=levels("my.alias", max_size=4))
    (row,) = table_of("pool").rows
    assert (row["alias"], row["max_size"]) == ("my.alias", 4)


def test_a_fleet_larger_than_the_server_is_a_warning(settings):
    import time

    settings.DJANGO_PERF = {"DATABASE": "default"}
    for pid in range(5):
        store(pid=pid, taken=time.time(), minute=int(time.time()) // 60, levels=levels(max_size=20, server_max=97))
    (message,) = check_fleet(databases=["default"])
    assert message.id == "django_perf.W006"
    assert "5 processes may open 100 connections to 'default', the server takes 97" in message.msg
    assert "Lower max_size to 19" in message.hint
    assert check_fleet(databases=None) == []
