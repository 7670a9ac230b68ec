"""The log of slow statements: one line for each execution, and nothing in it that a client has sent."""

from __future__ import annotations

import logging

import pytest
from django.db import connection, connections
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import ResolverMatch

from django_perf.db.slow_log import logger
from django_perf.metrics.recorder import recorder
from django_perf.middleware import TimingMiddleware

SLEEP = "SELECT pg_sleep(%s), %s AS secret"

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


@pytest.fixture(autouse=True)
def _threshold(settings):
    settings.DJANGO_PERF = {"SLOW_QUERY_SECONDS": 0.05}
    recorder.enabled = True


@pytest.fixture
def lines(caplog):
    """Return a function that gives the records of the log so far."""
    caplog.set_level(logging.WARNING, logger.name)
    return lambda: [record for record in caplog.records if record.name == logger.name]


def requested(view, **headers):
    """Have the middleware time `view` as a request."""

    def answer(request):
        request.resolver_match = ResolverMatch(answer, (), {}, route="shop/<int:pk>")
        view()
        return HttpResponse()

    TimingMiddleware(answer)(RequestFactory().get("/shop/secret@example.org", headers=headers))


def sleep(seconds, alias="default"):
    with connections[alias].cursor() as cursor:
        cursor.execute(SLEEP, [seconds, "secret@example.org"])
        cursor.fetchall()


def test_a_slow_statement_is_one_line_with_all_that_is_known(lines):
    requested(lambda: sleep(0.06), **{"X-Request-ID": "abcdef-123456"})
    (record,) = lines()
    line = sleep.__code__.co_firstlineno + 2
    assert record.duration_s == pytest.approx(0.06, abs=0.04)
    assert (record.alias, record.rows, record.route, record.method) == ("default", 1, "shop/<int:pk>", "GET")
    assert (record.place, record.request_id) == (f"db/test_slow_log.py:{line} in sleep", "abcdef-123456")
    assert record.sql == "SELECT pg_sleep(?), ? AS secret"
    assert len(record.query_id) == 12
    text = record.getMessage()
    assert text.startswith("slow query: 0.0")
    for part in (record.query_id, record.place, "GET shop/<int:pk>", "request_id=abcdef-123456", record.sql, "1 rows"):
        assert part in text


def test_nothing_that_was_sent_is_in_the_line(lines):
    requested(lambda: sleep(0.06))
    (record,) = lines()
    assert "example.org" not in repr(record.__dict__)


def test_a_fast_statement_is_not_logged_however_often_it_comes(lines):
    requested(lambda: [sleep(0.01) for _ in range(10)])
    assert lines() == []


def test_each_slow_execution_has_its_line(lines):
    requested(lambda: [sleep(seconds) for seconds in (0.06, 0, 0.07)])
    assert len(lines()) == 2
    assert len({record.request_id for record in lines()}) == 1


def test_a_statement_whose_rows_come_slowly_is_logged_with_the_time_of_all_of_them(lines):
    def view():
        with connections["sqlite"].cursor() as cursor:
            cursor.execute(
                "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 400000) SELECT x FROM t"
            )
            while cursor.fetchmany(1_000):
                pass

    requested(view)
    (record,) = lines()
    assert (record.rows, record.alias) == (400_000, "sqlite")


def test_a_cursor_that_nobody_closes_is_logged_at_the_end_of_the_request(lines):
    left = []

    def view():
        left.append(connection.cursor())
        left[0].execute(SLEEP, [0.06, ""])
        assert lines() == []

    requested(view)
    assert len(lines()) == 1
    left[0].close()
    assert len(lines()) == 1


def test_a_cursor_that_is_used_again_is_logged_then(lines):
    def view():
        with connection.cursor() as cursor:
            cursor.execute(SLEEP, [0.06, ""])
            cursor.execute("SELECT 1")
            assert len(lines()) == 1

    requested(view)
    assert len(lines()) == 1


def test_outside_a_request_there_is_no_route(lines):
    sleep(0.06)
    (record,) = lines()
    assert (record.route, record.method, record.request_id) == ("-", "-", "-")
    assert record.place.endswith("in sleep")


def test_a_process_that_records_nothing_logs_nothing(lines):
    recorder.enabled = False
    sleep(0.06)
    assert lines() == []


def test_a_hostile_request_id_cannot_forge_a_line(lines):
    requested(lambda: sleep(0.06), **{"X-Request-ID": "x\nWARNING forged"})
    (record,) = lines()
    assert record.request_id.isalnum()
    assert len(record.request_id) == 32


def test_the_shop_s_slow_sql_is_logged_once_with_its_line(lines, settings):
    settings.ROOT_URLCONF, settings.SHOP_FAULTS = "example_project.urls", {"slow-sql"}
    Client(SERVER_NAME="localhost").get("/slow-sql?s=0.06")
    (record,) = lines()
    assert record.place.startswith("shop/faults.py:")
    assert record.place.endswith("in slow_sql")
    assert (record.route, record.sql) == ("slow-sql", "SELECT pg_sleep(?)")
