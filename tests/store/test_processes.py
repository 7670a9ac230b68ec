"""Many processes on one PostgreSQL: writing together, killed, stopped, and read meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, connections

from django_perf.metrics.catalog import REQUEST
from django_perf.store import lease
from django_perf.store.copying import fetch
from django_perf.store.lease import Holder
from django_perf.store.models import Delta, Rollup
from django_perf.store.reader import Range, consistent
from django_perf.store.rows import unpack_row

from . import children
from .data import DAY, MIDNIGHT, compact_at, everywhere, put, read, requests, stored

pytestmark = pytest.mark.django_db(transaction=True)


def scalar(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def errors_by_tier():
    sums = dict.fromkeys(range(4), 0)
    for row in Rollup.objects.filter(kind=REQUEST.number):
        sums[row.tier] += sum(one.counters[0] for one in unpack_row(bytes(row.data)).values())
    return sums


def test_eight_processes_flush_40_rounds_of_200_series_without_a_deadlock_or_a_lost_count():
    code = "from tests.store.workers import flush_together; flush_together(8, 40, 200)"
    with children.python(code) as writers:
        assert writers.stdout.readline() == "ready\n"
        writers.stdin.write("go\n")
        while writers.poll() is None:  # compact what is there already, as the housekeeping of one of them would
            compact_at("default", MIDNIGHT + 2)
        assert writers.stdout.read() == f"{[0] * 8}\n", writers.stderr.read()
    compact_at("default", MIDNIGHT + DAY)
    assert Delta.objects.count() == 8 * 40
    assert stored("default") == everywhere(40 * 200 * sum(range(1, 9)))
    assert errors_by_tier() == everywhere(40 * 200 * 8)
    assert scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


@contextmanager
def compactors():
    """Give a process that forks compactors."""
    with children.python("from tests.store.workers import compact_on_demand; compact_on_demand()") as process:
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(30)


def start(process, owner, stop_at="nowhere"):
    """Start a compactor and return its pid when it holds the lease."""
    process.stdin.write(f"{owner} {stop_at}\n")
    return int(process.stdout.readline())


def test_a_compactor_killed_at_20_random_points_neither_loses_nor_doubles_a_count():
    total, longest_s = 0, 0.04
    with compactors() as process:
        for _ in range(20):
            for minute in range(20):  # more than it can merge before it is killed
                put("default", {MIDNIGHT + minute: requests(minute + 1)})
                total += minute + 1
            victim = start(process, "victim")
            with pytest.raises(subprocess.TimeoutExpired):  # the wait is the random point
                process.wait(random.uniform(0.001, longest_s))
            os.kill(victim, signal.SIGKILL)
            assert process.stdout.readline() == f"{-signal.SIGKILL}\n"
            assert read("default", MIDNIGHT, MIDNIGHT + DAY) == total
            merged = Delta.objects.filter(state=Delta.State.MERGED).count()
            longest_s *= 1 if merged else 1.5  # a busy machine is slower to come to its work
        assert 0 < merged < 400
        start(process, "victim")
        assert process.stdout.readline() == "0\n"
    compact_at_end()
    assert stored("default") == everywhere(total)


def compact_at_end():
    """Compact as a process that finds the lease expired."""
    lease.Lease.objects.update(expires=0)
    compact_at("default", MIDNIGHT + DAY)


@pytest.fixture
def a_minute_later(monkeypatch):
    """Set this process's clock forward by more than a lease lasts."""
    now = time.time
    monkeypatch.setattr(lease.time, "time", lambda: now() + lease.DURATION_S + 1)


def test_a_compactor_stopped_between_two_steps_changes_nothing_when_it_wakes_up(a_minute_later):
    for minute in range(6):
        put("default", {MIDNIGHT + minute: requests(minute + 1)})
    with compactors() as process:
        sleeper = start(process, "sleeper", "_merge_some")
        assert process.stdout.readline() == "stopped\n"
        assert Delta.objects.filter(state=Delta.State.WAITING).count() == 4
        compact_at("default", MIDNIGHT + DAY)
        os.kill(sleeper, signal.SIGCONT)
        # It finds nothing left to merge and nothing left to roll, so it need not even be fenced.
        assert process.stdout.readline() == "0\n"
    assert stored("default") == everywhere(21)


