from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, connections, transaction

from django_perf.db.instrument import QueryTimer, install
from django_perf.metrics.recorder import recorder
from django_perf.metrics.trace import Trace, current

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


@pytest.fixture
def trace():
    own = Trace(0)
    token = current.set(own)
    yield own
    current.reset(token)


def shapes(trace):
    """Return {(alias, shape): (count, errors)}."""
    failures = trace.more.failures if trace.more else {}
    keys = [key for key, _ in trace.statements]
    return {key[1:]: (keys.count(key), failures.get(key, 0)) for key in keys}


@pytest.mark.parametrize("alias", ["default", "sqlite"])
def test_each_alias_has_one_timer_at_the_front(alias):
    wrappers = connections[alias].execute_wrappers
    connections[alias].ensure_connection()
    assert isinstance(wrappers[0], QueryTimer)
    install(connections[alias])
    assert sum(isinstance(wrapper, QueryTimer) for wrapper in wrappers) == 1


def test_statements_are_counted_by_alias_and_shape(trace):
    for alias in ("default", "sqlite"):
        for number in range(3):
            with connections[alias].cursor() as cursor:
                cursor.execute(f"SELECT {number}")
    assert shapes(trace) == {("default", "SELECT ?"): (3, 0), ("sqlite", "SELECT ?"): (3, 0)}
    assert trace.queries == 6
    assert trace.query_ns > 0


def test_a_failing_statement_is_an_error_and_still_raises(trace):
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")
    assert shapes(trace)[("default", "SELECT nothing FROM nowhere")] == (1, 1)


def test_executemany_is_one_statement(trace):
    with connection.cursor() as cursor:
        cursor.executemany("SELECT %s", [(1,), (2,)])
    assert shapes(trace) == {("default", "SELECT ?"): (1, 0)}


def test_the_sql_that_is_sent_stays_the_same(trace, django_assert_num_queries):
    sql = "SELECT  1 /* a comment */ , 'text'"
    with django_assert_num_queries(1) as captured, connection.cursor() as cursor:
        cursor.execute(sql)
    assert captured[0]["sql"] == sql


def test_a_wrapper_of_the_host_is_taken_off_again_and_ours_stays(trace):
    def host(execute, sql, params, many, context):
        return execute(sql, params, many, context)

    with connection.execute_wrapper(host):
        get_user_model().objects.exists()
    assert host not in connection.execute_wrappers
    assert isinstance(connection.execute_wrappers[0], QueryTimer)
    assert trace.queries == 1


def test_no_value_reaches_the_recorder(trace):
    get_user_model().objects.filter(email="secret@example.org").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'secret@example.org'")
    assert "secret" not in str(shapes(trace))


def test_outside_a_request_nothing_is_recorded_unless_the_process_records():
    get_user_model().objects.exists()
    assert recorder.drain() == {}
    recorder.enabled = True
    get_user_model().objects.exists()
    ((key, *_),) = (table for table in recorder.drain().values())
    assert key[:4] == ("endpoint_query", "(no request)", "-", "default")


def test_work_of_our_own_is_not_recorded():
    recorder.enabled = True
    with recorder.paused():
        get_user_model().objects.exists()
    assert recorder.drain() == {}


def test_a_fault_of_ours_leaves_the_statement_alone_and_is_counted(trace, monkeypatch):
    recorder.enabled = True
    monkeypatch.setattr(QueryTimer, "_key", lambda *args: 1 / 0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 5")
        assert cursor.fetchone() == (5,)
    monkeypatch.undo()
    (table,) = recorder.drain().values()
    assert list(table) == [("loss", "error", "query: ZeroDivisionError")]


class Composed:
    """Stand for psycopg2's SQL objects, which have no hash."""

    __hash__ = None


def test_sql_that_is_no_text_is_named_by_its_type():
    assert QueryTimer("x", "postgresql")._key(Composed()) == ("endpoint_query", "x", "(Composed)")


def test_strange_texts_cost_time_but_no_memory():
    timer = QueryTimer("memory test", "postgresql")
    for number in range(5_000):
        timer._key(f"SELECT {number} FROM t")
        timer._key(f"SELECT {number} FROM t WHERE id IN ({'1, ' * 1_000}1)")
    assert len(timer._keys) <= 2_000
    assert all(isinstance(known, tuple) or len(known) <= 2_000 for known in timer._keys)


def test_a_fault_while_a_connection_is_instrumented_does_not_reach_the_host(monkeypatch):
    recorder.enabled = True
    monkeypatch.setattr(QueryTimer, "__init__", lambda *args: 1 / 0)
    connection.execute_wrappers.clear()
    install(connection)
    monkeypatch.undo()
    install(connection)
    assert any(key[0] == "loss" for table in recorder.drain().values() for key in table)
