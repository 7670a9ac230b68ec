"""How severe the findings in SQL are, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.advisor.advice import HIGH, LOW, MEDIUM
from django_perf.advisor.rules import sql
from django_perf.metrics.catalog import ENDPOINT_QUERY, FINDING, REQUEST
from tests.reports.data import series, store

from .data import advised, severities

pytestmark = pytest.mark.django_db
PLACE = "shop/views.py:88 in listing"


def loop(each_ms, name="n_plus_one", requests=10):
    """Store a loop that takes so much of requests of 100 ms."""
    labels = ("/list", "GET", name, "default", "SELECT 1", PLACE, 'select_related("product")')
    store(
        series(REQUEST, ("/list", "GET", "2xx"), [100_000] * requests),
        series(FINDING, labels, [round(each_ms * 1_000)] * requests, calls=50 * requests, rows=50 * requests),
    )


@pytest.mark.parametrize(
    ("each_ms", "severity"), [(1, LOW), (9.9, LOW), (10, MEDIUM), (29.9, MEDIUM), (30, HIGH), (99, HIGH)]
)
def test_the_share_of_its_requests_decides_how_severe_an_n_plus_one_is(each_ms, severity):
    loop(each_ms)
    (advice,) = advised(sql.n_plus_one)
    assert (advice.severity, advice.cost_ms) == (severity, pytest.approx(each_ms * 10))
    assert f"({each_ms / 100:.0%} of its time), at {PLACE}" in advice.evidence


def test_an_n_plus_one_beyond_the_requests_that_are_known_is_not_urgent():
    labels = ("/list", "GET", "n_plus_one", "default", "SELECT 1", PLACE, "")
    store(series(FINDING, labels, [9_000] * 9, calls=450))
    assert severities(sql.n_plus_one) == [("n_plus_one", LOW)]


@pytest.mark.parametrize(("each_ms", "expected"), [(9.9, []), (10, [("duplicate_query", LOW)])])
def test_the_same_question_again_is_worth_a_word_where_it_takes_time(each_ms, expected):
    loop(each_ms, "duplicate")
    assert severities(sql.duplicate_query) == expected


@pytest.mark.parametrize(
    ("others_ms", "each_ms", "expected"),
    [
        (1, 50, [("slow_query", HIGH)]),
        (2.5, 50, [("slow_query", MEDIUM)]),
        (10, 50, []),
        (0.1, 19, []),
    ],
)
def test_the_share_of_all_databases_decides_how_severe_a_slow_query_is(others_ms, each_ms, expected):
    for number in range(10):
        other = ("/list", "GET", "default", f"SELECT {number}")
        store(series(ENDPOINT_QUERY, other, [round(others_ms * 1_000)] * 10))
    store(series(ENDPOINT_QUERY, ("/list", "GET", "default", "SELECT pg_sleep(?)"), [each_ms * 1_000]))
    assert severities(sql.slow_query) == expected
