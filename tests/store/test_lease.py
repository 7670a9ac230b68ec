"""One process at a time does the housekeeping, and one that slept through its lease changes nothing."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from django.db import OperationalError, connections

from django_perf.store.lease import Holder, LeaseLost
from django_perf.store.models import Lease, Series

from .data import DAY, MIDNIGHT, compact_at, everywhere, holder_of, put, requests, stored

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


def let_a_minute_pass(alias):
    Lease.objects.using(alias).update(expires=0)


def a_row(alias, name):
    Series.objects.using(alias).create(key_hash=name, kind="block", labels="[]", last_seen=0)


def rows(alias):
    return sorted(Series.objects.using(alias).values_list("key_hash", flat=True))


def test_a_second_holder_is_refused_while_the_first_has_the_lease(alias):
    holder_of(alias, "one")
    assert not Holder(alias, "two").acquire()


def test_a_holder_can_renew_its_lease(alias):
    holder_of(alias, "one")
    assert Holder(alias, "one").acquire()


def test_an_expired_lease_goes_to_who_asks(alias):
    holder_of(alias, "one")
    let_a_minute_pass(alias)
    assert Holder(alias, "two").acquire()
    assert not Holder(alias, "one").acquire()


def test_a_released_lease_is_free_at_once(alias):
    holder_of(alias, "one").release()
    assert Holder(alias, "two").acquire()


def test_only_its_holder_can_release_a_lease(alias):
    holder_of(alias, "one")
    Holder(alias, "two").release()
    assert not Holder(alias, "two").acquire()


def test_a_change_renews_the_lease_and_saves_what_was_rolled(alias):
    holder = holder_of(alias)
    let_a_minute_pass(alias)
    with holder.change() as lease:
        lease.rolled["1"] = 7
    stored_lease = Lease.objects.using(alias).get()
    assert (stored_lease.rolled, stored_lease.generation) == ({"1": 7}, 1)
    assert not Holder(alias, "two").acquire()


def test_a_change_that_fails_leaves_nothing_behind_and_can_be_tried_again(alias):
    holder = holder_of(alias)

    def fail_halfway():
        with holder.change() as lease:
            lease.rolled["1"] = 7
            a_row(alias, "half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert (rows(alias), Lease.objects.using(alias).get().generation) == ([], 0)
    with holder.change():
        a_row(alias, "whole")
    assert rows(alias) == ["whole"]


def test_a_stopped_holder_that_wakes_up_changes_nothing(alias):
    stopped = holder_of(alias, "stopped")
    let_a_minute_pass(alias)
    with holder_of(alias, "next").change():
        a_row(alias, "next")
    with pytest.raises(LeaseLost, match="'stopped' no longer holds the lease at generation 0"), stopped.change():
        a_row(alias, "stopped")
    assert rows(alias) == ["next"]


def test_a_stopped_holder_is_fenced_before_its_successor_has_changed_anything(alias):
    stopped = holder_of(alias, "stopped")
    let_a_minute_pass(alias)
    holder_of(alias, "next")
    with pytest.raises(LeaseLost), stopped.change():
        a_row(alias, "stopped")
    assert rows(alias) == []


def test_of_two_that_believe_to_hold_the_lease_one_changes_anything(alias):
    """Two containers may share host name and pid, and with them the owner's name."""
    one, two = holder_of(alias, "web:1"), holder_of(alias, "web:1")
    with one.change():
        a_row(alias, "one")
    with pytest.raises(LeaseLost), two.change():
        a_row(alias, "two")
    assert rows(alias) == ["one"]


def test_postgresql_ends_a_change_whose_process_was_stopped(settings):
    settings.DJANGO_PERF = {"DATABASE": "default"}
    with holder_of("default").change(), connections["default"].cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)


@pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
def test_nobody_queues_behind_a_holder_stopped_inside_its_transaction(settings):
    settings.DJANGO_PERF = {"DATABASE": "default"}
    inside, done = Barrier(2), Barrier(2)

    def stop_inside():
        with holder_of("default", "stopped").change():
            inside.wait(10)
            done.wait(10)
        connections["default"].close()

    stopped = Thread(target=stop_inside)
    stopped.start()
    inside.wait(10)
    is_taken = Holder("default", "next").acquire()  # would hang here, as the row is locked until `done`
    done.wait(10)
    stopped.join(10)
    assert not is_taken


@pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
def test_a_change_whose_commit_was_not_acknowledged_counts_once(alias, monkeypatch):
    put(alias, {MIDNIGHT: requests(3)})
    holder_of(alias)
    connection = connections[alias]
    commit = connection._commit
    lost = []

    def lose_the_second_answer():
        commit()
        lost.append("commit")
        if len(lost) == 2:
            raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "_commit", lose_the_second_answer)
        with pytest.raises(OperationalError):
            compact_at(alias, MIDNIGHT + DAY)
    assert len(lost) == 2
    assert stored(alias)[0] == 3
    compact_at(alias, MIDNIGHT + DAY)
    assert stored(alias) == everywhere(3)
