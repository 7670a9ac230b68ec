"""The reports of findings, failures, transactions and examples, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import CALL_SITE, ENDPOINT_QUERY, FINDING, QUERY, QUERY_ERROR, REQUEST, TRANSACTION
from django_perf.metrics.samples import Sample as Example
from django_perf.reports.queries import endpoints_report, queries_of, statement_named
from django_perf.store import samples
from django_perf.store.reader import consistent
from tests.store.data import MIDNIGHT, compact_at

from .data import HERE, series, store, table_of

pytestmark = pytest.mark.django_db

LOOP = ("/list", "GET", "n_plus_one", "default", "SELECT 1", "shop/views.py:88 in listing", 'select_related("product")')


@pytest.fixture(params=["waiting", "merged"])
def shop(request):
    store(
        series(REQUEST, ("/list", "GET", "2xx"), [10_000] * 10),
        series(FINDING, LOOP, [4_000] * 10, calls=500, rows=500),
        series(FINDING, ("/item", "GET", "duplicate", *LOOP[3:6], ""), [100], calls=1),
        series(ENDPOINT_QUERY, ("/list", "GET", "default", "SELECT 1"), [80] * 500, rows=500),
        series(ENDPOINT_QUERY, ("/item", "GET", "default", "SELECT 1"), [100] * 2, rows=2),
        series(CALL_SITE, ("/list", "GET", *LOOP[3:6]), [4_000] * 10, calls=500, rows=500),
        series(CALL_SITE, ("/item", "GET", *LOOP[3:5], "shop/views.py:90 in item"), [3_000], calls=1),
        series(QUERY_ERROR, ("default", "SELECT 1", "40P01"), [1] * 3),
        series(TRANSACTION, ("/list", "GET", "default"), [20_000, 60_000], rollbacks=1, waiting_us=40_000),
    )
    if request.param == "merged":
        compact_at("default", MIDNIGHT + 1)


def test_a_finding_names_the_line_the_remedy_and_what_it_costs(shop):
    first, second = table_of("findings").rows
    assert {name: first[name] for name in ("finding", "name", "method", "place", "remedy", "alias", "sql")} == {
        "finding": "n_plus_one",
        "name": "/list",
        "method": "GET",
        "place": "shop/views.py:88 in listing",
        "remedy": 'select_related("product")',
        "alias": "default",
        "sql": "SELECT 1",
    }
    assert (first["total_ms"], first["count"], first["calls_per_request"], first["rows_per_request"]) == (
        40,
        10,
        50,
        50,
    )
    assert first["share"] == 0.4
    assert first["meaning"].startswith("N+1")
    assert (second["finding"], second["share"]) == ("duplicate", None)


def test_the_totals_count_requests_by_finding(shop):
    totals = table_of("findings").totals
    assert (totals["n_plus_one"], totals["duplicate"], totals["unbounded"]) == (10, 1, 0)


def test_lines_stand_by_the_time_that_their_statements_take(shop):
    first, second = table_of("lines").rows
    assert (first["place"], first["name"], first["count"], first["calls"]) == (LOOP[5], "/list", 10, 500)
    assert (first["total_ms"], first["mean_ms"], first["max_ms"]) == (40, 0.08, 4)
    assert (second["place"], second["sql"], second["max_ms"]) == ("shop/views.py:90 in item", "SELECT 1", 3)


def test_failures_have_a_code_and_its_meaning(shop):
    (row,) = table_of("query_errors").rows
    assert (row["code"], row["meaning"], row["count"]) == ("40P01", "deadlock: try again", 3)


def test_transactions_tell_how_long_they_were_open_and_what_they_waited(shop):
    (row,) = table_of("transactions").rows
    assert (row["count"], row["rollbacks"], row["total_ms"], row["max_ms"]) == (2, 1, 80, 60)
    assert (row["waiting_ms"], row["waiting_share"]) == (40, 0.5)


def of(report):
    return consistent("default", lambda snapshot: report.table(snapshot, HERE)).rows


def test_an_endpoint_s_queries_have_their_share_of_its_time(shop):
    (row,) = of(queries_of("/list", "GET"))
    assert (row["share"], row["calls_per_request"], row["rows_per_call"]) == (0.4, 50, 1)
    assert "endpoints" not in row


def test_a_query_s_endpoints_have_their_shares(shop):
    first, second = of(endpoints_report("default", "SELECT 1"))
    assert (first["name"], first["count"], first["share"]) == ("/list", 500, 0.4)
    assert (second["name"], second["share"]) == ("/item", None)


def test_a_query_is_found_by_its_id(shop):
    id_ = table_of("queries").rows[0]["id"]
    found = consistent("default", lambda snapshot: snapshot.find(QUERY, id_))
    assert found == ("default", "SELECT 1")
    assert consistent("default", lambda snapshot: snapshot.find(QUERY, "0" * 12)) is None
    row = consistent("default", lambda snapshot: statement_named(snapshot, HERE, id_))
    assert row.sum.count == 502


def test_when_a_query_was_seen_is_known_for_all_time():
    for minute in (MIDNIGHT - 600, MIDNIGHT):
        store(series(ENDPOINT_QUERY, ("/list", "GET", "default", "SELECT 1"), [80]), minute=minute)
        compact_at("default", minute + 1)
    store(series(ENDPOINT_QUERY, ("/list", "GET", "default", "SELECT 1"), [80]), minute=MIDNIGHT + 3)
    (row,) = table_of("queries").rows
    assert (row["first_seen"], row["last_seen"]) == ("2024-10-03T14:00+00:00", "2024-10-04T00:03+00:00")


def example(at, **doc):
    facts = {"route": "/list", "method": "GET", "status": 500, "duration_us": 5_000, "queries": 7, "db_us": 2_000}
    key = ("exception", "/list", "GET", "KeyError")
    return Example(key, ("/list", "GET"), at, 5_000, 0.5, {**facts, "request_id": "abcdef-1", **doc})


def test_examples_are_listed_with_what_they_are_of():
    samples.insert("default", [example(MIDNIGHT * 60.0 + 90, exception="KeyError"), example(MIDNIGHT * 60.0 - 1)])
    (row,) = table_of("samples").rows
    assert {name: row[name] for name in row if name != "id"} == {
        "what": "exception: KeyError",
        "name": "/list",
        "method": "GET",
        "status": 500,
        "duration_ms": 5,
        "queries": 7,
        "db_ms": 2,
        "at": "2024-10-04T00:01:30+00:00",
        "request_id": "abcdef-1",
    }
