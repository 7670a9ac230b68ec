"""The connection of the table level: whose it is, what it waits for, and what it outlives."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError, connections, transaction
from django.db.backends.signals import connection_created

from django_perf.cache import dedicated
from django_perf.cache.database import DatabaseLevel
from django_perf.cache.dedicated import DedicatedConnection, LevelBusy
from django_perf.metrics.recorder import recorder
from tests.proxy import Proxy
from tests.store import children
from tests.waiting import wait_until

TABLE = "connections_of_tests"
PATIENCE_S = 30


@pytest.fixture(autouse=True)
def _database(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        yield
        connections["default"].close()


@contextmanager
def connected(alias="default", timeout=5.0):
    connection = DedicatedConnection(alias, timeout)
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture
def configure():
    """Return a function that makes an alias like `default`, but for some settings."""

    def make(**changes):
        connections.settings["changed"] = {**connections["default"].settings_dict, **changes}
        return "changed"

    yield make
    if "changed" in connections.settings:
        connections["changed"].close()
        if "django_perf" in connections["changed"].settings_dict["ENGINE"]:
            connections["changed"].close_pool()
        del connections["changed"], connections.settings["changed"]


def ask(cursor, sql="SELECT pg_backend_pid()", parameters=None):
    """Return the first column of the first row."""
    cursor.execute(sql, parameters)
    return cursor.fetchone()[0]


def kill(pid):
    """End a backend as an administrator does, and wait until it is gone."""
    with connections["default"].cursor() as cursor:
        assert ask(cursor, "SELECT pg_terminate_backend(%s, 30000)", [pid])


# --- whose connection it is -----------------------------------------------------------------------------------------


def test_all_threads_share_one_connection_that_opens_with_the_first_use():
    with connected() as connection:
        assert connection._wrapper is None
        with ThreadPoolExecutor(4) as pool:
            backends = set(pool.map(lambda number: connection.run(ask), range(20)))
        assert len(backends) == 1


def test_connection_is_not_one_of_the_pooled_engine(configure):
    alias = configure(ENGINE="django_perf.pool.postgresql", OPTIONS={"pool": {"max_size": 1, "timeout": 0.2}})
    with connected(alias) as connection, transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        mine = ask(cursor)  # the pool has no other
        with ThreadPoolExecutor(4) as threads:
            backends = set(threads.map(lambda number: connection.run(ask), range(20)))
        assert len(backends | {mine}) == 2
        assert type(connection._wrapper).__module__ == "django.db.backends.postgresql.base"


@pytest.mark.parametrize("pool", [None, True, {"max_size": 1}])
def test_pool_option_of_the_site_is_not_ours(configure, pool):
    with connected(configure(OPTIONS={"pool": pool})) as connection:
        assert connection.run(ask) > 0


@pytest.fixture(params=["default", "sqlite"], ids=["postgresql", "sqlite"])
def level(request):
    """A level with a table."""
    level = DatabaseLevel(request.param, TABLE, timeout=5)
    level.create_table()
    yield level
    level._connection.run(lambda cursor: cursor.execute(f"DROP TABLE {TABLE}"))
    level.close()


def test_forked_child_works_on_its_own_connection_and_leaves_the_parents_as_it_was(level):
    arguments = level.alias, str(connections[level.alias].settings_dict["NAME"]), TABLE

    answer = json.loads(children.run(f"from tests.cache.table_workers import fork; fork{arguments!r}"))

    assert answer["status"] == 0
    assert answer["child"] != answer["parent"] == answer["later"]
    values = {key: row.value for key, row in level.get_many(["parent", "child"]).items()}
    assert values == {"parent": b"after", "child": b"value"}


def test_child_that_was_forked_while_a_thread_held_the_connection_is_not_locked_out():
    with connected(timeout=0.05) as connection:
        connection._lock.acquire()
        connection.forget_parent()
        assert connection.run(ask) > 0


# --- what it asks of the server -------------------------------------------------------------------------------------


def test_session_waits_for_nothing_and_keeps_the_options_of_the_site(configure):
    options = {
        "application_name": "shop",
        "isolation_level": 3,
        "options": "-c search_path=pg_catalog -c statement_timeout=9s",
    }
    with connected(configure(OPTIONS=options), timeout=0.25) as connection:
        shown = {
            name: connection.run(ask, f"SHOW {name}")
            for name in (
                "application_name",
                "search_path",
                "statement_timeout",
                "synchronous_commit",
                "default_transaction_isolation",
                "idle_in_transaction_session_timeout",
            )
        }
    assert shown == {
        "application_name": "shop cache",
        "search_path": "pg_catalog",
        "statement_timeout": "250ms",
        "synchronous_commit": "off",
        "default_transaction_isolation": "read committed",
        "idle_in_transaction_session_timeout": "1s",
    }


def test_options_for_mysql_wait_at_least_a_second():
    options = dedicated._OPTIONS["mysql"]({"charset": "utf8mb4", "isolation_level": "serializable"}, 0.5)

    assert options == {
        "charset": "utf8mb4",
        "connect_timeout": 2,
        "init_command": "SET SESSION innodb_lock_wait_timeout = 1",
        "isolation_level": "read committed",
        "read_timeout": 1,
        "write_timeout": 1,
    }


def test_lock_of_somebody_else_is_waited_for_no_longer_than_the_timeout():
    with connected(timeout=0.1) as connection:
        started = time.monotonic()
        with pytest.raises(OperationalError, match="statement timeout"):
            connection.run(ask, "SELECT pg_sleep(60)")
        assert 0.1 <= time.monotonic() - started < PATIENCE_S
        assert connection.run(ask) > 0


def test_nothing_of_ours_is_measured():
    recorder.enabled = True

    def query(connection, **kwargs):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    connection_created.connect(query)
    try:
        with connected() as connection:
            connection.run(ask)
        assert not any(recorder.drain().values())
        query(connections["default"])
        assert any(recorder.drain().values())
    finally:
        connection_created.disconnect(query)


def test_database_in_memory_works(configure):
    given = {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:cache_tests?mode=memory&cache=shared", "OPTIONS": {}}
    level = DatabaseLevel(configure(**given), TABLE)
    level.create_table()
    level.set_many([("k", b"value", None)])

    assert level.get_many(["k"])["k"].value == b"value"
    level.close()


def test_vendor_without_sql_of_ours_is_refused(monkeypatch):
    monkeypatch.setattr(DedicatedConnection, "vendor", "oracle")

    with pytest.raises(ImproperlyConfigured, match="no SQL for 'oracle'; use one of postgresql, sqlite, mysql"):
        DatabaseLevel().get_many(["k"])


# --- what it outlives -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["run", "run_once"])
def test_idle_connection_that_the_server_ended_is_replaced_before_it_is_used(method):
    with connected() as connection:
        backend = connection.run(ask)
        kill(backend)
        wait_until(lambda: not connection._line.is_quiet())
        assert getattr(connection, method)(ask) != backend


@pytest.fixture
def proxied(configure):
    """A connection through a proxy."""
    settings = connections["default"].settings_dict
    with Proxy((settings["HOST"], int(settings["PORT"]))) as proxy:
        alias = configure(HOST=proxy.address[0], PORT=proxy.address[1])
        with connected(alias) as connection:
            connection.run(ask)
            yield connection, proxy


def test_statement_on_an_idle_connection_that_turns_out_to_be_lost_is_repeated_once(proxied, monkeypatch):
    connection, proxy = proxied
    proxy.cut()
    monkeypatch.setattr(dedicated._Line, "is_quiet", lambda line: True)
    calls = []

    assert connection.run(lambda cursor: (calls.append(1), ask(cursor))[1]) > 0
    assert len(calls) == 2


def test_statement_that_must_not_run_twice_is_not_repeated(proxied, monkeypatch):
    connection, proxy = proxied
    proxy.cut()
    monkeypatch.setattr(dedicated._Line, "is_quiet", lambda line: True)
    calls = []

    with pytest.raises(OperationalError):
        connection.run_once(lambda cursor: (calls.append(1), ask(cursor)))
    assert len(calls) == 1
    assert connection.run_once(ask) > 0


def test_connection_that_cannot_be_opened_is_tried_again_by_the_next_call(proxied):
    connection, proxy = proxied
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not connection._line.is_quiet())

    with pytest.raises(OperationalError):
        connection.run(ask)
    proxy.accept()
    assert connection.run(ask) > 0


def test_error_of_a_statement_is_djangos_and_ends_the_connection():
    with connected() as connection:
        backend = connection.run(ask)
        with pytest.raises(ProgrammingError, match="no_such_table"):
            connection.run(ask, "SELECT 1 FROM no_such_table")
        assert connection.run(ask) != backend


def test_exception_in_the_middle_of_work_ends_the_connection_too():
    with connected() as connection:
        backend = connection.run(ask)
        with pytest.raises(KeyboardInterrupt):
            connection.run(lambda cursor: exec("raise KeyboardInterrupt"))
        assert connection.run(ask) != backend


# --- when it is busy ------------------------------------------------------------------------------------------------


@contextmanager
def held(connection):
    """Let another thread hold the connection."""
    taken, released = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(connection.run, lambda cursor: (taken.set(), released.wait(PATIENCE_S)))
        assert taken.wait(PATIENCE_S)
        try:
            yield
        finally:
            released.set()
            future.result(PATIENCE_S)


def test_caller_who_does_not_get_the_connection_in_time_is_told_why():
    with connected(timeout=0.05) as connection:
        message = (
            r"cache table on database 'default': the connection was not free within 0.05 s \(.* held it for 0.\d\d s"
        )
        with held(connection), pytest.raises(LevelBusy, match=message):
            connection.run(ask)
        assert connection.run(ask) > 0


def test_change_that_uses_its_own_level_is_refused_and_does_not_hang():
    with connected(timeout=0.05) as connection, pytest.raises(LevelBusy):
        connection.run(lambda cursor: connection.run(ask))


def test_thread_that_hangs_on_a_silent_server_is_freed_by_those_who_wait(proxied, monkeypatch):
    connection, proxy = proxied
    connection.timeout = 0.05
    monkeypatch.setattr(dedicated, "_CONNECT_S", 0)
    proxy.forget()
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(connection.run, ask)
        wait_until(connection._lock.locked)

        def is_freed():
            try:
                return connection.run(ask) > 0
            except LevelBusy:
                return False

        wait_until(is_freed)
        assert isinstance(hanging.exception(PATIENCE_S), OperationalError)
