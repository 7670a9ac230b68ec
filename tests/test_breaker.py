"""The circuit breaker, with a clock that the tests turn."""

from __future__ import annotations

import pytest

from django_perf.breaker import CircuitBreaker
from tests.pool.fakes import Clock


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def breaker(clock):
    """A breaker that opens after a second."""
    return CircuitBreaker(tolerance=1.0, clock=clock)


def fail_for(breaker, clock, seconds):
    """Fail ten times a second."""
    for _ in range(round(seconds * 10)):
        began = clock()
        clock.advance(0.1)
        breaker.failed(began)


def test_it_opens_after_its_tolerance_and_not_before(breaker, clock):
    fail_for(breaker, clock, 0.9)
    assert (breaker.state, breaker.is_open) == ("failing", False)
    fail_for(breaker, clock, 0.2)
    assert (breaker.state, breaker.is_open) == ("open", True)


def test_one_success_closes_it(breaker, clock):
    fail_for(breaker, clock, 2)
    breaker.succeeded()
    assert (breaker.state, breaker.failing_s()) == ("closed", 0.0)


def test_a_success_in_between_starts_the_count_anew(breaker, clock):
    fail_for(breaker, clock, 0.9)
    breaker.succeeded()
    fail_for(breaker, clock, 0.9)
    assert not breaker.is_open


def test_an_old_failure_says_nothing_any_more(breaker, clock):
    fail_for(breaker, clock, 0.5)
    clock.advance(3_600)
    assert breaker.state == "closed"
    fail_for(breaker, clock, 0.5)
    assert not breaker.is_open


def test_one_attempt_that_hangs_for_long_is_enough(breaker, clock):
    began = clock()
    clock.advance(5)
    breaker.failed(began)
    assert breaker.is_open


def test_trip_opens_at_once_and_it_stays_open(breaker, clock):
    breaker.trip()
    clock.advance(100)
    assert breaker.is_open
    assert breaker.failing_s() == 100
