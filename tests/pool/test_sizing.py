"""What the advice says about a pool's size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_perf.pool.sizing import Usage, advice

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
    ("change", "text"),
    [
        ({}, ""),
        ({"processes": 0}, ""),
        ({"max_size": 120, "processes": 30}, "may open 120 connections, the server takes 97: max_size 3"),
        ({"leaks": 1}, "released()"),
        ({"in_use": 15.0, "wait_p95_ms": 40.0}, "Busy 94%: raise max_size to 8"),
        ({"in_use": 12.0, "failures": 3}, "Busy 75%: raise max_size to 6"),
        ({"failures": 3}, "bursts"),
        ({"wait_p95_ms": 40.0, "hold_p99_ms": 900.0}, "Few hold long (p99 900 ms)"),
        ({"in_use": 0.4}, "max_size 2 would do"),
        ({"in_use": 0.0, "count": 0}, ""),
        ({"server_max": None, "max_size": 400, "in_use": 200.0}, ""),
    ],
)
def test_advice(change, text):
    found = advice(replace(FINE, **change))
    assert text in found
    assert bool(text) == bool(found)
