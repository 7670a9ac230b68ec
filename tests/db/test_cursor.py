"""What the cursors measure of real statements, on PostgreSQL and on SQLite."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from django_perf.db import cursor as cursors
from django_perf.db.cursor import Executing, Fetching, measured
from django_perf.db.instrument import install
from django_perf.db.shapes import Shapes
from django_perf.metrics.catalog import ENDPOINT_QUERY, QUERY_ERROR
from django_perf.metrics.recorder import recorder
from django_perf.metrics.statement import MARK, column
from django_perf.metrics.statement import calls as executions
from django_perf.metrics.trace import FOLD_AT, MAX_SERIES
from example_project.shop.models import Category

from .conftest import series, statements, times

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])
EACH = pytest.mark.parametrize("alias", ["default", "sqlite"])
ROWS = "SELECT x FROM (VALUES (1), (2), (3)) AS t(x)"
ROWS_ON = {"default": ROWS, "sqlite": "SELECT column1 FROM (VALUES (1), (2), (3))"}
FAILED = "SELECT nothing FROM nowhere"


def users(alias="default"):
    return get_user_model().objects.using(alias)


@EACH
def test_the_cursors_of_each_alias_are_ours_and_django_s(alias):
    with connections[alias].cursor() as cursor:
        assert isinstance(cursor, Fetching)
        assert isinstance(cursor, CursorWrapper)


@EACH
def test_a_second_installation_changes_nothing(alias):
    connections[alias].ensure_connection()
    before = dict(vars(connections[alias]))
    install(connections[alias])
    assert vars(connections[alias]) == before


@EACH
def test_statements_are_counted_by_alias_and_shape(trace, alias):
    for number in range(3):
        with connections[alias].cursor() as cursor:
            cursor.execute(f"SELECT {number}")
    assert statements(trace)[alias, "SELECT ?"][0] == 3
    assert trace.queries == 3
    assert trace.query_ns > 0


@EACH
@pytest.mark.parametrize("fetch", ["fetchall", "fetchmany", "fetchone"])
def test_rows_are_counted_however_they_are_fetched(trace, alias, fetch):
    with connections[alias].cursor() as cursor:
        cursor.execute(ROWS_ON[alias])
        if fetch == "fetchall":
            assert len(cursor.fetchall()) == 3
        elif fetch == "fetchmany":
            assert [len(cursor.fetchmany(2)), len(cursor.fetchmany(size=2)), len(cursor.fetchmany())] == [2, 1, 0]
        else:
            assert [cursor.fetchone() is not None for _ in range(4)] == [True, True, True, False]
    ((_, rows),) = statements(trace).values()
    assert rows == 3


@EACH
def test_the_rows_of_the_orm_are_counted(trace, alias):
    for number in range(7):
        users(alias).create(username=f"u{number}")
    trace.statements.clear()
    assert len(list(users(alias).all())) == 7
    assert [rows for _, rows in statements(trace).values()] == [7]


def test_rows_that_postgresql_has_sent_count_though_nobody_fetches_them(trace):
    with connection.cursor() as cursor:
        cursor.execute(ROWS)
        cursor.fetchone()
    ((_, rows),) = statements(trace).values()
    assert rows == 3


@EACH
def test_rows_that_a_statement_changes_are_counted(trace, alias):
    for number in range(4):
        users(alias).create(username=f"u{number}")
    trace.statements.clear()
    users(alias).update(first_name="x")
    assert [rows for _, rows in statements(trace).values()] == [4]


@pytest.mark.django_db(databases=["default", "sqlite"], transaction=True)
def test_a_server_side_cursor_counts_the_time_and_rows_of_its_fetches(trace):
    Category.objects.bulk_create(Category(name=f"c{number}", slug="c") for number in range(25))
    trace.statements.clear()
    assert sum(1 for _ in Category.objects.iterator(chunk_size=10)) == 25
    ((calls, rows),) = statements(trace).values()
    assert (calls, rows) == (1, 25)


def test_the_time_of_fetching_belongs_to_the_statement(trace, monkeypatch):
    clock = iter(range(0, 10**12, 1_000_000))
    monkeypatch.setattr(cursors, "perf_counter_ns", lambda: next(clock))
    with connection.cursor() as cursor:
        cursor.execute(ROWS)
        executed = sum(times(trace).values())
        cursor.fetchone()
        cursor.fetchmany(1)
        cursor.fetchall()
    assert executed == 1_000_000
    assert sum(times(trace).values()) == 4_000_000


@EACH
def test_a_failing_statement_is_an_error_with_its_code_and_still_raises(trace, alias):
    with pytest.raises(DatabaseError), transaction.atomic(alias), connections[alias].cursor() as cursor:
        cursor.execute(FAILED)
    (values, counters) = series(trace, ENDPOINT_QUERY)[alias, FAILED]
    assert (len(values), counters[0]) == (1, 1)
    code = {"default": "42P01", "sqlite": "SQLITE_ERROR"}[alias]
    assert series(trace, QUERY_ERROR)[alias, FAILED, code] == ([1], [])


def test_a_unique_violation_is_told_from_other_errors(trace):
    users().create(username="twice")
    with pytest.raises(DatabaseError), transaction.atomic():
        users().create(username="twice")
    assert [code for _, _, code in series(trace, QUERY_ERROR)] == ["23505"]


@pytest.mark.django_db(databases=["default", "sqlite"], transaction=True)
def test_a_failure_while_rows_are_fetched_is_an_error_of_the_statement(trace):
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute("SELECT 1 / (3 - x) FROM generate_series(1, 5) AS t(x)")
        with pytest.raises(DatabaseError):
            cursor.fetchall()
    ((_, _, code),) = series(trace, QUERY_ERROR)
    assert code == "22012"


def test_executemany_is_one_statement_and_never_a_repetition(trace):
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.executemany("SELECT %s", [(1,), (2,)])
    assert statements(trace)["default", "SELECT ?"][0] == 2
    (runs,) = trace.statements.values()
    assert len(set(column(runs, MARK))) == 2


def test_a_stored_procedure_is_a_statement(trace):
    with connection.cursor() as cursor:
        cursor.callproc("lower", ["X"])
        assert cursor.fetchone() == ("x",)
    assert statements(trace) == {("default", "CALL lower"): (1, 1)}


@EACH
def test_the_sql_that_is_sent_stays_the_same(trace, alias, django_assert_num_queries):
    sql = "SELECT  1 /* a comment */ , 'text'"
    with django_assert_num_queries(1, using=alias) as captured, connections[alias].cursor() as cursor:
        cursor.execute(sql)
    assert captured[0]["sql"] == sql


def test_the_debug_cursor_is_measured_and_django_s_log_of_queries_is_kept(trace, django_assert_num_queries):
    with django_assert_num_queries(1), connection.cursor() as cursor:
        assert isinstance(cursor, CursorDebugWrapper)
        cursor.execute("SELECT 1")
    assert statements(trace) == {("default", "SELECT ?"): (1, 1)}


def test_a_wrapper_of_the_host_runs_inside_and_may_change_the_sql(trace):
    def commenter(execute, sql, params, many, context):
        return execute(f"{sql} /* {id(context)} */", params, many, context)

    with connection.execute_wrapper(commenter):
        users().exists()
        users().exists()
    assert connection.execute_wrappers == []
    assert [calls for calls, _ in statements(trace).values()] == [2]


def test_django_s_execute_is_left_out_where_it_would_only_call_another(trace):
    """Fails with a Django whose execute() does more than that of 5.2 to 6.1: look what, and add its names."""
    with connection.cursor() as cursor:
        assert cursor.is_direct
        callers = []
        with connection.execute_wrapper(lambda execute, *args: callers.append(execute.__name__) or execute(*args)):
            cursor.execute("SELECT 1")
    assert callers == ["_execute"]


def test_it_is_not_where_django_is_another_or_the_class_is(monkeypatch):
    make = measured.__wrapped__
    assert make(CursorWrapper, "default", "postgresql").is_direct
    assert not make(CursorDebugWrapper, "default", "postgresql").is_direct
    monkeypatch.setattr(cursors, "_WITH_WRAPPERS", lambda self, sql, params, many, executor: None)
    assert not make(CursorWrapper, "default", "postgresql").is_direct


@pytest.mark.parametrize("name", ["execute", "_execute_with_wrappers", "_execute"])
def test_who_patches_django_s_cursor_is_called(trace, monkeypatch, name):
    seen = []
    original = getattr(CursorWrapper, name)

    def patched(self, sql, *args, **options):
        seen.append(sql)
        return original(self, sql, *args, **options)

    monkeypatch.setattr(CursorWrapper, name, patched)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert seen == ["SELECT 1"]
    assert statements(trace) == {("default", "SELECT ?"): (1, 1)}


class OwnCursor(CursorWrapper):
    """A class of cursors that a backend brings along."""

    def fetchone(self):
        return "own", *self.cursor.fetchone()


def test_a_backend_with_cursors_of_its_own_keeps_them(trace, bare, monkeypatch):
    monkeypatch.setattr(type(bare), "make_cursor", lambda self, cursor: OwnCursor(cursor, self), raising=False)
    install(bare)
    with bare.cursor() as cursor:
        cursor.execute("SELECT 7")
        assert cursor.fetchone() == ("own", 7)
        assert isinstance(cursor, (OwnCursor, Executing))
    assert statements(trace) == {("default", "SELECT ?"): (1, 1)}


def test_no_value_reaches_the_trace(trace):
    users().filter(email="secret@example.org").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'secret@example.org'")
    assert "secret" not in repr([(shape.key, runs) for shape, runs in trace.statements.items()])


def test_outside_a_request_nothing_is_recorded_unless_the_process_records():
    users().exists()
    assert recorder.drain() == {}
    recorder.enabled = True
    users().exists()
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FAILED)
    (table,) = recorder.drain().values()
    keys = [key for key in table if "SAVEPOINT" not in key[-1]]
    assert keys[0][:4] == ("endpoint_query", "(no request)", "-", "default")
    assert table[keys[0]].counters == [0, 0]
    assert keys[1:] == [(*keys[0][:4], FAILED), ("query_error", "default", FAILED, "42P01")]


def test_work_of_our_own_is_not_recorded():
    recorder.enabled = True
    with recorder.paused():
        users().exists()
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(FAILED)
    assert recorder.drain() == {}


@pytest.mark.parametrize("name", ["_note", "_note_failed"])
def test_a_fault_of_ours_leaves_the_statement_alone_and_is_counted(trace, monkeypatch, name):
    recorder.enabled = True
    monkeypatch.setattr(Shapes, "find", lambda *args: 1 / 0)
    connections["default"].cursor().shapes.known.clear()
    with connection.cursor() as cursor:
        if name == "_note":
            cursor.execute("SELECT 5")
            assert cursor.fetchone() == (5,)
        else:
            with pytest.raises(DatabaseError):
                cursor.execute(FAILED)
    monkeypatch.undo()
    (table,) = recorder.drain().values()
    assert ("loss", "error", "query: ZeroDivisionError") in table


def test_a_fault_while_a_connection_is_instrumented_does_not_reach_the_host(bare, monkeypatch):
    recorder.enabled = True
    monkeypatch.setattr("django_perf.db.instrument.measured", lambda *args: 1 / 0)
    install(bare)
    assert any(key[0] == "loss" for table in recorder.drain().values() for key in table)
    with bare.cursor() as cursor:
        cursor.execute("SELECT 5")


def test_who_takes_the_place_of_our_cursors_later_is_not_wrapped_again_and_again(trace, bare, monkeypatch):
    install(bare)
    ours = bare.make_cursor
    monkeypatch.setitem(vars(bare), "make_cursor", lambda cursor: ours(cursor))
    for _ in range(3):
        install(bare)
    with transaction.atomic(), bare.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert statements(trace)["default", "SELECT ?"] == (1, 1)


class Composed:
    """Stand for psycopg2's SQL objects, which have no hash."""

    __hash__ = None


