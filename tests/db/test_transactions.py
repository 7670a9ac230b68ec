"""What transactions take: the time of their end, the time for which they are open, and what they wait for."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, connections, transaction

from django_perf.db import transactions
from django_perf.db.instrument import install
from django_perf.db.transactions import TransactionTimer
from django_perf.metrics.catalog import ENDPOINT_QUERY, QUERY_ERROR, TRANSACTION
from django_perf.metrics.recorder import recorder
from django_perf.metrics.statement import STARTED, Shape
from tests.metrics.statements import execute, shape

from .conftest import findings, series

MS = 1_000_000
COMMIT = ("default", "COMMIT")
pytestmark = pytest.mark.django_db(databases=["default", "sqlite"], transaction=True)
EACH = pytest.mark.parametrize("alias", ["default", "sqlite"])


def counted(trace, alias, name):
    values, counters = series(trace, ENDPOINT_QUERY).get((alias, name), ([], []))
    return len(values), sum(counters)


@EACH
def test_a_commit_is_timed_as_a_statement_and_is_no_query(trace, alias):
    connections[alias].ensure_connection()
    with transaction.atomic(alias):
        get_user_model().objects.using(alias).exists()
    assert counted(trace, alias, "COMMIT") == (1, 0)
    begins = 1 if alias == "sqlite" else 0
    assert trace.queries == 1 + begins
    assert trace.more.query_ns > 0


@EACH
def test_a_rollback_is_told_from_a_commit(trace, alias):
    connections[alias].ensure_connection()
    with transaction.atomic(alias):
        get_user_model().objects.using(alias).exists()
        transaction.set_rollback(True, using=alias)
    assert (counted(trace, alias, "ROLLBACK"), counted(trace, alias, "COMMIT")) == ((1, 0), (0, 0))
    ((values, counters),) = series(trace, TRANSACTION).values()
    assert (len(values), counters[0]) == (1, 1)


@EACH
def test_the_time_for_which_a_transaction_is_open_is_measured_once_whatever_is_nested(trace, alias):
    connections[alias].ensure_connection()
    with transaction.atomic(alias), transaction.atomic(alias):
        get_user_model().objects.using(alias).exists()
    assert list(series(trace, TRANSACTION)) == [(alias,)]
    ((values, counters),) = series(trace, TRANSACTION).values()
    assert (len(values), counters[0]) == (1, 0)


def test_autocommit_opens_no_transaction(trace):
    get_user_model().objects.exists()
    assert series(trace, TRANSACTION) == {}


def test_a_constraint_that_fails_at_commit_is_an_error_of_the_commit(trace):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE late (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    try:
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO late VALUES (1), (1)")
        assert counted(trace, *COMMIT) == (1, 1)
        assert [labels for labels in series(trace, QUERY_ERROR) if "COMMIT" in labels] == [(*COMMIT, "23505")]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE late")


def test_outside_a_request_a_commit_is_recorded_when_the_process_records():
    recorder.enabled = True
    with transaction.atomic():
        pass
    (table,) = recorder.drain().values()
    assert ("endpoint_query", "(no request)", "-", *COMMIT) in table


class Clock:
    """A clock that goes on when told."""

    def __init__(self):
        self.now_ns = MS

    def __call__(self):
        return self.now_ns

    def wait(self, ms):
        self.now_ns += ms * MS


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(transactions, "perf_counter_ns", clock)
    return clock


def held(trace, clock, before_ms, busy_ms, waiting_ms, alias="default"):
    """Hold a transaction open: before its first statement, in a statement, and for something else."""
    connections[alias].ensure_connection()
    with transaction.atomic(alias):
        clock.wait(before_ms)
        execute(trace, busy_ms * MS, of=shape("SELECT ?", alias), at=clock.now_ns)
        clock.wait(busy_ms + waiting_ms)
    values, counters = series(trace, TRANSACTION)[alias,]
    return values[0] / 1_000, counters[1] / 1_000


@pytest.mark.parametrize(
    ("before_ms", "busy_ms", "waiting_ms", "held_ms", "waited_ms"),
    [(0, 10, 30, 40, 0), (0, 10, 90, 100, 90), (70, 20, 60, 80, 60), (500, 20, 0, 20, 0)],
)
def test_a_long_transaction_tells_what_it_waited_for_since_its_first_statement(
    trace, clock, before_ms, busy_ms, waiting_ms, held_ms, waited_ms
):
    assert held(trace, clock, before_ms, busy_ms, waiting_ms) == (held_ms, waited_ms)


@pytest.mark.parametrize(("mode", "expected"), [(None, (80, 60)), ("IMMEDIATE", (150, 130))])
def test_sqlite_locks_with_begin_where_it_is_told_to_so_the_time_counts_from_there(
    trace, clock, monkeypatch, mode, expected
):
    raw = connections["sqlite"]
    raw.ensure_connection()
    timer = vars(raw)["commit"].__self__
    monkeypatch.setattr(raw, "transaction_mode", mode)
    monkeypatch.setattr(timer, "_locks_at_once", TransactionTimer(raw, timer._shapes)._locks_at_once)
    # BEGIN itself is a statement, and works for some microseconds.
    assert held(trace, clock, 70, 20, 60, alias="sqlite") == pytest.approx(expected, rel=0.01)


def test_a_transaction_held_open_for_something_else_is_found_with_its_line(trace, clock):
    held(trace, clock, 0, 10, 150)
    ((sql, place, remedy, calls, _),) = findings(trace)["open_transaction"]
    assert (sql, remedy, calls) == ("", "", 1)
    assert place.endswith("in held")


def test_a_transaction_that_works_is_not_accused(trace, clock):
    held(trace, clock, 0, 500, 120)
    assert "open_transaction" not in findings(trace)


def test_a_transaction_without_any_statement_is_none_for_the_server(trace, clock):
    connections["default"].ensure_connection()
    with transaction.atomic():
        clock.wait(1_000)
    assert series(trace, TRANSACTION) == {}


def test_statements_that_were_folded_count_as_work_and_never_as_waiting(trace, clock):
    connections["default"].ensure_connection()
    many = shape("SELECT ?")
    with transaction.atomic():
        execute(trace, *[MS] * 600, of=many, at=clock.now_ns)
        trace.fold_runs(many)
        clock.wait(650)
    assert series(trace, TRANSACTION)["default",][1][1] == 50_000
    assert "open_transaction" not in findings(trace)


def test_without_autocommit_at_all_each_commit_begins_the_next_transaction(trace, clock):
    raw = connections["default"]
    raw.ensure_connection()
    raw.set_autocommit(False)
    try:
        for _ in range(3):
            clock.wait(10)
            raw.commit()
    finally:
        raw.set_autocommit(True)
    assert series(trace, TRANSACTION)["default",][0] == [10_000] * 3


def test_a_fault_of_ours_leaves_the_transaction_alone_and_is_counted(trace, monkeypatch):
    recorder.enabled = True
    monkeypatch.setattr(transactions.TransactionTimer, "_note_end", lambda *args: 1 / 0)
    with transaction.atomic():
        get_user_model().objects.create(username="kept")
    monkeypatch.undo()
    assert get_user_model().objects.filter(username="kept").exists()
    assert ("loss", "error", "transaction: ZeroDivisionError") in next(iter(recorder.drain().values()))


def test_the_methods_of_another_tool_are_called(trace, bare, monkeypatch):
    seen = []
    original = bare.commit
    monkeypatch.setattr(bare, "commit", lambda: (seen.append("commit"), original()), raising=False)
    install(bare)
    with transaction.atomic():
        pass
    assert seen == ["commit"]
    assert counted(trace, *COMMIT) == (1, 0)


def test_a_statement_of_another_database_is_no_work_of_this_transaction(trace, clock):
    connections["default"].ensure_connection()
    with transaction.atomic():
        execute(trace, MS, of=shape("SELECT ?"), at=clock.now_ns)
        execute(trace, 200 * MS, of=shape("SELECT ?", "sqlite"), at=clock.now_ns)
        clock.wait(201)
    assert series(trace, TRANSACTION)["default",][1][1] == 200_000
    assert isinstance(next(iter(trace.statements)), Shape)
    assert STARTED == 1
