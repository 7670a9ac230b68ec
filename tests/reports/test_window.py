"""Ranges of time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.reports.window import Window, last, minutes_of, window_of
from django_perf.store.reader import Range
from django_perf.store.tiers import DAY, HOUR, TIERS, resolution
from tests.store.data import MIDNIGHT

NOON = (MIDNIGHT + 12 * HOUR) * 60 + 20.0  # 20 seconds past 12:00


@pytest.mark.parametrize(
    ("text", "minutes"), [("5m", 5), ("1h", 60), ("24h", DAY), ("7d", 7 * DAY), (" 90M ", 90), ("400d", 400 * DAY)]
)
def test_a_range_is_understood(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    "text", ["", "5", "m", "0m", "-5m", "1.5h", "5 m", "5m5m", "401d", "9999999m", "٥m", "1w", "5s"]
)
def test_what_is_no_range_is_refused_with_a_hint(text):
    with pytest.raises(ValueError, match="is no time range; write for instance 5m, 1h, 24h, 7d, at most 400d"):
        minutes_of(text)


def test_a_window_ends_with_the_minute_that_runs():
    assert last("5m", NOON).span == Range(MIDNIGHT + 716, MIDNIGHT + 721)


def test_rates_are_per_second_that_has_passed():
    assert last("5m", NOON).seconds == 4 * 60 + 20
    assert Window(Range(MIDNIGHT, MIDNIGHT + 5), NOON).seconds == 300
    assert Window(Range(MIDNIGHT, MIDNIGHT + 5), MIDNIGHT * 60 + 0.25).seconds == 1


def test_a_window_says_its_ends_in_utc():
    window = last("5m", NOON)
    assert (window.since, window.until) == (
        datetime(2024, 10, 4, 11, 56, tzinfo=UTC),
        datetime(2024, 10, 4, 12, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(("text", "size"), [("23h", 1), ("24h", 10), ("6d", 10), ("7d", 60), ("34d", 60), ("35d", DAY)])
def test_the_beginning_is_rounded_down_to_what_is_still_kept_of_that_age(text, size):
    window = last(text, NOON + 60)
    asked = window.span.end - minutes_of(text)
    assert window.span.start == asked - asked % size


@given(st.integers(1, 400 * DAY), st.integers(0, 3 * DAY))
def test_a_window_is_never_shorter_than_asked_and_begins_where_a_kept_bucket_does(minutes, later):
    window = last(f"{minutes}m" if minutes < 10**6 else "400d", NOON + later * 60)
    assert window.span.end - window.span.start >= minutes
    assert window.span.start % resolution(minutes) == 0


@pytest.mark.parametrize(("text", "step"), [("5m", 1), ("3h", 1), ("181m", 10), ("24h", 10), ("7d", 60), ("30d", DAY)])
def test_a_chart_has_points_as_fine_as_180_of_them_allow(text, step):
    assert last(text, NOON).step == step


@given(st.integers(1, 400 * DAY))
def test_a_chart_asks_for_no_finer_points_than_are_kept(minutes):
    assert last(f"{minutes}m", NOON).step >= resolution(minutes)


def test_the_window_before_has_the_same_length_and_has_passed():
    window = last("5m", NOON)
    assert window.before.span == Range(window.span.start - 5, window.span.start)
    assert window.before.seconds == 300


def test_the_window_before_begins_where_a_kept_bucket_does():
    window = last("13h", NOON)
    assert window.span.start % 10 == 1
    assert window.before.span == Range(window.span.start - 13 * HOUR - 1, window.span.start)


@pytest.mark.parametrize(
    ("since", "until", "span"),
    [
        ("5m", "", (716, 721)),
        ("1h", "2024-10-04T11:00", (600, 660)),
        ("2024-10-04T10:30", "", (630, 721)),
        ("2024-10-04T10:30", "2024-10-04T11:00:20", (630, 661)),
        ("2024-10-04T12:30+02:00", "2024-10-04T13:00+02:00", (630, 660)),
        ("2024-10-04 10:30", "2030-01-01", (630, 721)),
    ],
)
def test_a_window_has_a_beginning_or_a_length_and_maybe_an_end(since, until, span):
    assert window_of(since, until, now=NOON).span == Range(*(MIDNIGHT + minute for minute in span))


def test_both_ends_are_rounded_outwards_to_what_is_still_kept():
    window = window_of("2024-10-01T10:33", "2024-10-01T10:38", now=NOON)
    assert window.span == Range(MIDNIGHT - 3 * DAY + 630, MIDNIGHT - 3 * DAY + 640)
    assert (window.seconds, window.step) == (600, 10)
    assert window_of("2024-06-01T00:00", "2024-06-02", now=NOON).step == DAY


@pytest.mark.parametrize(
    ("since", "until", "against", "message"),
    [
        (
            "yesterday",
            "",
            "",
            "'yesterday' is no time range; write for instance 5m, 1h, 24h, 7d, at most 400d, or 2026-11-29T14:05",
        ),
        ("2024-10-04T10:00", "noon", "", "'noon' is no time"),
        ("2024-10-04T11:00", "2024-10-04T10:00", "", "nothing lies between '2024-10-04T11:00' and"),
        ("2024-10-04T13:00", "", "", "nothing lies between"),
        ("1999-01-01", "", "", "nothing is kept that is older than 400 days"),
        ("0001-01-01", "", "", "older than 400 days"),
        ("5m", "", "tomorrow", "'tomorrow' is nothing to compare with; it is one of previous, yesterday, week"),
    ],
)
def test_what_is_no_window_is_refused_with_a_hint(since, until, against, message):
    with pytest.raises(ValueError, match=message):
        window_of(since, until, against, now=NOON)


@pytest.mark.parametrize(
    ("against", "span", "seconds"),
    [
        ("previous", (711, 716), 300),
        ("yesterday", (710 - DAY, 730 - DAY), 1_200),
        ("week", (660 - 7 * DAY, 780 - 7 * DAY), 7_200),
    ],
)
def test_a_window_is_compared_with_whole_buckets_of_another_time(against, span, seconds):
    before = window_of("5m", "", against, now=NOON).before
    assert before.span == Range(*(MIDNIGHT + minute for minute in span))
    assert before.seconds == seconds


def test_the_tiers_reach_back_as_far_as_the_longest_range():
    assert minutes_of("400d") == TIERS[-1].keep
