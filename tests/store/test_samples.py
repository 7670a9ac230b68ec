"""Examples in the store: found by series and by endpoint, and no more of them than wanted."""

from __future__ import annotations

import pytest
from django.db import DataError

from django_perf.metrics.recorder import recorder
from django_perf.metrics.samples import BY_LOT, SLOWEST
from django_perf.metrics.samples import Sample as Example
from django_perf.store import samples
from django_perf.store.models import Delta, Sample
from django_perf.store.writer import write

from .data import MIDNIGHT, batch

NOW = MIDNIGHT * 60.0
HOUR_S = 3_600
KEY, SCOPE = ("slow_request", "shop", "GET"), ("shop", "GET")
pytestmark = pytest.mark.django_db(databases=["default", "sqlite"], transaction=True)


def example(value=1, lot=0.5, at=NOW, key=KEY, endpoint=SCOPE, **doc):
    return Example(key, endpoint, at, value, lot, {"duration_us": value, **doc})


def put(alias, *examples):
    samples.insert(alias, examples)


def values(alias):
    return sorted(Sample.objects.using(alias).values_list("value", flat=True))


def test_a_flush_stores_its_examples_with_its_figures(alias):
    write(batch({MIDNIGHT: {}}, samples=[example(7, route="shop")]))
    (row,) = Sample.objects.using(alias)
    assert (row.value, row.at, row.doc) == (7, NOW, {"reason": "slow_request", "duration_us": 7, "route": "shop"})
    assert row.bytes == len('{"reason": "slow_request", "duration_us": 7, "route": "shop"}')


def test_a_flush_that_is_repeated_stores_its_examples_once(alias):
    one = batch({MIDNIGHT: {}}, samples=[example(7)])
    write(one)
    write(one)
    assert values(alias) == [7]


def test_an_example_that_no_database_takes_costs_no_figure(alias, monkeypatch):
    def refuse(*args):
        raise DataError

    recorder.enabled = True
    monkeypatch.setattr(samples, "insert", refuse)
    write(batch({MIDNIGHT: {}}, samples=[example(), example()]))
    assert Delta.objects.using(alias).count() == 1
    (table,) = recorder.drain().values()
    assert table["loss", "dropped", "an example cannot be stored: DataError"].histogram.sum == 2


def test_examples_are_found_by_what_they_are_examples_of_and_by_endpoint(alias):
    put(alias, example(1), example(2, key=("exception", "shop", "GET", "KeyError")), example(3, endpoint=("x", "GET")))
    assert [row.value for row in samples.of_series(alias, KEY).order_by("value")] == [1, 3]
    assert [row.value for row in samples.of_endpoint(alias, *SCOPE).order_by("value")] == [1, 2]


def test_of_an_hour_the_slowest_and_those_drawn_by_lot_stay(alias):
    put(alias, *[example(value, lot=1 / value) for value in range(1, 50)])
    samples.trim(alias, NOW + HOUR_S)
    assert values(alias) == [*range(1, BY_LOT + 1), *range(50 - SLOWEST, 50)]


def test_hours_and_series_are_trimmed_each_by_itself(alias):
    for at in (NOW, NOW + HOUR_S):
        for key in (KEY, ("exception", "shop", "GET", "KeyError")):
            put(alias, *[example(value, lot=value, at=at, key=key) for value in range(10)])
    samples.trim(alias, NOW + HOUR_S)
    assert values(alias) == sorted([7, 8, 9] * 4)


def test_trimming_again_deletes_nothing_more(alias):
    put(alias, *[example(value, lot=1 / value) for value in range(1, 50)])
    assert samples.trim(alias, NOW) == 49 - SLOWEST - BY_LOT
    assert samples.trim(alias, NOW) == 0


def test_an_example_is_forgotten_after_a_week(alias):
    put(alias, example(1, at=NOW - samples.KEEP_S - 1), example(2, at=NOW - samples.KEEP_S + 1))
    samples.trim(alias, NOW)
    assert values(alias) == [2]


def test_the_oldest_go_where_there_are_too_many_bytes(alias, monkeypatch):
    monkeypatch.setattr(samples, "MOST_BYTES", 1_000)
    monkeypatch.setattr(samples, "_CHUNK", 2)
    put(alias, *[example(n, at=NOW - 5 * HOUR_S + n, text="x" * 150) for n in range(20)])
    samples.trim(alias, NOW)
    assert values(alias) == [16, 17, 18, 19]