def test_a_compactor_stopped_between_two_steps_is_fenced_when_there_is_new_work(a_minute_later):
    for minute in range(6):
        put("default", {MIDNIGHT + minute: requests(minute + 1)})
    with compactors() as process:
        sleeper = start(process, "sleeper", "_merge_some")
        assert process.stdout.readline() == "stopped\n"
        compact_at("default", MIDNIGHT + DAY)
        put("default", {MIDNIGHT: requests(100)})
        os.kill(sleeper, signal.SIGCONT)
        assert process.stdout.readline() == "1\n"
        assert process.stderr.readline() == "LeaseLost\n"
    assert stored("default") == everywhere(21)
    assert read("default", MIDNIGHT, MIDNIGHT + DAY) == 121


def test_a_compactor_stopped_inside_a_transaction_changes_nothing_when_it_wakes_up(a_minute_later):
    for minute in range(6):
        put("default", {MIDNIGHT + minute: requests(minute + 1)})
    with compactors() as process:
        sleeper = start(process, "sleeper", "_note_processes")
        assert process.stdout.readline() == "stopped\n"
        assert not Holder("default", "tests").acquire()
        assert read("default", MIDNIGHT, MIDNIGHT + DAY) == 21
        # What PostgreSQL does by itself after a minute (idle_in_transaction_session_timeout; see test_lease).
        assert scalar(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE state = 'idle in transaction' AND datname = current_database()"
        )
        compact_at("default", MIDNIGHT + DAY)
        os.kill(sleeper, signal.SIGCONT)
        assert process.stdout.readline() == "1\n"
        assert process.stderr.readline() in {"OperationalError\n", "InterfaceError\n"}
    assert stored("default") == everywhere(21)


class Meanwhile:
    """Do something on a connection of its own before statements of another one."""

    def __init__(self, pool, work, at=None):
        self.pool = pool
        self.work = work
        self.at = at
        self.statements = 0
        self.answers = []

    def __call__(self, execute, sql, params, many, context):
        self.statements += 1
        if self.at in {None, self.statements}:
            self.answers.append(self.pool.submit(self._work).result(30))
        return execute(sql, params, many, context)

    def fetch(self, rows):
        """Fetch rollups as a reader does; no wrapper is told of a COPY."""
        return self(lambda *statement: fetch(rows), "COPY", None, False, {})

    def _work(self):
        try:
            return self.work()
        finally:
            connections["default"].close()


def some_history():
    """Leave rollups of all tiers and deltas of closed minutes; returns the count of it all."""
    put("default", {MIDNIGHT + minute: requests(1) for minute in (0, 11, 70)})
    compact_at("default", MIDNIGHT + HOUR_AND_A_HALF)
    put("default", {MIDNIGHT + minute: requests(2) for minute in (0, 12, 95)})
    return 9


HOUR_AND_A_HALF = 90


def read_all():
    return read("default", MIDNIGHT, MIDNIGHT + DAY)


def test_a_reader_sees_every_count_once_at_every_statement_of_a_compactor():
    total = some_history()
    with ThreadPoolExecutor(1) as pool:
        reading = Meanwhile(pool, read_all)
        with connection.execute_wrapper(reading):
            compact_at("default", MIDNIGHT + DAY)
    assert len(reading.answers) > 30
    assert set(reading.answers) == {total}


def test_a_compaction_between_any_two_statements_of_a_reader_costs_it_no_count(monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        for at in range(1, 100):
            Delta.objects.all().delete()
            Rollup.objects.all().delete()
            lease.Lease.objects.all().delete()
            total = some_history()
            compacting = Meanwhile(pool, lambda: compact_at("default", MIDNIGHT + DAY), at)
            monkeypatch.setattr("django_perf.store.reader.fetch", compacting.fetch)
            with connection.execute_wrapper(compacting):
                sums = consistent("default", lambda one: one.sums(REQUEST, Range(MIDNIGHT, MIDNIGHT + DAY)))
            assert [one.count for one in sums.values()] == [total]
            if not compacting.answers:
                break
    assert at > 5
