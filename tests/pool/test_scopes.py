"""released() and statement_timeout() on a real PostgreSQL."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
from django.db import NotSupportedError, OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError

from django_perf.pool import released, statement_timeout
from tests.pool.conftest import ALIAS
from tests.pool.test_engine import rows


def limit(wrapper):
    """Return the statement_timeout of the session."""
    return rows(wrapper, "SHOW statement_timeout")[0][0]


def test_released_lets_another_thread_have_the_connection(pooled):
    wrapper = pooled({"max_size": 1, "timeout": 2})
    rows(wrapper, "SELECT 1")
    got = []

    def other():
        got.append(rows(connections[ALIAS], "SELECT 2"))
        connections[ALIAS].close()

    with released(ALIAS):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert got == [[(2,)]]
    assert rows(wrapper, "SELECT 3") == [(3,)]


def test_released_inside_a_transaction_is_an_error(pooled):
    wrapper = pooled()
    with (
        transaction.atomic(using=ALIAS),
        pytest.raises(TransactionManagementError, match="inside a transaction"),
        released(ALIAS),
    ):
        pytest.fail("the block must not run")
    wrapper.set_autocommit(False)
    rows(wrapper, "SELECT 1")
    with pytest.raises(TransactionManagementError), released(ALIAS):
        pytest.fail("the block must not run")


def test_released_tolerates_the_blocks_of_a_test_case(pooled):
    wrapper = pooled()
    atomic = transaction.atomic(using=ALIAS)
    atomic._from_testcase = True
    with atomic:
        rows(wrapper, "SELECT 1")
        connection = wrapper.connection
        with released(ALIAS):
            assert wrapper.connection is connection


def test_released_without_a_pool_keeps_the_connection(pooled):
    wrapper = pooled(False)
    rows(wrapper, "SELECT 1")
    connection = wrapper.connection
    with released(ALIAS):
        assert wrapper.connection is connection


def test_statement_timeout_is_set_and_restored(pooled):
    wrapper = pooled()
    with statement_timeout("2s", ALIAS):
        assert wrapper.connection.slot.limit == 4.0
        assert limit(wrapper) == "2s"
    assert wrapper.connection.slot.limit == 32.0
    assert not wrapper.connection.slot.is_dirty
    assert limit(wrapper) == "30s"


def test_statement_timeout_inside_atomic_ends_with_the_block(pooled):
    wrapper = pooled()
    with transaction.atomic(using=ALIAS):
        with statement_timeout(0.5, ALIAS):
            assert limit(wrapper) == "500ms"
        assert limit(wrapper) == "30s"
    assert limit(wrapper) == "30s"


def test_statement_timeout_that_strikes(pooled):
    wrapper = pooled()
    with pytest.raises(OperationalError, match="statement timeout"), statement_timeout("100ms", ALIAS):
        rows(wrapper, "SELECT pg_sleep(5)")
    assert limit(wrapper) == "30s"


def test_statement_timeout_that_strikes_inside_atomic(pooled):
    wrapper = pooled()
    with (
        pytest.raises(OperationalError, match="statement timeout"),
        transaction.atomic(using=ALIAS),
        statement_timeout("100ms", ALIAS),
    ):
        rows(wrapper, "SELECT pg_sleep(5)")
    assert limit(wrapper) == "30s"


def test_a_longer_timeout_is_not_cut_by_the_pool(pooled):
    wrapper = pooled({"statement_timeout": 0.2})
    with statement_timeout("5s", ALIAS):
        rows(wrapper, "SELECT pg_sleep(0.5)")
    assert limit(wrapper) == "200ms"


@pytest.mark.parametrize("wrong", ["2 parsecs", "", "-1s", 0, -1, True, "1e3s", float("nan"), float("inf")])
def test_a_limit_that_is_no_time_is_refused(pooled, wrong):
    pooled()
    with pytest.raises(ValueError, match="write seconds"), statement_timeout(wrong, ALIAS):
        pytest.fail("the block must not run")


@pytest.mark.django_db(databases=["default", "sqlite"])
def test_statement_timeout_needs_postgresql():
    with pytest.raises(NotSupportedError, match="needs PostgreSQL"), statement_timeout("2s", "sqlite"):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("is_atomic", [False, True])
def test_what_the_block_changes_in_the_session_is_not_forgotten(pooled, is_atomic):
    wrapper = pooled()
    with transaction.atomic(using=ALIAS) if is_atomic else nullcontext(), statement_timeout("2s", ALIAS):
        rows(wrapper, "SET search_path TO pg_catalog")
    wrapper.close()
    assert rows(wrapper, "SHOW search_path") == [('"$user", public',)]


def test_a_connection_that_goes_back_within_the_block_has_no_limit_left(pooled):
    wrapper = pooled()
    with statement_timeout("2s", ALIAS):
        with released(ALIAS):
            pass
        assert limit(wrapper) == "30s"
