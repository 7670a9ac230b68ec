"""The rules of endpoints, against data made by hand: errors that came up, time that was added since a mark."""

from __future__ import annotations

import random

import pytest

from django_perf.advisor.advice import HIGH, LOW, MEDIUM
from django_perf.advisor.rules.requests import around, error_spike, failing_endpoint, regression
from django_perf.metrics.catalog import EXCEPTION, REQUEST
from django_perf.reports.window import Window
from django_perf.store.models import Mark
from django_perf.store.reader import Range
from tests.reports.data import series, store
from tests.store.data import MIDNIGHT, compact_at

from .data import advised, minutes, severities

pytestmark = pytest.mark.django_db
BEFORE = MIDNIGHT - 3
# Long enough behind a mark at midnight.
AFTER = minutes(30)


def asked(count, errors=0, minute=MIDNIGHT, route="list", ms=10):
    """Store requests of one endpoint, some of which failed."""
    fine = series(REQUEST, (route, "GET", "2xx"), [ms * 1_000] * (count - errors))
    store(fine, series(REQUEST, (route, "GET", "5xx"), [ms * 1_000] * errors, errors=errors), minute=minute)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ((1_000, 0), (100, 10), ["error_spike"]),
        ((1_000, 0), (100, 9), []),
        ((1_000, 20), (1_000, 60), ["error_spike"]),
        ((1_000, 20), (1_000, 40), []),  # 2.6 deviations
        ((1_000, 20), (10_000, 250), []),  # a few more, and no more than chance
        ((100_000, 1_000), (100_000, 1_900), []),  # surely more, but not twice as many
        ((1_000, 300), (1_000, 310), ["failing_endpoint"]),
        ((99, 0), (1_000, 49), []),  # nobody knows how it was before
        ((99, 0), (1_000, 50), ["failing_endpoint"]),
        (None, (10, 10), ["failing_endpoint"]),
        (None, (9, 9), []),
        ((1_000, 500), (1_000, 0), []),
    ],
)
@pytest.mark.parametrize("is_merged", [False, True])
def test_errors_are_compared_with_those_before(before, now, expected, is_merged):
    if before is not None:
        asked(*before, minute=BEFORE)
    asked(*now)
    if is_merged:
        compact_at("default", MIDNIGHT + 1)
    assert [one.rule for one in advised(error_spike, failing_endpoint)] == expected


def test_a_spike_tells_both_rates_and_the_exception_that_comes_most():
    asked(1_000, 2, minute=BEFORE)
    asked(200, 40)
    store(series(EXCEPTION, ("list", "GET", "KeyError"), [1] * 30), series(EXCEPTION, ("list", "GET", "OSError"), [1]))
    (advice,) = advised(error_spike)
    assert advice.evidence == (
        "GET list fails 40 of 200 requests (20.0%), mostly KeyError; before, it failed 2 of 1,000 (0.2%)"
    )
    assert (advice.severity, advice.page, advice.params) == (HIGH, "endpoint", {"route": "list", "method": "GET"})
    assert advice.cost_ms == pytest.approx(400)


def spread(count, ms, seed=1):
    """Return times as endpoints have them: most about a median, some far longer."""
    chance = random.Random(seed)
    return [round(chance.lognormvariate(0, 0.6) * ms * 1_000) for _ in range(count)]


def timed(times, minute, route="list"):
    store(series(REQUEST, (route, "GET", "2xx"), times), minute=minute)


def mark(minute=MIDNIGHT, text="deploy 7"):
    Mark.objects.create(at=minute * 60.0 + 20, text=text)


def test_an_endpoint_that_is_slower_since_the_mark_is_told_with_what_it_adds():
    mark()
    for number in range(10):
        timed(spread(50, 20, number), MIDNIGHT - 20 + number)
        timed(spread(50, 40, number + 100), MIDNIGHT + 5 + number)
        timed(spread(50, 20, number + 200), MIDNIGHT + 5 + number, route="item")
        timed(spread(50, 20, number + 300), MIDNIGHT - 20 + number, route="item")
    (advice,) = advised(regression, window=AFTER)
    assert advice.evidence.startswith("GET list is slower since the mark 'deploy 7': mean 2")
    assert advice.severity == HIGH
    assert advice.params == {"route": "list", "method": "GET"}
    assert 8_000 < advice.cost_ms < 15_000  # 500 requests, 24 ms more each


