"""The rules of connection pools, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.advisor.advice import HIGH, LOW, MEDIUM
from django_perf.advisor.rules.pool import pool_held, pool_size
from django_perf.metrics.catalog import DATABASE, ENDPOINT_QUERY, POOL, POOL_HOLD, PROCESS
from django_perf.reports.window import Window
from django_perf.store.reader import Range
from tests.reports.data import series, store
from tests.reports.test_pool import levels
from tests.store.data import MIDNIGHT

from .data import advised, severities

pytestmark = pytest.mark.django_db
NOW = MIDNIGHT * 60.0 + 200
HOUR = Window(Range(MIDNIGHT - 60, MIDNIGHT + 4), NOW)
DEFAULT = ("default",)


def pools(*tables, processes=2, max_size=4, server_max=97, minute=MIDNIGHT):
    """Store tables of the first of some processes, with pools of one size."""
    for pid in range(processes):
        own = tables if pid == 0 else ()
        store(*own, minute=minute, pid=pid, taken=NOW, levels=levels(max_size=max_size, server_max=server_max))


def waits(count, ms, **counters):
    return series(POOL, DEFAULT, [round(ms * 1_000)] * count, **counters)


def holds(count, ms):
    return series(POOL_HOLD, DEFAULT, [round(ms * 1_000)] * count)


def works(count, ms):
    return series(ENDPOINT_QUERY, ("/", "GET", "default", "SELECT 1"), [round(ms * 1_000)] * count)


@pytest.mark.parametrize(
    ("ms", "count", "expected"),
    [(4, 100, []), (6, 99, []), (6, 100, [("pool_starved", MEDIUM)]), (120, 100, [("pool_starved", HIGH)])],
)
def test_waits_are_starvation_when_they_are_long_and_many(ms, count, expected):
    pools(waits(count, ms) | holds(count, 30_000 / count))
    assert severities(pool_size) == expected


def test_the_waits_are_what_it_costs():
    pools(waits(100, 50) | holds(100, 19_200))
    (advice,) = advised(pool_size)
    assert advice.cost_ms == 5_000
    assert advice.evidence == (
        "Pool default: 2 processes with 8 connections (the server takes 97), 8.0 in use on average, 100 checkouts, "
        "p95 of the waits 50 ms"
    )
    assert advice.remedy.startswith("Busy 100%: raise max_size to")


@pytest.mark.parametrize(("failures", "expected"), [(4, []), (5, [("pool_starved", HIGH)])])
def test_a_few_refusals_are_a_server_that_was_restarted(failures, expected):
    pools(waits(10, 0, timeouts=failures - 1, refused=1) | holds(10, 9_000))
    assert severities(pool_size) == expected


def test_more_connections_than_the_server_takes_are_told_at_once():
    pools(processes=5, max_size=20)
    (advice,) = advised(pool_size)
    assert (advice.rule, advice.severity) == ("pool_over_server", HIGH)
    assert advice.remedy.endswith("max_size 19")


def test_leaks_are_told_with_their_number():
    pools(waits(10, 0, leaks=2))
    (advice,) = advised(pool_size)
    assert (advice.rule, advice.severity) == ("pool_leak", MEDIUM)
    assert "2 held for too long" in advice.evidence


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("pool_oversized", LOW)]),
        ({"peak": 13}, []),
        ({"samples": 99}, []),
        ({"processes": 1}, []),
        ({"server_max": 200}, []),
        ({"window": Window(Range(MIDNIGHT, MIDNIGHT + 5), NOW)}, []),
        ({"checkouts": 99}, []),
    ],
)
def test_a_pool_is_too_large_only_where_it_is_sure_and_in_the_way(changes, expected):
    given = {"peak": 12, "samples": 100, "processes": 2, "server_max": 97, "window": HOUR, "checkouts": 100, **changes}
    used = [100] * (given["samples"] - 1) + [given["peak"] * 100]
    pools(
        waits(given["checkouts"], 0) | holds(given["checkouts"], 5),
        series(PROCESS, ("pool.default.in_use", "web"), used),
        processes=given["processes"],
        max_size=25,
        server_max=given["server_max"],
    )
    assert severities(pool_size, window=given["window"]) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("pool_held", MEDIUM)]),
        ({"waits_ms": 20}, [("pool_held", HIGH)]),
        ({"count": 99}, []),
        ({"works_ms": 2_100}, []),  # a fifth of the time
        ({"works_ms": 0}, []),  # nobody measures the database
        ({"holds_ms": 19}, []),
        ({"max_size": 20}, []),  # nobody needs them
    ],
)
def test_connections_are_held_for_something_else_where_others_need_them(changes, expected):
    given = {"waits_ms": 0, "count": 100, "works_ms": 100, "holds_ms": 10_000, "max_size": 4, **changes}
    count = given["count"]
    pools(
        waits(count, given["waits_ms"]) | holds(count, given["holds_ms"]),
        works(count, given["works_ms"]) if given["works_ms"] else {},
        max_size=given["max_size"],
    )
    assert severities(pool_held) == expected


def test_what_is_held_is_told_with_what_the_database_has_of_it():
    pools(waits(100, 0) | holds(100, 10_000), works(100, 500))
    (advice,) = advised(pool_held)
    assert advice.evidence == (
        "Pool default: connections are held for 10,000 ms on average (p95 10,000 ms), and the database works in 5% of "
        "it"
    )
    assert "released()" in advice.remedy
    assert DATABASE.labels == ("alias",)


def test_a_pool_in_which_nothing_happened_is_well():
    pools()
    assert advised(pool_size, pool_held) == []
