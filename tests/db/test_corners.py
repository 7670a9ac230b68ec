"""The corners of measuring statements: nothing waits, nothing is lost, and no line is wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from contextvars import copy_context

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import BinaryField, JSONField, Value
from django.http import HttpResponse
from django.template import engines
from django.template.base import Node, NodeList
from django.test import RequestFactory
from psycopg2 import sql

from django_perf.db import cursor as cursors
from django_perf.db.cursor import Executing, Fetching, measured
from django_perf.metrics.catalog import BLOCK, CALL_SITE
from django_perf.metrics.recorder import Recorder, recorder
from django_perf.metrics.samples import MOST_WAITING
from django_perf.metrics.trace import FOLD_AT, Trace
from django_perf.middleware import TimingMiddleware
from django_perf.testing import assert_max_queries

from .conftest import findings, series, statements

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


def ask(*values, statement="SELECT %s + 0"):
    with connection.cursor() as cursor:
        for value in values:
            cursor.execute(statement, [value])


def drained():
    return {key: aggregate for table in recorder.drain().values() for key, aggregate in table.items()}


def losses():
    return {key[2]: aggregate.histogram.sum for key, aggregate in drained().items() if key[0] == "loss"}


# --- nothing waits ------------------------------------------------------------------------------------------------


def test_what_is_measured_while_the_same_thread_folds_does_not_wait_for_itself():
    """The garbage collector may run anywhere, and finalise what then sends a query."""
    own = Recorder(clock=lambda: 60.0)
    own.enabled = True

    class Finalised:
        def __del__(self):
            own.record(BLOCK, ("finalised",), 7)

    def expand(rows):
        leaked = Finalised()
        leaked.itself = leaked
        del leaked
        gc.collect()
        return [(1, (("block", "folded"), (5,), (), None)) for _ in rows]

    own.expand = expand
    own.finished.append(object())
    own.fold()
    assert {key[1]: one.histogram.sum for key, one in own.drain()[1].items()} == {"folded": 5, "finalised": 7}


# --- nothing is lost ----------------------------------------------------------------------------------------------


class Odd:
    """A parameter whose hash says in a way of its own that there is none."""

    def __hash__(self):
        raise RuntimeError


@pytest.mark.parametrize("value", [bytearray(b"abc"), [1], {}, Odd()])
def test_a_parameter_without_a_hash_costs_no_execution(trace, value):
    cursor = connections["sqlite"].cursor()
    raw = cursor.cursor
    cursor.cursor = type("Raw", (), {"rowcount": 1, "execute": lambda *args: None})()
    for _ in range(5):
        cursor.execute("SELECT length(%s)", [memoryview(value) if isinstance(value, bytearray) else value])
    raw.close()
    assert statements(trace)["sqlite", "SELECT length(?)"] == (5, 5)


def test_a_bytearray_of_the_orm_is_measured_on_sqlite(trace):
    rows = Group.objects.using("sqlite").annotate(j=Value(bytearray(b"x"), output_field=BinaryField()))
    for _ in range(5):
        list(rows.all())
    assert trace.queries == 5


def test_every_line_is_counted_when_most_executions_are_folded(trace):
    def first():
        ask(*range(21))

    def second():
        with connection.cursor() as cursor:
            for number in range(100, 980):
                cursor.execute("SELECT %s + 0", [number])

    def third():
        ask(*range(1_000, 1_150))

    first(), second(), third()
    assert trace.queries == 1_051
    found = {place.split(" in ")[1]: calls for _, place, _, calls, _ in findings(trace)["n_plus_one"]}
    assert sum(found.values()) == 1_051
    assert found[second.__qualname__.replace(".<locals>", "")] == pytest.approx(880, abs=40)
    assert sum(counters[0] for _, counters in series(trace, CALL_SITE).values()) == 1_051


@pytest.mark.parametrize("count", [FOLD_AT - 100, FOLD_AT + 100, 3 * FOLD_AT])
def test_the_very_same_question_is_a_duplicate_however_often(trace, count):
    ask(*[1] * count)
    found = findings(trace)
    assert set(found) == {"duplicate"}
    assert sum(row[3] for row in found["duplicate"]) == count - 1


def test_a_slow_statement_that_is_folded_away_is_logged_once(trace, caplog, monkeypatch):
    caplog.set_level(logging.WARNING, "django_perf.slow_queries")
    monkeypatch.setattr("django_perf.db.watch.slow_ns", lambda: 2e8)
    ask(*[0] * (FOLD_AT - 1), 0.25, 0, statement="SELECT pg_sleep(%s)")
    trace.watch.end(trace)
    (record,) = caplog.records
    assert record.duration_s >= 0.25


def test_one_request_that_cannot_be_described_changes_nothing_for_the_others():
    class Broken(dict):
        def items(self):
            raise RuntimeError("dictionary changed size during iteration")

    def looped():
        own = Trace(0)
        copy_context().run(lambda: (cursors.current.set(own), ask(*range(25))))
        return own

    def counted(*traces):
        recorder.enabled = True
        for own in traces:
            recorder.finished.append((60.0, own, None, "GET", 200, 1_000, -1, None, 0, False))
        return next(one.counters for key, one in drained().items() if key[0] == "finding")

    broken = Trace(0)
    broken.statements = Broken()
    assert counted(looped()) == counted(looped(), broken) == [25, 25]


@pytest.mark.django_db(databases=["default", "sqlite"], transaction=True)
def test_what_a_task_of_a_request_sends_after_its_end_belongs_to_no_request():
    recorder.enabled = True

    async def main():
        tasks = []

        async def later():
            for _ in range(30):
                await sync_to_async(Group.objects.count)()
            await sync_to_async(connections.close_all)()

        async def view(request):
            tasks.append(asyncio.create_task(later()))
            return HttpResponse("x")

        await TimingMiddleware(view)(RequestFactory().get("/"))
        await tasks[0]

    asyncio.run(main())
    recorder.fold()
    found = {key[1]: one.histogram.count for key, one in drained().items() if key[0] == "endpoint_query"}
    assert found == {"(no request)": 30}


def test_examples_that_find_no_room_are_counted():
    recorder.enabled = True
    for number in range(MOST_WAITING + 30):
        recorder.samples.offer(("slow_request", str(number), "GET"), ("a", "GET"), 1, dict)
    assert losses() == {"an example: too many wait for a flush": 30}
    assert len(recorder.samples.take()) == MOST_WAITING


def test_threads_of_one_request_lose_nothing_when_executions_are_folded(trace, monkeypatch):
    connections["default"].ensure_connection()
    raw = type("Raw", (), {"rowcount": 0, "close": lambda self: None})

    def work(number):
        cursor = connections["default"].make_cursor(raw())
        for count in range(5_000):
            cursor._note("SELECT 1", (count, number), 0)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        # The connection belongs to this thread; its cursors are asked to note only.
        threads = [threading.Thread(target=copy_context().run, args=(work, number)) for number in range(3)]
        monkeypatch.setattr(connections["default"], "validate_thread_sharing", lambda: None)
        maker = connections["default"].make_cursor
        monkeypatch.setattr(
            sys.modules[__name__], "connections", {"default": type("One", (), {"make_cursor": staticmethod(maker)})}
        )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert trace.queries == 15_000


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall", "close"])
def test_who_still_fetches_from_an_execution_that_was_folded_gets_its_rows(trace, fetch):
    ask(*range(500))
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s + 0", [7])
        ask(*range(FOLD_AT - 490))
        assert cursor.at > len(cursor.runs)
        assert getattr(cursor, fetch)() in ((7,), [(7,)], None)
    assert trace.queries == FOLD_AT + 11


def test_a_statement_that_fails_after_a_long_time_is_logged_with_its_code(trace, caplog, settings):
    caplog.set_level(logging.WARNING, "django_perf.slow_queries")
    settings.DJANGO_PERF = {"SLOW_QUERY_SECONDS": 0.1}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 200")
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute("SELECT pg_sleep(5), 'secret'")
    (record,) = caplog.records
    assert (record.error, record.sql, record.route) == ("57014", "SELECT pg_sleep(?), ?", "(unresolved)")
    assert "failed with 57014, id=" in record.getMessage()
    assert "test_corners.py" in record.place


# --- no finding and no line is wrong ------------------------------------------------------------------------------


def test_as_many_lines_as_one_would_look_at_in_turn_are_told_apart(trace):
    def page():
        with connection.cursor() as cursor:
            for number in range(100):
                cursor.execute("SELECT %s + 0", [number])
                cursor.execute("SELECT %s + 0", [-number - 1])
                cursor.execute("SELECT %s + 0", [number + 1_000])
                cursor.execute("SELECT %s + 0", [number + 2_000])
                cursor.execute("SELECT %s + 0", [number + 3_000])
                cursor.execute("SELECT %s + 0", [number + 4_000])
                cursor.execute("SELECT %s + 0", [number + 5_000])

    page()
    calls = [row[3] for row in findings(trace)["n_plus_one"]]
    assert (len(calls), sum(calls)) == (7, 700)
    assert max(calls) < 300


@pytest.mark.parametrize(
    ("field", "values"), [(BinaryField(), [b"%d" % n for n in range(25)]), (JSONField(), [{"n": n} for n in range(25)])]
)
def test_what_drivers_wrap_is_no_duplicate_of_what_has_taken_its_address(trace, field, values):
    Group.objects.create(name="a")
    for value in values:
        Group.objects.annotate(j=Value(value, output_field=field)).get()
    assert set(findings(trace)) == {"n_plus_one"}


def test_savepoints_and_statements_that_are_known_by_type_only_are_no_loop(trace):
    tables = ["auth_group", "auth_user", "auth_permission", "django_content_type"] * 5
    for number, table in enumerate(tables):
        with transaction.atomic():
            Group.objects.create(name=f"g{number}")
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
    assert [row[0].split()[0] for row in findings(trace)["n_plus_one"]] == ["INSERT"]


def test_a_column_called_limit_is_none(trace):
    with connection.cursor() as cursor:
        cursor.execute('SELECT n AS "limit" FROM generate_series(1, 1500) n')
        cursor.fetchall()
    assert set(findings(trace)) == {"unbounded"}


def test_each_line_of_a_template_is_named(trace):
    Group.objects.bulk_create(Group(name=f"g{number}") for number in range(3))
    template = engines["django"].from_string(
        "{% for g in a %}{{ g.user_set.count }}{% endfor %}\n\n{% for g in a %}\n{{ g.user_set.count }}{% endfor %}"
    )
    template.render({"a": list(Group.objects.all())})
    assert {row[1]: row[3] for row in findings(trace)["template"]} == {"(template):1": 3, "(template):4": 3}


class Inner(Node):
    """A node that was made by hand: nobody has given it an origin and a token."""

    def render(self, context):
        return str(Group.objects.count())


class Outer(Node):
    """A node with others inside."""

    def __init__(self):
        self.nodelist = NodeList([Inner()])

    def render(self, context):
        return self.nodelist.render(context)


def test_nodes_that_were_made_by_hand_are_named_by_what_includes_them(trace):
    recorder.enabled = True
    template = engines["django"].from_string("\n{{ a }}")
    template.template.nodelist.append(Outer())
    with assert_max_queries(1):
        template.render({})
    ((_, place, *_),) = findings(trace)["template"]
    assert "test_corners.py" in place
    assert losses() == {}


def test_a_loop_over_iterator_says_what_to_write_instead(trace):
    for number in range(25):
        list(Group.objects.filter(name=f"p{number}").iterator())
    ((_, _, remedy, *_),) = findings(trace)["n_plus_one"]
    assert remedy.startswith("one query of Group with __in")


@pytest.mark.parametrize("name", ["fetchone", "fetchmany", "fetchall", "close"])
def test_who_patches_the_fetching_of_django_s_cursor_is_called(monkeypatch, name):
    monkeypatch.setattr(CursorWrapper, name, lambda self, *args: "theirs", raising=False)
    made = measured.__wrapped__(CursorWrapper, "default", "postgresql")
    assert issubclass(made, Executing)
    assert not issubclass(made, Fetching)
    assert getattr(made(None, connection), name)() == "theirs"