def test_sql_that_is_no_text_is_named_by_its_type_and_is_one_shape():
    shapes = Shapes("x", "postgresql")
    assert shapes.find(Composed()).key == ("endpoint_query", "x", "(Composed)")
    assert shapes.find(Composed()) is shapes.find(Composed())


def test_strange_texts_cost_time_but_no_memory():
    shapes = Shapes("memory test", "postgresql")
    for number in range(5_000):
        shapes.find(f"SELECT {number} FROM t")
        shapes.find(f"SELECT {number} FROM t WHERE id IN ({'1, ' * 1_000}1)")
    assert len(shapes.known) <= 2_000
    assert all(isinstance(known, tuple) or len(known) <= 2_000 for known in shapes.known)


def test_a_request_with_very_many_executions_keeps_few_and_loses_none(trace):
    with connection.cursor() as cursor:
        for number in range(FOLD_AT + 300):
            cursor.execute("SELECT %s", [number])
            cursor.fetchall()
    (shape,) = trace.statements
    assert executions(trace.statements[shape]) < FOLD_AT / 2
    calls, ns, rows = trace.totals(shape)
    assert (calls, rows) == (FOLD_AT + 300, FOLD_AT + 300)
    assert trace.queries == FOLD_AT + 300
    assert trace.query_ns == pytest.approx(ns, rel=0.05)  # folded to whole microseconds


