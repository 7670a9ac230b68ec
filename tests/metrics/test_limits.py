"""Limits as people write them, and what breaches one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.metrics import alert_rules
from django_perf.metrics.limits import METRICS, Limit, Verdict, limit_of, metric_of


@pytest.mark.parametrize(
    ("text", "metric", "bound", "is_over", "endpoint"),
    [
        ("p95=500ms", "p95_ms", 500, True, ""),
        ("p95=0.5s", "p95_ms", 500, True, ""),
        ("p95=500", "p95_ms", 500, True, ""),
        ("p95_ms=500", "p95_ms", 500, True, ""),
        (" p99 > 2s ", "p99_ms", 2_000, True, ""),
        ("error_rate=1%", "error_rate", 0.01, True, ""),
        ("error_rate=0.01@*", "error_rate", 0.01, True, "*"),
        ("cache_hit_ratio<80%", "cache_hit_ratio", 0.8, False, ""),
        ("errors=0", "errors", 0, True, ""),
        ("rate<2", "rate_per_s", 2, False, ""),
        ("queries=20@GET products/<int:pk>", "queries_per_request", 20, True, "GET products/<int:pk>"),
        ("db=10ms@GET a@b=c", "db_ms", 10, True, "GET a@b=c"),
    ],
)
def test_a_limit_is_understood(text, metric, bound, is_over, endpoint):
    assert limit_of(text) == Limit(METRICS[metric], pytest.approx(bound), is_over, endpoint)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no limit; write NAME=LIMIT"),
        ("p95", "is no limit"),
        ("p95=-1", "is no limit"),
        ("p95=1e3", "is no limit"),
        ("p95=nan", "is no limit"),
        ("p95=1h", "is no limit"),
        ("p95==1", "is no limit"),
        ("p97=1", "there is no metric 'p97'; did you mean 'p9"),
        ("zzzzz=1", "there is no metric 'zzzzz'; known are p50, p95, p99, mean, max"),
        ("p95=1%", "p95_ms is not measured in '%': behind the number stands ms, s, nothing"),
        ("errors=1ms", "errors is not measured in 'ms'"),
        ("error_rate=5", "error_rate is never over 1: write 5% or 0.05"),
        ("p95=1@get /", "'get /' is no endpoint"),
        ("p95=1@GET", "'GET' is no endpoint"),
    ],
)
def test_what_is_no_limit_is_refused_with_a_hint(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        limit_of(text)


@given(st.text(max_size=40))
def test_any_text_is_a_limit_or_refused(text):
    try:
        limit = limit_of(text)
    except ValueError:
        return
    assert limit.metric in METRICS.values()


@pytest.mark.parametrize(
    ("value", "over", "under"), [(99.9, False, True), (100, False, False), (100.1, True, False), (None, False, False)]
)
def test_only_what_is_beyond_the_bound_breaches(value, over, under):
    metric = metric_of("p95")
    assert Verdict(Limit(metric, 100), "", value).is_breach is over
    assert Verdict(Limit(metric, 100, is_over=False), "", value).is_breach is under


@pytest.mark.parametrize(
    ("text", "endpoint", "value", "said"),
    [
        ("p95=500ms", "", 812.34, "p95 of the whole site is 812 ms, 62% over 500 ms (7 requests)"),
        ("error_rate=1%", "GET /", 0.0125, "error_rate of GET / is 1.25 %, 25% over 1 % (7 requests)"),
        ("rate<2", "", 0.5, "rate of the whole site is 0.5/s, 75% under 2/s (7 requests)"),
        ("errors=0", "GET /", 3, "errors of GET / is 3, over 0 (7 requests)"),
        ("p95=500ms@*", "*", None, "p95 of each endpoint: nothing was measured"),
        ("p95=500ms", "", 400, "p95 of the whole site is 400 ms, not over 500 ms (7 requests)"),
    ],
)
def test_a_verdict_says_what_where_and_by_how_much(text, endpoint, value, said):
    assert Verdict(limit_of(text), endpoint, value, 7).text() == said


GOOD = {"metric": "p95_ms", "endpoint": "*", "over": 500, "for": "5m"}


def faults(*rules):
    return [text for text, _, _ in alert_rules.problems(list(rules), "ALERTS")]


def test_a_rule_is_read():
    (rule,) = alert_rules.rules([{**GOOD, "name": "slow\n", "min_requests": 3}])
    assert (rule.limit, rule.minutes, rule.name, rule.min_requests) == (limit_of("p95=500ms@*"), 5, "slow\\x0a", 3)
    assert (rule.title, rule.text(), rule.duration) == ("slow\\x0a", "p95 over 500 ms for 5m", "5m")
    (rule,) = alert_rules.rules([{"metric": "rate", "under": 1, "for": "2h"}])
    assert (rule.minutes, rule.least, rule.title) == (120, 0, "rate under 1/s for 120m")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("p95", "ALERTS[0] is a str, not a dict"),
        ({**GOOD, "fro": "5m"}, "ALERTS[0] has no key 'fro'"),
        ({**GOOD, 5: 5}, "ALERTS[0] has no key '5'"),
        ({**GOOD, "metric": "p97"}, "ALERTS[0]['metric'] is 'p97'"),
        ({**GOOD, "metric": ["p95"]}, "ALERTS[0]['metric'] is"),
        ({**GOOD, "endpoint": "products/"}, "ALERTS[0]['endpoint'] is 'products/'"),
        ({**GOOD, "over": -1}, "ALERTS[0]['over'] is '-1'"),
        ({**GOOD, "over": True}, "ALERTS[0]['over'] is 'True'"),
        ({**GOOD, "over": "500"}, "ALERTS[0]['over'] is '500'"),
        ({**GOOD, "over": float("nan")}, "ALERTS[0]['over'] is 'nan'"),
        ({**GOOD, "over": 10**400}, "ALERTS[0]['over'] is '1000"),
        ({**GOOD, "under": 1}, "ALERTS[0] has both 'over' and 'under'"),
        ({"metric": "p95"}, "ALERTS[0] has neither 'over' nor 'under'"),
        ({"over": 1}, "ALERTS[0] has no 'metric'"),
        ({**GOOD, "for": "0m"}, "ALERTS[0]['for'] is '0m'"),
        ({**GOOD, "for": "13h"}, "ALERTS[0]['for'] is '13h'"),
        ({**GOOD, "for": 5}, "ALERTS[0]['for'] is '5'"),
        ({**GOOD, "name": 5}, "ALERTS[0]['name'] is '5'"),
        ({**GOOD, "min_requests": 0}, "ALERTS[0]['min_requests'] is '0'"),
        ({"metric": "error_rate", "over": 5}, "ALERTS[0] waits for error_rate beyond 1"),
    ],
)
def test_each_mistake_in_a_rule_is_told(rule, said):
    (text,) = faults(rule)
    assert said in text


def test_every_mistake_is_told_and_rules_that_watch_the_same_are_one():
    assert len(faults({"fro": 1}, "x")) == 4
    assert faults(GOOD, {**GOOD, "metric": "p95", "name": "again"}) == ["ALERTS[1] watches what ALERTS[0] does"]
    assert faults(GOOD, {**GOOD, "for": "6m"}) == []


def test_the_name_of_a_rule_is_not_what_it_watches():
    ids = [one.id for one in alert_rules.rules([GOOD, {**GOOD, "name": "x"}, {**GOOD, "over": 501}])]
    assert ids[0] == ids[1] != ids[2]
