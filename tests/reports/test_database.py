"""The live reports: what the databases say, once per answer, and only where they are asked."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.db import connections

from django_perf.advisor.report import REPORTS
from django_perf.reports import database
from django_perf.reports.answer import answer
from django_perf.reports.window import last

pytestmark = pytest.mark.django_db(transaction=True)

LIVE = [name for name, report in REPORTS.items() if report.is_live]


def perf(*arguments):
    out = io.StringIO()
    call_command("perfstats", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def asked(monkeypatch):
    """The aliases that were asked, in order."""
    seen = []

    def facts(alias):
        seen.append(alias)
        return database_facts(alias)

    database_facts = database.facts
    monkeypatch.setattr(database, "facts", facts)
    return seen


def test_each_live_report_is_answered_by_name():
    for name in LIVE:
        perf(name)
    assert "connections" in perf("database")
    assert "products_newest" in perf("database_indexes", "--limit=500")
    assert "product_images" in perf("database_tables", "--limit=500")


def test_nobody_asks_the_databases_unless_told_to(asked):
    perf()
    perf("--format", "json")
    assert asked == []


def test_several_reports_of_one_answer_ask_each_database_once(asked):
    answer(LIVE, last("1h"), known=REPORTS)
    assert asked == ["default"]


def test_a_second_name_of_the_same_database_is_not_asked_again(asked, monkeypatch):
    monkeypatch.setitem(connections.settings, "twin", connections.settings["default"])
    try:
        answer(["database"], last("1h"), known=REPORTS)
        assert asked == ["default"]
    finally:
        del connections["twin"]


def test_the_urgent_stands_first(monkeypatch):
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE near (id serial)")
        cursor.execute("SELECT setval('near_id_seq', 2000000000)")
    try:
        rows = answer(["database"], last("1h"), known=REPORTS).tables["database"].rows
        assert (rows[0]["state"], rows[0]["check"], rows[0]["what"]) == ("act", "sequence", "near_id_seq")
        advice = answer(["advice"], last("1h"), known=REPORTS).tables["advice"].rows
        assert (advice[0]["severity"], advice[0]["rule"]) == ("high", "database")
        assert "near_id_seq" in advice[0]["evidence"]
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("DROP TABLE near")