def test_a_request_with_too_many_shapes_counts_what_it_drops(trace):
    for number in range(MAX_SERIES):
        trace.statements[Shapes("x", "").named(str(number))] = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert trace.dropped == 1


@pytest.mark.parametrize("known", [-1, None, 0, 2**64 - 1])
def test_a_driver_that_does_not_know_the_number_of_rows_has_them_counted(trace, known):
    class Driver:
        rowcount = known
        rows = [1, 2, 3]

        def execute(self, sql, params=None):
            """Do nothing."""

        def fetchmany(self, size=1):
            taken, self.rows = self.rows[:size], self.rows[size:]
            return taken

        def close(self):
            """Do nothing."""

    with closing(measured(CursorWrapper, "strange", "oracle")(Driver(), connections["default"])) as cursor:
        cursor.execute("SELECT 1", ())
        while cursor.fetchmany(2):
            pass
    assert statements(trace) == {("strange", "SELECT ?"): (1, 3)}


def test_parameters_without_a_hash_are_measured_like_others(trace):
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute("SELECT %s", [[1, 2]])
            cursor.execute("SELECT %(a)s", {"a": 1})
    assert statements(trace)["default", "SELECT ?"] == (4, 4)


def test_threads_of_one_request_do_not_disturb_each_other(trace):
    def elsewhere():
        with connections["sqlite"].cursor() as cursor:
            cursor.execute("SELECT 1")
        connections["sqlite"].close()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert trace.statements == {}
