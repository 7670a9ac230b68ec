"""The rules of compression, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.advisor.advice import LOW, MEDIUM
from django_perf.advisor.rules.compression import compression
from django_perf.metrics.catalog import REQUEST
from tests.reports.data import series, store
from tests.reports.test_compression import MUCH, ended

from .data import advised, severities

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("outcome", ["no_transform", "opted_out", "not_accepted", "type"])
def test_much_that_leaves_as_it_is_tells_its_share_of_all_bytes(outcome):
    store(
        ended(outcome, [0] * 100, 20_000_000, endpoint=("big", "GET")), ended("zstd", [9] * 100, 90_000_000, 5_000_000)
    )
    (advice,) = advised(compression)
    assert (advice.rule, advice.severity, advice.page) == ("uncompressed", MEDIUM, "compression")
    assert advice.evidence.startswith("GET big sends 20\xa0MB uncompressed, 80% of all bytes that are sent, in 100 ")


def test_what_is_a_small_part_of_all_bytes_is_not_urgent():
    store(ended("no_transform", [0] * 100, MUCH), ended("br", [9] * 100, 90_000_000, 50_000_000, ("/x", "GET")))
    assert severities(compression) == [("uncompressed", LOW)]


@pytest.mark.parametrize(
    ("outcome", "count", "size"),
    [
        ("no_transform", 99, 20_000_000),
        ("no_transform", 100, 2**20),
        ("no_transform", 1_000, 9_999_000),  # many, but each of them in ten packets
        ("encoded", 100, 20_000_000),
        ("status", 100, 20_000_000),
    ],
)
def test_what_is_little_or_as_it_should_be_is_not_worth_a_word(outcome, count, size):
    store(ended(outcome, [0] * count, size))
    assert advised(compression) == []


def test_compressing_what_gains_nothing_costs_its_time():
    store(ended("not_smaller", [500] * 100, 5_000), series(REQUEST, ("/", "GET", "2xx"), [5_000] * 100))
    (advice,) = advised(compression)
    assert (advice.rule, advice.severity, advice.cost_ms) == ("wasted_compression", MEDIUM, 50)
    assert advice.evidence.startswith(
        "GET / compresses for 50 ms (10% of its time) and saves 0\xa0B of 5\xa0kB in 100 res"
    )


@pytest.mark.parametrize(
    ("us", "saved", "expected"),
    [
        (20_000, 100 * 200_000, [("dear_compression", LOW)]),  # 100 ns a byte, where sending one takes 80
        (20_000, 100 * 260_000, [("dear_compression", LOW)]),  # one response of 20 ms
        (4_000, 100 * 40_000, []),  # dear, but not a second of it
        (4_000, 100 * 400_000, []),
    ],
)
def test_compressing_is_dear_where_sending_is_faster(us, saved, expected):
    store(ended("gzip", [us] * 100, saved + 1_000, 1_000), series(REQUEST, ("/", "GET", "2xx"), [500_000] * 100))
    assert severities(compression) == expected


def test_the_slower_of_compressing_and_sending_is_told():
    store(ended("gzip", [4_000] * 1_000, 41_000_000, 1_000_000))
    (advice,) = advised(compression)
    assert "compressing takes longer than sending what it saves" in advice.evidence
