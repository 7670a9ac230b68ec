"""Warmers fill the cache, the most wanted first, within bounds."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from django_perf.cache import warming
from django_perf.cache.warming import warm, warmer


@pytest.fixture(autouse=True)
def _no_other_warmers(monkeypatch):
    monkeypatch.setattr(warming, "_warmers", {})


def test_the_first_calls_of_every_warmer_are_made():
    made = []

    @warmer
    def pages(top):
        for number in range(10 * top):
            yield partial(made.append, ("page", number))

    @warmer
    def details(top):
        yield partial(made.append, "detail")

    result = warm(top=3)
    assert sorted(map(str, made)) == ["('page', 0)", "('page', 1)", "('page', 2)", "detail"]
    assert (result.done, result.failed, result.errors) == (4, 0, ())


def test_a_call_that_fails_stops_no_other_and_is_told_once_per_warmer():
    def fail():
        raise ZeroDivisionError("no price")

    made = []

    @warmer
    def broken(top):
        yield fail
        yield fail
        yield partial(made.append, 1)

    result = warm()
    assert (result.done, result.failed, made) == (1, 2, [1])
    (error,) = result.errors
    assert error.endswith("broken: ZeroDivisionError: no price")


def test_no_more_threads_than_asked_for_are_at_work():
    at_work, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(3, timeout=10)

    def work():
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        together.wait()
        with lock:
            at_work -= 1

    @warmer
    def many(top):
        yield from [work] * 6

    warm(concurrency=3)
    assert most == 3


def test_the_rate_bounds_the_calls(monkeypatch):
    slept = []
    monkeypatch.setattr(warming.time, "sleep", slept.append)

    @warmer
    def many(top):
        yield from [time.monotonic] * 5

    warm(rate=10)
    assert [round(pause, 1) for pause in slept] == [0.0, 0.1, 0.2, 0.3, 0.4]
