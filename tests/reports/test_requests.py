"""The report of requests, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import REQUEST

from .data import MIDNIGHT, series, store, table_of

pytestmark = pytest.mark.django_db


def only_row(**options):
    (row,) = table_of("requests", **options).rows
    return row


def test_an_endpoint_is_the_sum_over_its_status_classes():
    ok = {"queries": 180, "db_us": 450_000, "cpu_us": 300_000, "cpu_count": 60, "bytes_out": 9_000, "aborted": 2}
    cache = {"cache_hits": 30, "cache_misses": 10, "cache_us": 50_000}
    store(
        series(REQUEST, ("/", "GET", "2xx"), [*range(1_000, 91_000, 1_000)], **ok, **cache),
        series(REQUEST, ("/", "GET", "5xx"), [*range(91_000, 101_000, 1_000)], errors=10, queries=20),
    )
    row = only_row()
    assert {name: row[name] for name in row if not name.startswith("p")} == {
        "name": "/",
        "method": "GET",
        "total_ms": 5_050,
        "count": 100,
        "errors": 10,
        "error_rate": 0.1,
        "mean_ms": 50.5,
        "max_ms": 100,
        "rate_per_s": pytest.approx(100 / 240),
        "queries_per_request": 2,
        "db_ms": 4.5,
        "cache_hit_ratio": 0.75,
        "cache_ms": 0.5,
        "cpu_ms": 5,
        "bytes_out": 9_000,
        "aborted": 2,
    }
    assert [row["p50_ms"], row["p95_ms"], row["p99_ms"]] == pytest.approx([50, 95, 99], rel=0.02)


def test_merged_and_waiting_requests_count_alike():
    for minute in (0, 1, 4):
        store(series(REQUEST, ("/", "GET", "2xx"), [1_000], queries=3), minute=MIDNIGHT + minute)
    assert (only_row()["count"], only_row()["queries_per_request"]) == (3, 3)


def test_requests_outside_the_window_are_left_out():
    for minute in (-1, 5):
        store(series(REQUEST, ("/", "GET", "2xx"), [1_000]), minute=MIDNIGHT + minute)
    assert table_of("requests").rows == []


def test_methods_of_a_route_are_endpoints_of_their_own():
    store(series(REQUEST, ("/", "GET", "2xx"), [1_000]), series(REQUEST, ("/", "POST", "2xx"), [3_000]))
    assert [(row["method"], row["total_ms"]) for row in table_of("requests").rows] == [("POST", 3), ("GET", 1)]


def test_cpu_time_that_nobody_could_measure_is_unknown_and_not_zero():
    store(series(REQUEST, ("/", "GET", "2xx"), [1_000], cpu_us=0, cpu_count=0))
    assert only_row()["cpu_ms"] is None


def test_the_hit_ratio_of_requests_that_ask_no_cache_is_unknown_and_not_zero():
    store(series(REQUEST, ("/", "GET", "2xx"), [1_000]))
    assert (only_row()["cache_hit_ratio"], only_row()["cache_ms"]) == (None, 0)


def test_totals_count_rows_that_the_limit_cuts_off():
    for number in range(1, 5):
        errors = {"errors": number} if number == 4 else {}
        store(series(REQUEST, (f"/{number}", "GET", "2xx"), [number * 1_000] * number, **errors))
    table = table_of("requests", limit=1)
    assert [row["name"] for row in table.rows] == ["/4"]
    assert table.found == 4
    assert table.totals == {
        "count": 10,
        "errors": 4,
        "error_rate": 0.4,
        "p95_ms": pytest.approx(4, rel=0.02),
    }


def test_totals_of_nothing_are_zero():
    assert table_of("requests").totals == {"count": 0, "errors": 0, "error_rate": 0.0, "p95_ms": 0.0}


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (None, ["/slow", "/busy", "/bad"]),
        ("count", ["/busy", "/bad", "/slow"]),
        ("error_rate", ["/bad", "/busy", "/slow"]),
        ("p99_ms", ["/slow", "/bad", "/busy"]),
        ("name", ["/bad", "/busy", "/slow"]),
        ("cpu_ms", ["/slow", "/bad", "/busy"]),
    ],
)
def test_rows_are_sorted_numbers_downwards_text_upwards_the_unknown_last(sort, names):
    store(
        series(REQUEST, ("/slow", "GET", "2xx"), [90_000], cpu_us=9_000, cpu_count=1),
        series(REQUEST, ("/busy", "GET", "2xx"), [1_000] * 9, errors=1),
        series(REQUEST, ("/bad", "GET", "5xx"), [2_000] * 3, errors=3, cpu_us=3, cpu_count=3),
    )
    assert [row["name"] for row in table_of("requests", sort=sort).rows] == names