def test_the_window_gets_its_part_of_what_is_added_since_the_mark():
    mark()
    for number in range(10):
        timed(spread(50, 20, number), MIDNIGHT - 20 + number)
        timed(spread(50, 40, number), MIDNIGHT + 5 + number)
    (whole,) = advised(regression, window=AFTER)
    (part,) = advised(regression, window=Window(Range(MIDNIGHT + 25, MIDNIGHT + 30), AFTER.now))
    assert part.cost_ms == pytest.approx(whole.cost_ms * 5 / 27)
    assert part.evidence == whole.evidence


@pytest.mark.parametrize(("others_ms", "severity"), [(20, HIGH), (200, MEDIUM), (2_000, LOW)])
def test_the_severity_is_the_part_of_the_sites_time_that_is_added(others_ms, severity):
    mark()
    for start, ms in ((MIDNIGHT - 20, 20), (MIDNIGHT + 5, 60)):
        timed(spread(500, ms, ms), start)
        timed([others_ms * 1_000] * 500, start, route="item")
    assert severities(regression, window=AFTER) == [("regression", severity)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (spread(99, 20), spread(500, 80)),
        (spread(500, 20), spread(99, 80)),
        (spread(500, 20), spread(500, 20, 2)),
        (spread(500, 20), spread(500, 22)),  # a tenth
        (spread(500, 0.2), spread(500, 0.8)),  # not a millisecond
        (spread(500, 80), spread(500, 20)),
        (spread(500, 20), [*spread(499, 20, 2), 60_000_000]),  # one that took a minute
    ],
)
def test_what_is_little_or_seldom_or_chance_is_no_regression(before, after):
    mark()
    timed(before, MIDNIGHT - 20)
    timed(after, MIDNIGHT + 5)
    assert advised(regression, window=AFTER) == []


def test_a_p95_that_rises_is_enough():
    mark()
    timed(spread(1_000, 20), MIDNIGHT - 20)
    timed([*spread(850, 20, 2), *[400_000] * 150], MIDNIGHT + 5)
    assert [one.rule for one in advised(regression, window=AFTER)] == ["regression"]


@pytest.mark.parametrize("at", [None, MIDNIGHT - 8 * 1_440, MIDNIGHT + 21, MIDNIGHT + 31])
def test_without_a_mark_or_right_after_it_nobody_compares(at):
    if at is not None:
        mark(at)
    timed(spread(500, 20), MIDNIGHT - 20)
    timed(spread(500, 80), MIDNIGHT + 5)
    assert advised(regression, window=AFTER) == []


def test_the_last_mark_counts():
    mark(MIDNIGHT - 100)
    mark(MIDNIGHT, "deploy 8")
    timed(spread(500, 20), MIDNIGHT - 20)
    timed(spread(500, 80), MIDNIGHT + 5)
    (advice,) = advised(regression, window=AFTER)
    assert "'deploy 8'" in advice.evidence


@pytest.mark.parametrize("age", [11, 100, 1_439, 3_000, 10_000])
def test_both_sides_of_a_mark_are_as_long_and_hold_nothing_of_its_minute(age):
    at = MIDNIGHT + 777
    end = at + age
    after, before = around(at * 60.0 + 59, Window(Range(end - 5, end), end * 60.0))
    assert before.span.end <= at < at + 3 <= after.span.start < after.span.end == end
    lengths = [one.span.end - one.span.start for one in (after, before)]
    assert lengths[0] <= lengths[1] < lengths[0] + 60


def test_a_mark_of_a_minute_ago_has_no_time_behind_it():
    assert around(MIDNIGHT * 60.0, minutes(10)) is None
    assert around(MIDNIGHT * 60.0, minutes(11)) is not None
