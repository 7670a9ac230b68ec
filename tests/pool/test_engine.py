"""The engine on a real PostgreSQL."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from django.db.utils import InterfaceError

from django_perf.pool import PoolTimeout
from django_perf.pool.channel import DEAD
from tests.pool.conftest import ALIAS
from tests.pool.fakes import until
from tests.proxy import Proxy


def rows(wrapper, sql, parameters=None):
    """Return what a statement returns."""
    with wrapper.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def backend(wrapper):
    """Return the pid of the server process behind the connection."""
    return rows(wrapper, "SELECT pg_backend_pid()")[0][0]


def in_threads(count, call):
    """Run `call` in threads that do not close their connections; return results and exceptions."""
    results = []

    def run():
        try:
            results.append(call())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_connection_outlives_the_request_and_serves_the_next(pooled):
    wrapper = pooled()
    first = backend(wrapper)
    wrapper.close()
    assert wrapper.connection is None
    assert backend(wrapper) == first


def test_a_transaction_left_open_is_rolled_back(pooled):
    wrapper = pooled()
    rows(wrapper, "CREATE TEMP TABLE left_open (id int)")
    wrapper.set_autocommit(False)
    rows(wrapper, "SELECT 1")
    pid = backend(wrapper)
    wrapper.close()
    assert backend(wrapper) == pid
    assert wrapper.get_autocommit()
    assert rows(wrapper, "SELECT to_regclass('left_open')") == [(None,)]


@pytest.mark.parametrize(
    ("change", "look", "clean"),
    [
        ("SET work_mem = '17MB'", "SHOW work_mem", "4MB"),
        ("SELECT set_config('work_mem', '17MB', false)", "SHOW work_mem", "4MB"),
        ("/* why */ set search_path = pg_catalog", "SHOW search_path", '"$user", public'),
        ("SELECT 1; SET work_mem = '17MB'", "SHOW work_mem", "4MB"),
        ("LISTEN something", "SELECT count(*) FROM pg_listening_channels()", 0),
        ("CREATE TEMPORARY TABLE t (id int)", "SELECT to_regclass('pg_temp.t')", None),
        ("SELECT pg_advisory_lock(42)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", 0),
        ("PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", 0),
        ("DO $$ BEGIN PERFORM set_config('work_mem', '17MB', false); END $$", "SHOW work_mem", "4MB"),
    ],
)
def test_what_a_request_leaves_in_the_session_is_gone_for_the_next(pooled, change, look, clean):
    wrapper = pooled()
    pid = backend(wrapper)
    rows(wrapper, change)
    wrapper.close()
    assert rows(wrapper, look) == [(clean,)]
    assert backend(wrapper) == pid


def test_a_named_cursor_left_unread_is_closed(pooled):
    wrapper = pooled()
    wrapper.ensure_connection()
    cursor = wrapper.chunked_cursor()
    cursor.execute("SELECT generate_series(1, 1000)")
    cursor.fetchone()
    assert rows(wrapper, "SELECT count(*) FROM pg_cursors") == [(1,)]
    wrapper.close()
    assert rows(wrapper, "SELECT count(*) FROM pg_cursors") == [(0,)]


def test_a_named_cursor_that_was_closed_costs_no_reset(pooled):
    wrapper = pooled()
    wrapper.ensure_connection()
    with wrapper.chunked_cursor() as cursor:
        cursor.execute("SELECT generate_series(1, 10)")
        assert len(cursor.fetchall()) == 10
    assert wrapper.connection.open_cursors == 0


def test_reset_always_undoes_what_a_function_did(pooled):
    wrapper = pooled({"reset": "always"})
    rows(
        wrapper,
        "CREATE OR REPLACE FUNCTION hide() RETURNS text LANGUAGE sql"
        " AS $$ SELECT set_config('work_mem', '17MB', false) $$",
    )
    rows(wrapper, "SELECT hide()")
    wrapper.close()
    assert rows(wrapper, "SHOW work_mem") == [("4MB",)]
    rows(wrapper, "DROP FUNCTION hide()")


def test_reset_may_be_a_function(pooled):
    seen = []
    wrapper = pooled({"reset": seen.append})
    rows(wrapper, "SELECT 1")
    connection = wrapper.connection
    wrapper.close()
    assert seen == [connection]


def test_time_zone_role_and_isolation_survive_a_reset(pooled):
    rows(connections["default"], "DROP ROLE IF EXISTS pool_role")
    rows(connections["default"], "CREATE ROLE pool_role")
    wrapper = pooled(assume_role="pool_role", isolation_level=3)
    wrapper.settings_dict["TIME_ZONE"] = "Europe/Paris"
    vars(wrapper).pop("timezone_name", None)
    rows(wrapper, "SET work_mem = '17MB'")
    wrapper.close()
    facts = rows(
        wrapper, "SELECT current_user::text, current_setting('TimeZone'), current_setting('statement_timeout')"
    )
    assert facts == [("pool_role", "Europe/Paris", "30s")]
    assert rows(wrapper, "SHOW transaction_isolation") == [("serializable",)]
    wrapper.close()
    wrapper.close_pool()
    rows(connections["default"], "DROP ROLE pool_role")


def test_the_guards_survive_a_rollback(pooled):
    wrapper = pooled()
    wrapper.set_autocommit(False)
    rows(wrapper, "SELECT 1")
    wrapper.rollback()
    wrapper.set_autocommit(True)
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    assert [rows(wrapper, f"SHOW {name}")[0][0] for name in names] == ["30s", "10s", "5min"]


def test_a_statement_is_cancelled_at_its_limit_and_the_connection_stays_usable(pooled):
    wrapper = pooled({"statement_timeout": 0.2})
    pid = backend(wrapper)
    with pytest.raises(OperationalError, match="statement timeout"):
        rows(wrapper, "SELECT pg_sleep(5)")
    assert backend(wrapper) == pid


def test_guards_can_be_changed_and_switched_off(pooled):
    wrapper = pooled({"statement_timeout": 7, "lock_timeout": None, "idle_in_transaction_session_timeout": 0})
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    assert [rows(wrapper, f"SHOW {name}")[0][0] for name in names] == ["7s", "0", "0"]
    assert wrapper.pool.statement_limit == 9.0


def test_the_users_own_startup_options_win(pooled):
    wrapper = pooled(options="-c statement_timeout=3000 -c work_mem=9MB")
    assert rows(wrapper, "SHOW statement_timeout") == [("3s",)]
    assert rows(wrapper, "SHOW work_mem") == [("9MB",)]
    assert rows(wrapper, "SHOW lock_timeout") == [("10s",)]
    assert wrapper.pool.statement_limit == 5.0


def test_guards_that_a_pooler_drops_are_set_and_said(pooled, caplog):
    wrapper = pooled()
    pool = wrapper.pool
    pool.opener._connect.keywords["options"] = ""
    assert rows(wrapper, "SHOW statement_timeout") == [("30s",)]
    assert "did not reach the session" in caplog.text


def test_a_lifted_statement_timeout_is_not_cut_by_the_pool(pooled):
    wrapper = pooled({"statement_timeout": 0.3})
    with wrapper.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        assert wrapper.connection.slot.limit == float("inf")
    wrapper.close()
    rows(wrapper, "SELECT 1")
    assert wrapper.connection.slot.limit == pytest.approx(2.3)
    assert rows(wrapper, "SHOW statement_timeout") == [("300ms",)]


def test_pool_false_switches_it_off(pooled):
    wrapper = pooled(False)
    assert wrapper.pool is None
    first = backend(wrapper)
    wrapper.close()
    assert backend(wrapper) != first


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        ({"max_szie": 3}, "has no option 'max_szie'"),
        ({"max_size": "3"}, "'max_size'] is '3'"),
        ({"min_size": 5, "max_size": 2}, "min_size 5 above max_size 2"),
        ("yes", "is 'yes'"),
    ],
)
def test_wrong_options_are_an_error_with_the_place(pooled, pool, text):
    with pytest.raises(ImproperlyConfigured, match="database 'pooled'") as caught:
        pooled(pool).ensure_connection()
    assert text in str(caught.value)


def test_settings_stay_as_they_are(pooled):
    wrapper = pooled({"max_size": 3})
    before = wrapper.settings_dict["OPTIONS"]
    rows(wrapper, "SELECT 1")
    assert wrapper.settings_dict["OPTIONS"] is before == {"pool": {"max_size": 3}}


def test_exhaustion_is_djangos_error_and_the_pools(pooled):
    wrapper = pooled({"max_size": 1, "timeout": 0.1})
    rows(wrapper, "SELECT 1")
    (error,) = in_threads(1, lambda: rows(connections[ALIAS], "SELECT 1"))
    assert isinstance(error, OperationalError)
    assert isinstance(error, PoolTimeout)
    assert "max 1, in use 1" in str(error)


def test_ten_threads_that_never_close_do_not_eat_a_pool_of_four(pooled):
    pooled({"max_size": 4, "timeout": 5})
    for _ in range(10):
        (result,) = in_threads(1, lambda: rows(connections[ALIAS], "SELECT 1"))
        assert result == [(1,)]


def test_a_wrapper_that_is_gone_gives_its_connection_back(pooled):
    wrapper = pooled({"max_size": 1, "timeout": 2})
    copy = wrapper.copy()
    rows(copy, "SELECT 1")
    del copy
    gc.collect()
    assert rows(wrapper, "SELECT 1") == [(1,)]


def test_threads_that_share_a_connection_keep_it_when_its_owner_dies(pooled):
    pooled({"max_size": 1, "timeout": 0.3})
    shared = []

    def own():
        wrapper = connections[ALIAS]
        wrapper.inc_thread_sharing()
        rows(wrapper, "SELECT 1")
        shared.append(wrapper)

    in_threads(1, own)
    (error,) = in_threads(1, lambda: rows(connections[ALIAS], "SELECT 1"))
    assert isinstance(error, PoolTimeout)
    assert rows(shared[0], "SELECT 1") == [(1,)]
    shared[0].close()


def test_terminated_backends_are_replaced_unseen(pooled):
    wrapper = pooled({"max_size": 3})
    pids = in_threads(3, lambda: backend(connections[ALIAS]))
    wrapper.pool.reclaim()
    first = backend(wrapper)
    channel = wrapper.connection.slot.channel
    wrapper.close()
    rows(connections["default"], "SELECT pg_terminate_backend(%s)", [first])
    until(lambda: channel.state() == DEAD)
    assert backend(wrapper) not in (first, *pids)


def test_a_cursor_of_an_earlier_checkout_is_refused(pooled):
    wrapper = pooled()
    cursor = wrapper.cursor()
    cursor.execute("SELECT 1")
    wrapper.close()
    rows(wrapper, "SELECT 2")
    with pytest.raises(InterfaceError, match="has gone back to the pool"):
        cursor.execute("SELECT 3")


def test_a_connection_that_went_back_gives_no_cursor(pooled):
    wrapper = pooled()
    rows(wrapper, "SELECT 1")
    connection = wrapper.connection
    wrapper.close()
    with pytest.raises(connections["default"].Database.InterfaceError, match="has gone back"):
        connection.cursor()


def test_a_cursor_does_nothing_while_its_connection_lies_in_the_pool(pooled):
    wrapper = pooled()
    cursor = wrapper.cursor()
    connection = wrapper.connection
    wrapper.close()
    for call in (lambda: cursor.cursor.execute("SELECT 1"), connection.commit, connection.rollback):
        with pytest.raises(wrapper.Database.InterfaceError, match="has gone back"):
            call()


def test_a_cursor_of_the_parent_does_nothing_in_a_child(pooled):
    wrapper = pooled()
    cursor = wrapper.cursor()
    named = wrapper.chunked_cursor()
    named.execute("SELECT generate_series(1, 10)")
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            cursor.cursor.execute("SELECT 1")
        except wrapper.Database.InterfaceError:
            named.cursor.close()
            os.write(write, b"refused")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 20) == b"refused"
    assert named.fetchone() == (1,)


def test_many_short_statements_are_not_one_long_one(pooled):
    wrapper = pooled({"statement_timeout": 0.3})
    rows(wrapper, "SELECT 1")
    wrapper.pool.statement_limit = wrapper.connection.slot.limit = 0.5
    with wrapper.cursor() as cursor:
        cursor.executemany("SELECT pg_sleep(%s)", [[0.1]] * 9)
        cursor.execute("SELECT pg_sleep(0.2);" * 5)
    assert wrapper.connection.slot.limit == 0.5


def test_rows_that_take_long_to_make_are_nobodys_statement(pooled):
    def slowly():
        for _ in range(2):
            time.sleep(1)
            yield [0]

    wrapper = pooled()
    with wrapper.cursor() as cursor:
        cursor.executemany("SELECT pg_sleep(%s)", slowly())
    assert not wrapper.connection.slot.doom


def test_a_statement_that_is_still_being_sent_is_not_lost(pooled):
    wrapper = pooled()
    with Proxy((wrapper.settings_dict["HOST"], int(wrapper.settings_dict["PORT"]))) as proxy:
        wrapper.settings_dict.update(HOST=proxy.address[0], PORT=proxy.address[1])
        rows(wrapper, "SELECT 1")
        proxy.throttle(4_000_000)
        assert rows(wrapper, "SELECT length(%s)", ["x" * 12_000_000]) == [(12_000_000,)]
        proxy.throttle(0)
        wrapper.close()
        wrapper.close_pool()


@pytest.mark.parametrize("given", ["-c deadlock_timeout=2s -c statement_timeout=0", "--statement-timeout=0"])
def test_only_guards_of_the_same_name_give_way(pooled, given):
    wrapper = pooled(options=given)
    assert rows(wrapper, "SHOW lock_timeout") == [("10s",)]
    assert rows(wrapper, "SHOW statement_timeout") == [("0",)]


def test_the_environments_options_are_kept(pooled, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=9MB")
    assert rows(pooled(), "SHOW work_mem") == [("9MB",)]


def test_a_changed_cursor_class_does_not_reach_the_next_request(pooled):
    from psycopg2.extras import RealDictCursor

    wrapper = pooled()
    rows(wrapper, "SELECT 1")
    wrapper.connection.cursor_factory = RealDictCursor
    wrapper.close()
    assert rows(wrapper, "SELECT 1") == [(1,)]


def test_a_user_defined_cursor_class_is_kept(pooled):
    from psycopg2.extras import DictCursor

    wrapper = pooled(cursor_factory=DictCursor)
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchone()["one"] == 1
    assert wrapper.connection.cursor_factory is DictCursor


def test_copies_with_other_settings_get_pools_of_their_own(pooled):
    wrapper = pooled()
    rows(wrapper, "SELECT 1")
    other = wrapper.copy()
    other.settings_dict["OPTIONS"]["application_name"] = "other"
    assert rows(other, "SHOW application_name") == [("other",)]
    assert other.pool is not wrapper.pool
    other.close()


def test_a_wrong_password_is_said_at_once(pooled):
    wrapper = pooled()
    wrapper.settings_dict["NAME"] = "there_is_no_such_database"
    began = time.monotonic()
    with pytest.raises(OperationalError, match="does not exist"):
        wrapper.ensure_connection()
    assert time.monotonic() - began < 3


def test_the_network_parameters_reach_libpq(pooled):
    wrapper = pooled(keepalives_idle=77)
    rows(wrapper, "SELECT 1")
    parameters = wrapper.connection.get_dsn_parameters()
    assert parameters["keepalives_idle"] == "77"
    assert parameters["tcp_user_timeout"] == "10000"
    assert parameters["application_name"] == "django_perf"


def test_the_server_learns_to_look_after_its_clients(pooled):
    assert rows(pooled(), "SHOW client_connection_check_interval") == [("10s",)]


def test_fork_leaves_the_parent_its_connection(pooled):
    wrapper = pooled()
    before = backend(wrapper)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write, f"{backend(connections[ALIAS])}".encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    child = int(os.read(read, 20))
    assert child != before
    assert backend(wrapper) == before


def test_management_commands_have_no_guards():
    code = """
import sys; sys.argv = ["manage.py", "migrate"]
from django_perf.pool.options import PoolOptions
from django_perf.pool.postgresql.base import _guards
print(_guards(PoolOptions(), ""))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "{}"


def test_with_psycopg_3_beside_it_the_engine_says_what_to_do():
    code = """
import django.db.backends.postgresql.base
import django.db.backends.postgresql.psycopg_any as driver
driver.is_psycopg3 = True
import django_perf.pool.postgresql.base
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImproperlyConfigured: django_perf.pool works on psycopg2, but psycopg 3 is installed too" in result.stderr
