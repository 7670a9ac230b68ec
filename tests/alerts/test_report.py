"""The report on alerts, and the checks."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks

from django_perf.alerts.checks import check_alerts
from django_perf.checks import check_settings
from tests.reports.data import HERE

from .conftest import ADMINS, SLOW

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


def rows(alias):
    from django_perf.reports.alerts import ALERTS
    from django_perf.store.reader import consistent

    return consistent(alias, lambda snapshot: ALERTS.table(snapshot, HERE)).rows


def test_the_report_has_each_rule_and_where_it_fires(site):
    site.rules({**SLOW, "endpoint": "*"}, {"metric": "error_rate", "over": 0.01}, ALERT_EMAILS=False)
    site.passes(1, ms=900, route="/slow")
    firing, quiet = rows(site.alias)
    assert firing == {
        "state": "firing",
        "name": "slow site",
        "endpoint": "GET /slow",
        "value": pytest.approx(900, rel=0.02),
        "limit": 500,
        "side": "over",
        "unit": "ms",
        "for": "5m",
        "since": "2024-10-04T00:01:21+00:00",
    }
    assert (quiet["state"], quiet["name"], quiet["endpoint"], quiet["value"], quiet["since"]) == (
        "ok",
        "error_rate over 1 % for 5m",
        "the whole site",
        None,
        None,
    )
    site.passes(6, ms=100, route="/slow")
    assert rows(site.alias)[0]["state"] == "ending"
    site.passes(10, ms=100, route="/slow")
    assert [row["state"] for row in rows(site.alias)] == ["ok", "ok"]


def test_mails_to_nobody_are_a_warning(settings):
    settings.DJANGO_PERF = {"ALERT_EMAILS": True}
    settings.ADMINS = []
    assert [message.id for message in check_alerts()] == ["django_perf.W011"]
    assert "django_perf.W011" in [message.id for message in run_checks(tags=["django_perf"])]
    settings.ADMINS = ADMINS
    assert check_alerts() == []


def test_a_wrong_rule_is_an_error_that_says_what_it_takes(settings):
    settings.DJANGO_PERF = {"ALERTS": [{"metirc": "p95", "over": 5}]}
    unknown, missing = check_settings()
    assert (unknown.id, unknown.hint) == ("django_perf.E001", "Did you mean 'metric'?")
    assert (missing.id, missing.msg) == ("django_perf.E002", "DJANGO_PERF['ALERTS'][0] has no 'metric'")
    assert check_alerts() == []


@pytest.mark.parametrize("every", [0, 59, "3600", True])
def test_reminders_come_once_a_minute_at_the_most(settings, every):
    settings.DJANGO_PERF = {"ALERT_EVERY": every}
    (message,) = check_settings()
    assert message.id == "django_perf.E002"
