from __future__ import annotations

from types import SimpleNamespace

from django_perf.metrics.catalog import REQUEST
from django_perf.metrics.trace import FOLD_AT, Trace
from django_perf.requests.folding import fold
from tests.metrics.statements import SELECT, execute

QUERIES = slice(REQUEST.counters.index("queries"), REQUEST.counters.index("db_us") + 1)
CACHE = slice(REQUEST.counters.index("cache_hits"), REQUEST.counters.index("cache_us") + 1)


def row(trace=None, at=60.0, route="shop", method="GET", status=200, **changes):
    names = {"elapsed_ns": 2_000_000, "cpu_ns": 1_000_000, "received": None, "sent_bytes": 10, "is_aborted": False}
    values = {**names, **changes}
    return (at, trace or Trace(0), route and SimpleNamespace(route=route), method, status, *values.values())


def folded(*rows):
    return {(minute, entry[0]): entry[1:] for minute, entry in fold(rows)}


def test_requests_of_one_series_become_one_entry():
    found = folded(row(sent_bytes=5), row(elapsed_ns=1_499, received="7"), row(cpu_ns=-1, is_aborted=True))
    values, counters, rest = found[1, ("request", "shop", "GET", "2xx")]
    assert (values, rest) == ([2_000, 1, 2_000], None)
    assert counters == (0, 1, 2_000, 2, 7, 25, 0, 0, 0, 0, 0)


def test_minutes_methods_and_status_classes_are_kept_apart():
    found = folded(row(), row(at=120.0), row(method="POST"), row(status=404), row(status=503), row(route=None))
    assert set(found) == {
        (1, ("request", "shop", "GET", "2xx")),
        (2, ("request", "shop", "GET", "2xx")),
        (1, ("request", "shop", "POST", "2xx")),
        (1, ("request", "shop", "GET", "4xx")),
        (1, ("request", "shop", "GET", "5xx")),
        (1, ("request", "(unresolved)", "GET", "2xx")),
    }


def test_two_statuses_of_a_class_are_two_entries_of_one_series():
    entries = [entry for _, entry in fold([row(status=200), row(status=204)])]
    assert [entry[0] for entry in entries] == [("request", "shop", "GET", "2xx")] * 2


def test_statements_are_grouped_by_shape_and_counted_for_the_request():
    first, second = execute(Trace(0), 1_400, 2_600, rows=2), execute(Trace(0), 9_000)
    found = folded(row(first), row(second))
    assert found[1, ("endpoint_query", "shop", "GET", "default", "SELECT ?")] == ([1, 3, 9], (0, 4), None)
    assert found[1, ("request", "shop", "GET", "2xx")][1][QUERIES] == (3, 13)


def test_statements_that_were_folded_in_the_request_count_too():
    trace = execute(Trace(0), *[2_000] * FOLD_AT)
    trace.fold_runs(SELECT)
    execute(trace, 4_000)
    entries = [entry for _, entry in fold([row(trace)])]
    counts = sum(len(entry[1]) + (entry[3].count if entry[3] else 0) for entry in entries if entry[0][0] != "request")
    assert counts == FOLD_AT + 1
    assert next(entry for entry in entries if entry[0][0] == "request")[2][QUERIES] == (FOLD_AT + 1, 2 * FOLD_AT + 4)


def test_what_caches_did_is_added_up_over_the_requests_that_asked_them():
    first, second = Trace(0), Trace(0)
    first.cache_hits, first.cache_misses, first.cache_ns = 3, 1, 2_400
    second.cache_hits, second.cache_ns = 1, 700
    found = folded(row(first), row(second), row())
    assert found[1, ("request", "shop", "GET", "2xx")][1][CACHE] == (4, 1, 3)


def test_a_failed_statement_is_an_error_of_its_series():
    trace = Trace(0)
    trace.add_statement(SELECT.key, 1_000, errors=1)
    entries = [entry for _, entry in fold([row(trace)]) if entry[0][0] == "endpoint_query"]
    assert sum(len(values) for _, values, _, _ in entries) == 1
    assert sum(sum(counters) for _, _, counters, _ in entries) == 1


def test_exceptions_blocks_and_drops_have_entries_of_their_own():
    trace = Trace(0)
    trace.error, trace.dropped = "LookupError", 3
    trace.add(("block", "import"), (50,), (1,))
    found = folded(row(trace, status=500))
    assert found[1, ("exception", "shop", "GET", "LookupError")][0] == (1,)
    assert found[1, ("loss", "dropped", "series in one request")][0] == (3,)
    assert found[1, ("block", "import")] == ([50], [1], None)
    assert found[1, ("request", "shop", "GET", "5xx")][1][0] == 1


def test_an_aborted_request_is_no_error_whatever_its_status():
    assert folded(row(status=500, is_aborted=True))[1, ("request", "shop", "GET", "5xx")][1][:2] == (0, 1)


def test_a_content_length_that_a_middleware_made_a_number_is_read():
    assert folded(row(received=7))[1, ("request", "shop", "GET", "2xx")][1][4] == 7
