"""Alerts that fire stand above all advice."""

from __future__ import annotations

import pytest

from django_perf.conf import get_settings
from django_perf.store.models import AlertState
from tests.dashboard.conftest import ADDRESSES, ENDPOINT, OVERVIEW
from tests.dashboard.markup import asked


@pytest.fixture
def fire(db, settings):
    """Return a function that lets the one rule fire at an endpoint."""
    settings.DJANGO_PERF = {"ALERTS": [{"metric": "p95_ms", "endpoint": "*", "over": 500, "for": "5m", "name": "slow"}]}

    def add(endpoint, **fields):
        (rule,) = get_settings().alerts
        values = {"is_firing": True, "began": 60.0, "since": 1_728_000_000.0, "value": 812.5, **fields}
        AlertState.objects.create(alert=rule.id, endpoint=endpoint, **values)

    return add


def test_an_alert_that_fires_comes_first_and_leads_to_where_it_is(fire, show):
    fire("GET products/<int:pk>")
    for page in (OVERVIEW, ADDRESSES["advice"]):
        tone, text, link = show(page).notes()[0]
        assert tone == "perf-high"
        assert text == "slow: GET products/<int:pk> is at 812.5 ms, over 500, since 2024-10-04 00:00 UTC"
        assert link.startswith(ENDPOINT)
        assert asked(link) == {"route": "products/<int:pk>", "method": "GET"}
    assert show(ADDRESSES["advice"]).tables["alerts"][1][:3] == ["firing", "slow", "GET products/<int:pk>"]


def test_one_of_the_whole_site_leads_to_all_requests(fire, show):
    fire("", value=None)
    _, text, link = show().notes()[0]
    assert text.startswith("slow: the whole site is at – ms, over 500")
    assert link == ADDRESSES["requests"]


def test_what_has_recovered_is_history(fire, show):
    fire("GET list", is_firing=False)
    assert show().notes() == []
    assert show(ADDRESSES["advice"]).tables["alerts"][1][0] == "recovered"


def test_without_rules_there_is_no_table(show):
    assert show(ADDRESSES["advice"]).tables == {}
