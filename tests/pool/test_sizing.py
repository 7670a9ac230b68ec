"""What the advice says about a pool's size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_perf.pool.sizing import Usage, judged

FINE = Usage(
    processes=4,
    max_size=16,
    server_max=97,
    in_use=5.0,
    count=1_000,
    wait_p95_ms=0.0,
    hold_p99_ms=20.0,
    failures=0,
    leaks=0,
)


@pytest.mark.parametrize(
    ("change", "rule", "text"),
    [
        ({}, None, ""),
        ({"processes": 0}, None, ""),
        (
            {"max_size": 120, "processes": 30},
            "pool_over_server",
            "may open 120 connections, the server takes 97: max_size 3",
        ),
        ({"leaks": 1}, "pool_leak", "released()"),
        ({"in_use": 15.0, "wait_p95_ms": 40.0}, "pool_starved", "Busy 94%: raise max_size to 8"),
        ({"in_use": 12.0, "failures": 3}, "pool_starved", "Busy 75%: raise max_size to 6"),
        ({"failures": 3}, "pool_starved", "bursts"),
        ({"wait_p95_ms": 40.0, "hold_p99_ms": 900.0}, "pool_starved", "Few hold long (p99 900 ms)"),
        ({"in_use": 0.4}, "pool_oversized", "max_size 2 would do"),
        ({"in_use": 0.0, "count": 0}, None, ""),
        ({"server_max": None, "max_size": 400, "in_use": 200.0}, None, ""),
    ],
)
def test_advice(change, rule, text):
    found = judged(replace(FINE, **change))
    assert (found.rule if found else None) == rule
    assert text in (found.remedy if found else "")
