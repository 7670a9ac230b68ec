"""Which examples are kept: the slowest, and some by lot, as if all processes had drawn together."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.metrics import samples
from django_perf.metrics.samples import BY_LOT, MOST_WAITING, SLOWEST, Samples

KEY, SCOPE = ("slow_request", "shop", "GET"), ("shop", "GET")


def offered(keeper, *values, key=KEY):
    for value in values:
        keeper.offer(key, SCOPE, value, lambda value=value: {"value": value})
    return [sample.value for sample in keeper.take()]


@pytest.fixture
def lots(monkeypatch):
    """Return a function that says what the lot draws next."""
    drawn = []
    monkeypatch.setattr(samples.random, "random", lambda: drawn.pop(0) if drawn else 0.0)
    return drawn.extend


def test_the_slowest_of_an_hour_are_kept_in_whatever_order_they_come(lots):
    lots([0.9, 0.8])
    assert offered(Samples(lambda: 0.0), 5, 1, 9, 7, 8, 2) == [5, 1, 9, 7, 8]


def test_what_wins_the_lot_is_kept_though_it_is_fast(lots):
    lots([0.1, 0.2, 0.3, 0.25, 0.05, 0.9])
    assert offered(Samples(lambda: 0.0), 90, 80, 70, 1, 1, 2) == [90, 80, 70, 1, 2]


def test_each_series_and_each_hour_has_winners_of_its_own(lots):
    now = [0.0]
    keeper = Samples(lambda: now[0])
    assert offered(keeper, *[9] * SLOWEST, 1) == [9] * SLOWEST
    assert offered(keeper, 1, key=("exception", "shop", "GET", "KeyError")) == [1]
    now[0] = 3_600.0
    assert offered(keeper, 1) == [1]


def test_only_what_is_kept_is_described(lots):
    described = Counter()
    keeper = Samples(lambda: 0.0)
    for value in range(100, 0, -1):
        keeper.offer(KEY, SCOPE, value, lambda: described.update(["one"]) or {})
    assert described["one"] == SLOWEST


def test_a_store_that_does_not_answer_does_not_fill_the_memory():
    keeper = Samples(lambda: 0.0)
    assert len(offered(keeper, *range(10 * MOST_WAITING))) == MOST_WAITING


def test_names_without_end_do_not_fill_the_memory():
    keeper = Samples(lambda: 0.0)
    for number in range(20_000):
        keeper.offer(("exception", str(number)), SCOPE, 1, dict)
        keeper.take()
    assert len(keeper._won) <= samples._MOST_SERIES + 1


def test_a_fork_starts_empty():
    keeper = Samples(lambda: 0.0)
    keeper.offer(KEY, SCOPE, 1, dict)
    keeper.reset()
    assert keeper.take() == []


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), max_size=60), st.integers(1, 6))
def test_the_winners_of_many_processes_are_those_of_one(offers, processes):
    """Keep the winners of what several have kept: the same as if one had seen all."""

    def winners(rows):
        slowest = sorted((value for value, _ in rows), reverse=True)[:SLOWEST]
        drawn = sorted((lot for _, lot in rows), reverse=True)[:BY_LOT]
        return slowest, drawn

    kept = []
    for number in range(processes):
        own = Samples(lambda: 0.0)
        for value, lot in offers[number::processes]:
            if own._wins(KEY, value, lot):
                kept.append((value, lot))
    assert winners(kept) == winners(offers)
