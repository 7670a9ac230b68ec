"""What becomes of an alert, and who has to be told: values in, values out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.alerts.deciding import CLAIM_S, State, decided, due, in_order, is_over, parcels
from django_perf.metrics.alert_rules import rule_of
from django_perf.metrics.limits import Verdict

RULE = rule_of({"metric": "p95", "over": 500, "for": "5m"})
BAD, GOOD, UNKNOWN = (Verdict(RULE.limit, "GET /", value, 20) for value in (800.0, 200.0, None))
HOUR = 3_600.0


def after(*verdicts, state=None, rule=RULE):
    """Look once a minute; return the last state."""
    for number, verdict in enumerate(verdicts):
        state = decided(rule, state, verdict, number * 60.0)
    return state


def test_a_breach_begins_an_alert_and_what_is_no_breach_does_not():
    assert after(GOOD, UNKNOWN) is None
    state = after(GOOD, BAD)
    assert (state.is_firing, state.began, state.since, state.value) == (True, 60.0, 60.0, 800.0)


def test_an_alert_ends_when_its_figure_has_been_back_for_as_long():
    states = [after(BAD, *[GOOD] * number) for number in range(7)]
    assert [state.is_firing for state in states] == [True] * 6 + [False]
    assert (states[6].began, states[6].since, states[6].value) == (0.0, 360.0, 200.0)


def test_an_alert_of_hours_ends_after_five_minutes_and_one_of_a_minute_after_one():
    hours, minute = (replace(RULE, minutes=minutes) for minutes in (600, 1))
    assert not after(BAD, *[GOOD] * 6, rule=hours).is_firing
    assert after(BAD, GOOD, rule=minute).is_firing
    assert not after(BAD, GOOD, GOOD, rule=minute).is_firing


def test_a_figure_that_flaps_is_one_alert():
    state = after(*[BAD, GOOD, GOOD, GOOD, BAD] * 10)
    assert (state.is_firing, state.began) == (True, 0.0)


def test_too_few_requests_end_an_alert_as_good_ones_do():
    assert not after(BAD, *[UNKNOWN] * 6).is_firing


def test_one_that_comes_back_before_its_end_was_told_goes_on_for_those_who_know():
    ended = replace(after(BAD, *[GOOD] * 6), told={"email": (True, 0.0)})
    again = decided(RULE, ended, BAD, 420.0)
    assert (again.is_firing, again.began, again.since) == (True, 420.0, 420.0)
    assert due(again, ["email"], 420.0, HOUR) == []


@pytest.mark.parametrize(
    ("is_firing", "told", "now", "to"),
    [
        (True, {}, 0, ["email", "webhook"]),
        (True, {"email": (True, 0.0)}, 60, ["webhook"]),
        (True, {"email": (True, 0.0), "webhook": (True, 60.0)}, HOUR, ["email"]),
        (True, {"email": (False, 0.0), "webhook": (True, 60.0)}, 120, ["email"]),
        (False, {"email": (True, 0.0), "webhook": (False, 0.0)}, 60, ["email"]),
        (False, {"email": (False, 0.0), "webhook": (False, 0.0)}, 10 * HOUR, []),
        # Who never heard of the beginning hears of the end at least.
        (False, {"email": (False, 0.0)}, 60, ["webhook"]),
    ],
)
def test_each_channel_is_told_of_a_change_once_and_reminded(is_firing, told, now, to):
    state = State(RULE.id, "", is_firing, 0.0, 0.0, told=told, claimed=-CLAIM_S)
    assert due(state, ["email", "webhook"], now, HOUR) == to


def test_nobody_is_told_while_a_process_is_at_it():
    state = State(RULE.id, "", True, 0.0, 0.0, claimed=1_000.0)
    assert due(state, ["email"], 1_000.0 + CLAIM_S - 1, HOUR) == []
    assert due(state, ["email"], 1_000.0 + CLAIM_S, HOUR) == ["email"]


def test_a_state_is_forgotten_when_all_know_that_it_is_over():
    ended = State(RULE.id, "", False, 0.0, 0.0, told={"email": (False, 0.0)})
    assert is_over(ended, ["email"], 60.0)
    assert is_over(ended, [], 60.0)
    assert not is_over(ended, ["email", "webhook"], 60.0)
    assert is_over(ended, ["email", "webhook"], 25 * HOUR)
    assert not is_over(replace(ended, is_firing=True), ["email"], 25 * HOUR)


def test_news_come_before_ends_and_ends_before_reminders():
    told = {"email": (True, 0.0)}
    states = [
        State("a", "reminder", True, 0.0, 0.0, told=told),
        State("a", "end", False, 1.0, 0.0, told=told),
        State("a", "later", True, 3.0, 0.0),
        State("a", "news", True, 2.0, 0.0, told={"webhook": (True, 0.0)}),
    ]
    assert [state.endpoint for state in in_order(states, "email")] == ["news", "later", "end", "reminder"]


@given(st.integers(0, 100), st.integers(1, 30))
def test_messages_are_bounded_and_nothing_is_left_out(count, most):
    states = [State("a", str(number), True, 0.0, 0.0) for number in range(count)]
    found = parcels(states, most)
    assert len(found) <= most
    assert [state for part in found for state in part] == states
    assert all(len(part) == 1 for part in found[:-1])
