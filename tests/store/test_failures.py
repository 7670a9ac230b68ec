"""A store that does not answer costs the host nothing, and comes back without a loss."""

from __future__ import annotations

import sqlite3

import pytest
from django.db import OperationalError, connections

from django_perf.metrics.catalog import BLOCK, LOSS
from django_perf.metrics.flusher import Flusher
from django_perf.metrics.recorder import Recorder
from django_perf.store.models import Delta
from django_perf.store.reader import Range, consistent
from django_perf.store.writer import write

from .data import MIDNIGHT

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
on_sqlite = pytest.mark.parametrize("alias", ["sqlite"], indirect=True)


class Host:
    """A process that measures into a store whose database has trouble."""

    def __init__(self, alias):
        self.alias = alias
        self.recorder = Recorder(clock=lambda: MIDNIGHT * 60.0)
        self.flusher = Flusher(self.recorder, write)
        self.recorder.wake, self.recorder.enabled = None, True

    def measure(self):
        self.recorder.record(BLOCK, ("import",), 1_000)

    def flush(self):
        connections[self.alias].close()  # the options of a test hold from the next connection on
        return self.flusher.flush(final=True)

    def stored(self):
        """Return how many blocks are stored, and the failures by detail."""
        span = Range(MIDNIGHT, MIDNIGHT + 1)
        blocks, losses = consistent(self.alias, lambda one: [one.sums(kind, span) for kind in (BLOCK, LOSS)])
        return sum(one.count for one in blocks.values()), {labels: one.total for labels, one in losses.items()}

    def must_recover(self, error, repair):
        """Flush twice against the broken store, repair it, and find each count once and each failure counted."""
        for _ in range(2):
            self.measure()
            assert not self.flush()
        repair()
        self.measure()
        assert self.flush()
        assert self.stored() == (3, {("error", f"flush: {error}"): 2})


@pytest.fixture
def host(alias):
    return Host(alias)


def test_missing_tables_cost_nothing_and_are_counted(alias, host):
    """Migrations have not run yet, or were rolled back."""
    with connections[alias].schema_editor() as editor:
        editor.delete_model(Delta)

    def migrate():
        with connections[alias].schema_editor() as editor:
            editor.create_model(Delta)

    host.must_recover("ProgrammingError" if alias == "default" else "OperationalError", migrate)


def test_a_read_only_database_costs_nothing_and_is_counted(alias, host, monkeypatch):
    """The primary has become a replica, or the disk was mounted read-only."""
    options = {"default": ("options", "-c default_transaction_read_only=on")}
    name, value = options.get(alias, ("init_command", "PRAGMA query_only = ON"))
    with monkeypatch.context() as patch:
        patch.setitem(connections[alias].settings_dict["OPTIONS"], name, value)
        host.must_recover("InternalError" if alias == "default" else "OperationalError", patch.undo)


def test_a_dead_database_costs_nothing_and_is_counted(alias, host, monkeypatch, tmp_path):
    wrong = {"default": ("PORT", 1), "sqlite": ("NAME", str(tmp_path / "no such folder" / "db.sqlite3"))}
    with monkeypatch.context() as patch:
        patch.setitem(connections[alias].settings_dict, *wrong[alias])
        host.must_recover("OperationalError", patch.undo)


@on_sqlite
def test_a_locked_sqlite_costs_nothing_and_is_counted(alias, host, monkeypatch):
    database = connections[alias].settings_dict
    monkeypatch.setitem(database["OPTIONS"], "timeout", 0.01)
    other = sqlite3.connect(database["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    host.must_recover("OperationalError", other.close)


@on_sqlite
def test_a_full_sqlite_costs_nothing_and_is_counted(alias, host, monkeypatch):
    with connections[alias].cursor() as cursor:
        cursor.execute("VACUUM")  # other tests leave free pages behind, enough for any number of flushes
    with monkeypatch.context() as patch:
        patch.setitem(connections[alias].settings_dict["OPTIONS"], "init_command", "PRAGMA max_page_count = 1")
        for _ in range(60):  # a flush goes into the pages that are there until they are full
            host.measure()
            host.recorder.record(BLOCK, ("x" * 199,), 1)
            if not host.flush():
                break
        patch.undo()
    assert host.flush()
    assert host.stored()[1] == {("error", "flush: OperationalError"): 1}


def test_a_commit_that_nobody_acknowledged_counts_once(alias, host, monkeypatch):
    connection = connections[alias]
    commit = connection._commit

    def lose_the_answer():
        commit()
        raise OperationalError("server closed the connection unexpectedly")

    host.measure()
    with monkeypatch.context() as patch:
        patch.setattr(connection, "_commit", lose_the_answer)
        assert not host.flush()
    assert host.stored() == (1, {})
    assert host.flush()
    assert host.stored() == (1, {("error", "flush: OperationalError"): 1})
    assert Delta.objects.using(alias).count() == 2
