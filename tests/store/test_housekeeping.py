"""Who tidies the store, how often, and how it is emptied."""

from __future__ import annotations

import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from django_perf.exceptions import UnknownPayload
from django_perf.store import housekeeping
from django_perf.store.housekeeping import Housekeeper, clear, tidy
from django_perf.store.lease import Holder, LeaseLost
from django_perf.store.models import Delta, Lease, Process, Rollup, Series

from .data import MIDNIGHT, compact_at, holder_of, put, read, requests, stored

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])
in_transactions = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])

NEWER = b"\x00B\x63"


@pytest.fixture
def past():
    """A minute that has closed, the same throughout a test."""
    return int(time.time()) // 60 - 5


def waiting(alias):
    return Delta.objects.using(alias).filter(state=Delta.State.WAITING).count()


def test_tidy_merges_what_has_closed_and_tells_how_much(alias, past):
    put(alias, {past: requests(3)})
    assert (tidy(alias), tidy(alias)) == (1, 0)
    assert stored(alias)[0] == 3


def test_tidy_deletes_what_has_expired(alias):
    put(alias, {MIDNIGHT: requests(3)}, taken=time.time() - 3 * 3_600)
    tidy(alias)
    assert Delta.objects.using(alias).count() == Rollup.objects.using(alias).filter(tier=0).count() == 0


def test_tidy_leaves_the_work_to_the_process_that_has_the_lease(alias, past):
    holder_of(alias, "another")
    put(alias, {past: requests(3)})
    assert tidy(alias) is None
    assert waiting(alias) == 1


def test_tidy_that_meets_a_newer_version_leaves_the_lease_to_it(alias, past):
    put(alias, {past: requests(3)})
    compact_at(alias, past + 2)
    Lease.objects.using(alias).update(expires=0)
    Rollup.objects.using(alias).update(data=NEWER)
    put(alias, {past: requests(3)})
    with pytest.raises(UnknownPayload):
        tidy(alias)
    assert Holder(alias, "newer").acquire()


@in_transactions
def test_the_housekeeper_works_once_a_minute(alias, monkeypatch):
    now = time.time() // 60 * 60
    keep = Housekeeper()
    left = []
    for second in (0, 30, 59.9, 60):
        monkeypatch.setattr(housekeeping.time, "time", lambda second=second: now + second)
        put(alias, {int(now) // 60 - 5: requests(1)})
        keep()
        left.append(waiting(alias))
    assert left == [0, 1, 2, 0]


@in_transactions
def test_the_housekeeper_that_failed_tries_again_in_the_next_minute(alias, monkeypatch):
    now = time.time() // 60 * 60
    keep = Housekeeper()
    put(alias, {int(now) // 60 - 5: requests(1)})
    monkeypatch.setattr(housekeeping.time, "time", lambda: now)
    with monkeypatch.context() as patch:
        patch.setattr(housekeeping, "compact", lambda holder, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keep()
    monkeypatch.setattr(housekeeping.time, "time", lambda: now + 60)
    keep()
    assert waiting(alias) == 0


def test_clear_deletes_every_measurement(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 1)
    put(alias, {MIDNIGHT: requests(4)})
    clear(alias)
    assert [model.objects.using(alias).count() for model in (Delta, Rollup, Process, Series)] == [0] * 4
    assert (read(alias, MIDNIGHT, MIDNIGHT + 1), Lease.objects.using(alias).get().rolled) == (0, {})


def test_clear_works_on_a_store_that_was_never_used(alias):
    clear(alias)
    assert Lease.objects.using(alias).get().generation == 1


def test_clear_stops_the_compactor_that_is_at_work(alias):
    at_work = holder_of(alias, "at work")
    clear(alias)
    with pytest.raises(LeaseLost), at_work.change():
        Series.objects.using(alias).create(key_hash="x", kind="block", labels="[]", last_seen=0)
    assert not Series.objects.using(alias).exists()


def test_the_store_fills_again_after_clear(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 2_880)
    clear(alias)
    put(alias, {MIDNIGHT: requests(4)})
    compact_at(alias, MIDNIGHT + 2_880)
    assert set(stored(alias).values()) == {4}


@in_transactions
def test_perfcompact_tells_what_it_merged(alias, capsys, past):
    put(alias, {past: requests(3)})
    call_command("perfcompact")
    assert capsys.readouterr().out == "merged 1 deltas\n"


@in_transactions
def test_perfcompact_tells_that_another_process_is_at_it(alias, capsys):
    holder_of(alias, "another")
    call_command("perfcompact")
    assert capsys.readouterr().out == "another process is at it\n"


@in_transactions
def test_perfcompact_gives_the_reason_when_it_cannot_go_on(alias, past):
    put(alias, {past: requests(3)})
    compact_at(alias, past + 2)
    Lease.objects.using(alias).update(expires=0)
    Rollup.objects.using(alias).update(data=NEWER)
    put(alias, {past: requests(3)})
    with pytest.raises(CommandError, match="version 63, this code reads 1"):
        call_command("perfcompact")


@in_transactions
def test_perfclear_deletes_when_it_need_not_ask(alias, capsys):
    put(alias, {MIDNIGHT: requests(3)})
    call_command("perfclear", "--noinput")
    assert capsys.readouterr().out == "all measurements are deleted\n"
    assert not Delta.objects.using(alias).exists()


@in_transactions
@pytest.mark.parametrize(("answer", "left"), [("yes", 0), ("no", 1), ("", 1)])
def test_perfclear_asks_first(alias, monkeypatch, answer, left):
    put(alias, {MIDNIGHT: requests(3)})
    monkeypatch.setattr("builtins.input", lambda question: answer)
    if left:
        with pytest.raises(CommandError, match="nothing was deleted"):
            call_command("perfclear")
    else:
        call_command("perfclear")
    assert Delta.objects.using(alias).count() == left


@in_transactions
@pytest.mark.parametrize("command", [("perfcompact",), ("perfclear", "--noinput")], ids=lambda given: given[0])
def test_missing_tables_are_told(alias, command):
    with connections[alias].schema_editor() as editor:
        editor.delete_model(Lease)
    try:
        with pytest.raises(CommandError, match=r"the store fails: \w+Error; has `migrate` been run"):
            call_command(*command)
    finally:
        with connections[alias].schema_editor() as editor:
            editor.create_model(Lease)
