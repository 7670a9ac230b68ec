"""The reports of database statements, blocks and exceptions, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import BLOCK, ENDPOINT_QUERY, EXCEPTION, NO_REQUEST, REQUEST
from django_perf.reports.exceptions import EXCEPTIONS
from django_perf.reports.queries import statements_of
from django_perf.store.reader import consistent
from tests.store.data import MIDNIGHT, compact_at

from .data import HERE, series, store, table_of

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["waiting", "merged"])
def shop(request):
    """Two endpoints and a job that run statements."""
    store(
        series(REQUEST, ("/list", "GET", "2xx"), [1_000] * 10),
        series(REQUEST, ("/list", "GET", "5xx"), [1_000] * 2),
        series(REQUEST, ("/item", "GET", "2xx"), [1_000] * 4),
        series(REQUEST, ("/idle", "GET", "2xx"), [1_000] * 100),
        series(ENDPOINT_QUERY, ("/list", "GET", "default", "SELECT 1"), [2_000] * 24, errors=1, rows=64),
        series(ENDPOINT_QUERY, ("/item", "GET", "default", "SELECT 1"), [5_000] * 8),
        series(ENDPOINT_QUERY, ("/item", "GET", "replica", "SELECT 1"), [1_000] * 4),
        series(ENDPOINT_QUERY, (NO_REQUEST, "-", "default", "SELECT 2"), [70_000]),
    )
    if request.param == "merged":
        compact_at("default", MIDNIGHT + 1)


def test_a_statement_is_the_sum_over_its_endpoints(shop):
    rows = {(row["alias"], row["sql"]): row for row in table_of("queries").rows}
    row = rows["default", "SELECT 1"]
    assert {name: row[name] for name in row if name not in {"id", "p50_ms", "p95_ms", "p99_ms"}} == {
        "sql": "SELECT 1",
        "alias": "default",
        "total_ms": 88,
        "count": 32,
        "errors": 1,
        "mean_ms": 2.75,
        "max_ms": 5,
        "calls_per_request": 2,
        "rows_per_call": 2,
        "share": 5.5,
        "endpoints": 2,
        "first_seen": "2024-10-04T00:00+00:00",
        "last_seen": "2024-10-04T00:00+00:00",
    }
    assert [row[name] for name in ("p50_ms", "p95_ms", "p99_ms")] == pytest.approx([2, 5, 5], rel=0.02)
    assert rows["replica", "SELECT 1"]["calls_per_request"] == 1


def test_a_statement_outside_of_requests_has_no_calls_per_request(shop):
    (row,) = [row for row in table_of("queries").rows if row["sql"] == "SELECT 2"]
    assert (row["calls_per_request"], row["endpoints"]) == (None, 1)


def test_one_call_of_half_a_minute_among_a_thousand_fast_ones_stands_first_by_its_slowest(shop):
    store(
        series(ENDPOINT_QUERY, ("/rare", "GET", "default", "SELECT 4"), [1_000] * 1_000 + [30_000_000]),
        series(ENDPOINT_QUERY, ("/often", "GET", "default", "SELECT 5"), [40_000] * 1_000),
    )
    first, *_ = table_of("queries", sort="max_ms").rows
    assert (first["sql"], first["count"], first["max_ms"], round(first["p95_ms"])) == ("SELECT 4", 1_001, 30_000, 1)


def test_the_costliest_statement_comes_first(shop):
    assert [row["total_ms"] for row in table_of("queries").rows] == [88, 70, 4]


@pytest.mark.parametrize("sort", ["calls_per_request", "endpoints"])
def test_a_column_that_is_worked_out_late_can_be_sorted_by(shop, sort):
    (row,) = table_of("queries", sort=sort, limit=1).rows
    assert (row["sql"], row["alias"], row[sort]) == ("SELECT 1", "default", 2)


def test_totals_of_queries_count_what_the_limit_cuts_off(shop):
    assert table_of("queries", limit=1).totals == {"count": 37, "errors": 1, "total_ms": 162}


def test_an_endpoint_shows_its_own_statements(shop):
    found = consistent("default", lambda snapshot: statements_of(snapshot, HERE, "/list", "GET"))
    assert [(one.sql, one.sum.count, one.calls_per_request(), one.endpoints) for one in found] == [
        ("SELECT 1", 24, 2, 1)
    ]


def test_the_id_of_a_statement_is_the_same_everywhere(shop):
    ids = {(row["alias"], row["sql"]): row["id"] for row in table_of("queries").rows}
    assert ids["default", "SELECT 1"] == "43689df3d1c7"
    assert len(set(ids.values())) == 3


def test_a_block_tells_its_runs_errors_and_times():
    store(series(BLOCK, ("import",), [1_000, 3_000], errors=1))
    (row,) = table_of("blocks").rows
    assert row == {
        "name": "import",
        "count": 2,
        "errors": 1,
        "mean_ms": 2,
        "p95_ms": pytest.approx(3, rel=0.02),
        "max_ms": 3,
        "total_ms": 4,
    }


def test_exceptions_are_counted_by_class_and_endpoint():
    for route, name, count in (("/", "KeyError", 1), ("/", "OSError", 3), ("/b", "KeyError", 2)):
        store(series(EXCEPTION, (route, "GET", name), [1] * count))
    table = consistent("default", lambda snapshot: EXCEPTIONS.table(snapshot, HERE))
    assert [(row["name"], row["endpoint"], row["method"], row["count"]) for row in table.rows] == [
        ("OSError", "/", "GET", 3),
        ("KeyError", "/b", "GET", 2),
        ("KeyError", "/", "GET", 1),
    ]
