"""Metrics, keys of rules and the webhook's JSON stand in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from django.apps import apps

from django_perf.alerts.deciding import State
from django_perf.alerts.messages import written
from django_perf.alerts.watchman import Watchman
from django_perf.metrics.alert_rules import KEYS, rule_of
from django_perf.metrics.limits import METRICS
from django_perf.reports.requests import REQUESTS

TEXT = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()


def test_every_metric_is_documented_and_a_column_of_requests():
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| `([a-z0-9_]+)` \|", TEXT, re.MULTILINE)
    assert rows == [(metric.name, metric.short) for metric in METRICS.values()]
    for metric in METRICS.values():
        assert REQUESTS.column(metric.name).unit == metric.unit


def test_every_key_of_a_rule_is_documented():
    table = TEXT[TEXT.index("| key |") : TEXT.index("| metric | short |")]
    first = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([a-z_]+)`", first)) == set(KEYS)


def test_every_key_of_the_webhook_is_documented():
    part = TEXT[TEXT.index("## Webhook") :]
    rule = rule_of({"metric": "p95", "over": 1})
    states = [State(rule.id, "GET /", True, 0.0, 0.0, value=2.0)] * 2
    for message in (written(states[:1], {rule.id: rule}, lambda endpoint: "/x"), written(states, {rule.id: rule}, str)):
        for key in message.data:
            assert f'"{key}"' in part or f"`{key}`" in part


def test_the_watchman_looks_after_the_housekeeping():
    assert isinstance(apps.get_app_config("django_perf").flusher._chore._then, Watchman)
