"""What is deleted, when, and in which portions."""

from __future__ import annotations

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_perf.metrics.catalog import KINDS
from django_perf.store import retention
from django_perf.store.models import Delta, Lease, Process, Rollup, Series
from django_perf.store.retention import expire

from .data import DAY, HOUR, MIDNIGHT, compact_at, put, read, requests, stored

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


def expire_at(alias, minute):
    return expire(alias, minute * 60.0)


@pytest.mark.parametrize(("tier", "keep"), [(0, 25 * HOUR), (1, 7 * DAY + HOUR), (2, 35 * DAY + HOUR), (3, 400 * DAY)])
def test_rows_are_kept_for_as_long_as_promised_and_no_minute_longer(alias, tier, keep):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 500 * DAY)
    expire_at(alias, MIDNIGHT + keep)
    assert stored(alias)[tier] == 3
    expire_at(alias, MIDNIGHT + keep + 1)
    assert stored(alias)[tier] == 0


def test_nothing_is_deleted_that_the_next_tier_has_not_taken_in(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 1)
    expire_at(alias, MIDNIGHT + 399 * DAY)
    assert stored(alias)[0] == 3
    compact_at(alias, MIDNIGHT + HOUR)
    expire_at(alias, MIDNIGHT + 399 * DAY)
    assert tuple(stored(alias).values()) == (0, 0, 3, 0)
    assert read(alias, MIDNIGHT, MIDNIGHT + DAY) == 3


def test_nothing_is_deleted_from_a_store_without_a_lease(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + DAY)
    Lease.objects.using(alias).all().delete()
    expire_at(alias, MIDNIGHT + 399 * DAY)
    assert set(stored(alias).values()) == {3}


def test_expiring_again_deletes_nothing_more(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 2 * DAY)
    assert expire_at(alias, MIDNIGHT + 2 * DAY) > 0
    assert expire_at(alias, MIDNIGHT + 2 * DAY) == 0


def test_a_tier_is_deleted_a_few_buckets_at_a_time(alias):
    put(alias, {MIDNIGHT + minute: requests(1) for minute in range(23)})
    compact_at(alias, MIDNIGHT + DAY)
    with CaptureQueriesContext(
        connections[alias],
    ) as captured:
        expire_at(alias, MIDNIGHT + 2 * DAY)
    deletes = [one["sql"] for one in captured if one["sql"].startswith("DELETE") and "rollup" in one["sql"]]
    # 23 minutes by five, for the requests and for the site.
    assert len(deletes) == 2 * 5
    assert not Rollup.objects.using(alias).filter(tier=0).exists()


def test_empty_kinds_cost_one_look_each(alias):
    with CaptureQueriesContext(connections[alias]) as captured:
        expire_at(alias, MIDNIGHT)
    # For each tier and kind its oldest bucket; lease, flushes, processes, hosts, orders, marks, series; samples by 3.
    assert len(captured) == 4 * len(KINDS) + 7 + 3


def test_many_rows_are_deleted_in_chunks(alias, monkeypatch):
    monkeypatch.setattr(retention, "_AT_ONCE", 2)
    for _ in range(5):
        put(alias, {MIDNIGHT: {}})
    compact_at(alias, MIDNIGHT + 1)
    with CaptureQueriesContext(connections[alias]) as captured:
        expire_at(alias, MIDNIGHT + 3 * HOUR)
    deletes = [one["sql"] for one in captured if one["sql"].startswith('DELETE FROM "django_perf_delta"')]
    assert len(deletes) == 3
    assert not Delta.objects.using(alias).exists()


def test_a_flush_id_is_remembered_twice_as_long_as_a_flush_may_be_repeated(alias):
    put(alias, {MIDNIGHT: requests(3)}, taken=MIDNIGHT * 60.0)
    compact_at(alias, MIDNIGHT + 1)
    expire_at(alias, MIDNIGHT + 2 * HOUR)
    assert Delta.objects.using(alias).count() == 1
    expire_at(alias, MIDNIGHT + 2 * HOUR + 1)
    assert Delta.objects.using(alias).count() == 0


@pytest.mark.parametrize("state", [Delta.State.WAITING, Delta.State.UNREADABLE])
def test_a_delta_that_nobody_has_merged_is_never_deleted(alias, state):
    put(alias, {MIDNIGHT: requests(3)})
    Delta.objects.using(alias).update(state=state)
    expire_at(alias, MIDNIGHT + 399 * DAY)
    assert Delta.objects.using(alias).count() == 1


def test_processes_are_forgotten_after_a_week(alias):
    Process.objects.using(alias).create(host="web", pid=1, started=0, last_seen=MIDNIGHT * 60.0)
    expire_at(alias, MIDNIGHT + 7 * DAY)
    assert Process.objects.using(alias).count() == 1
    expire_at(alias, MIDNIGHT + 7 * DAY + 1)
    assert Process.objects.using(alias).count() == 0


def test_series_are_forgotten_a_day_after_their_last_row(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + DAY)
    expire_at(alias, MIDNIGHT + 401 * DAY)
    assert (Series.objects.using(alias).count(), Rollup.objects.using(alias).count()) == (2, 0)
    expire_at(alias, MIDNIGHT + 401 * DAY + 1)
    # The totals of the requests are kept for ever, and with them their names; the site is their sum.
    assert list(Series.objects.using(alias).values_list("kind", flat=True)) == ["request"]
