"""What readers see: rollups, deltas that wait, and one state of both."""

from __future__ import annotations

import zlib

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_perf.exceptions import StoreBusy
from django_perf.metrics.catalog import REQUEST, SITE
from django_perf.metrics.frame import Frame, Stack, pack
from django_perf.store import reader
from django_perf.store.models import Delta, Lease, Rollup
from django_perf.store.reader import Range, Sum, consistent

from .data import DAY, HOUR, MIDNIGHT, compact_at, put, read, requests, row_of

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])

NEWER = b"\x00B\x63"  # no ids, and a frame of version 99


def sums(alias, kind, start, end, wanted=None):
    return consistent(alias, lambda snapshot: snapshot.sums(kind, Range(start, end), wanted))


def test_reader_sees_rollups_and_deltas_not_yet_merged(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 1)
    put(alias, {MIDNIGHT: requests(4), MIDNIGHT + 1: requests(5)})
    assert read(alias, MIDNIGHT, MIDNIGHT + 2) == 12
    assert read(alias, MIDNIGHT, MIDNIGHT + 1) == 7


def test_reader_of_an_empty_store_finds_nothing(alias):
    assert sums(alias, SITE, MIDNIGHT, MIDNIGHT + DAY) == {}


def test_waiting_requests_count_for_the_site_too(alias):
    put(alias, {MIDNIGHT: requests(3, errors=2)})
    (total,) = sums(alias, SITE, MIDNIGHT, MIDNIGHT + 1).values()
    assert (total.count, total.counter(SITE, "errors")) == (3, 2)


def test_wanted_narrows_to_a_few_series_merged_or_not(alias):
    put(alias, {MIDNIGHT: requests(3, route="/a") | requests(5, route="/b")})
    compact_at(alias, MIDNIGHT + 1)
    put(alias, {MIDNIGHT + 1: requests(7, route="/a") | requests(9, route="/b")})
    found = sums(alias, REQUEST, MIDNIGHT, MIDNIGHT + 2, lambda labels: labels[0] == "/a")
    assert {labels: one.count for labels, one in found.items()} == {("/a", "GET", "2xx"): 10}


def test_wanted_reads_a_range_of_more_buckets_than_one_query_takes(alias, monkeypatch):
    monkeypatch.setattr(reader, "_BUCKETS_AT_ONCE", 2)
    put(alias, {MIDNIGHT + minute: requests() for minute in range(5)})
    compact_at(alias, MIDNIGHT + 5)
    for wanted in (None, lambda labels: True):
        (found,) = sums(alias, REQUEST, MIDNIGHT, MIDNIGHT + 4, wanted).values()
        assert found.count == 4


def test_points_give_every_step_empty_ones_too(alias):
    put(alias, {MIDNIGHT: requests(1), MIDNIGHT + 2: requests(2)})
    points = consistent(alias, lambda snapshot: snapshot.points(SITE, Range(MIDNIGHT, MIDNIGHT + 4), 1))
    assert [(minute - MIDNIGHT, one.count) for minute, one in points] == [(0, 1), (1, 0), (2, 2), (3, 0)]


@pytest.mark.parametrize("step", [1, 10, 60])
def test_points_stay_fine_where_coarser_buckets_are_made(alias, step):
    put(alias, {MIDNIGHT + minute: requests(minute + 1) for minute in range(0, 2 * HOUR, 7)})
    compact_at(alias, MIDNIGHT + 2 * DAY)
    points = consistent(alias, lambda snapshot: snapshot.points(SITE, Range(MIDNIGHT, MIDNIGHT + 2 * HOUR), step))
    expected = [sum(minute + 1 for minute in range(0, 2 * HOUR, 7) if minute // step == n) for n in range(120 // step)]
    assert [one.count for _, one in points] == expected


def test_row_of_a_newer_version_is_counted_as_unread_and_costs_no_other(alias):
    put(alias, {MIDNIGHT: requests(3, route="/a") | requests(5, route="/b")})
    compact_at(alias, MIDNIGHT + 1)
    row_of(alias, "/a").update(data=NEWER)

    def counts(snapshot):
        span = Range(MIDNIGHT, MIDNIGHT + 1)
        return sum(one.count for one in snapshot.sums(REQUEST, span).values()), snapshot.unread

    assert consistent(alias, counts) == (5, 1)


def test_delta_of_a_newer_version_is_counted_as_unread_and_costs_no_other(alias):
    put(alias, {MIDNIGHT: requests(3)})
    (newer,) = put(alias, {MIDNIGHT: requests(5)})
    Delta.objects.using(alias).filter(id=newer.id).update(version=2, payload=b"\x02what this code cannot know")

    def counts(snapshot):
        span = Range(MIDNIGHT, MIDNIGHT + 1)
        return sum(one.count for one in snapshot.sums(SITE, span).values()), snapshot.unread

    assert consistent(alias, counts) == (3, 1)


@pytest.mark.parametrize("key", [b"no JSON", b"7", b"[]", b'["request", 5]', b'["request", "too", "few"]'])
def test_delta_with_a_damaged_key_is_counted_as_unread_and_nothing_of_it_is_read(alias, key):
    put(alias, {MIDNIGHT: requests(3)})
    (damaged,) = put(alias, {MIDNIGHT: requests(5) | requests(7, route="/b")})
    keys = zlib.compress(b'["request","/","GET","2xx"]\n' + key)
    old = bytes(damaged.payload)
    frame = old[5 + int.from_bytes(old[1:5], "big") :]
    payload = old[:1] + len(keys).to_bytes(4, "big") + keys + frame
    Delta.objects.using(alias).filter(id=damaged.id).update(payload=payload)

    def counts(snapshot):
        span = Range(MIDNIGHT, MIDNIGHT + 1)
        return [sum(one.count for one in snapshot.sums(kind, span).values()) for kind in (REQUEST, SITE)]

    assert consistent(alias, lambda snapshot: (*counts(snapshot), snapshot.unread)) == (3, 3, 1)


def test_sums_are_read_once_however_often_they_are_asked_for(alias):
    put(alias, {MIDNIGHT: requests(3, route="/a") | requests(5, route="/b")})
    compact_at(alias, MIDNIGHT + 1)

    def ask(snapshot):
        span = Range(MIDNIGHT, MIDNIGHT + 1)
        snapshot.sums(REQUEST, span)
        with CaptureQueriesContext(connections[alias]) as captured:
            again = snapshot.sums(REQUEST, span, lambda labels: labels[0] == "/b")
        return len(captured), [one.count for one in again.values()]

    assert consistent(alias, ask) == (0, [5])


def test_damaged_counts_of_one_row_leave_the_quantiles_of_the_others(alias):
    put(alias, {MIDNIGHT: requests(3, us=500), MIDNIGHT + 1: requests(5, us=7)})
    compact_at(alias, MIDNIGHT + 2)
    row = Rollup.objects.using(alias).filter(bucket=MIDNIGHT + 1, kind=SITE.number)
    row.update(data=bytes(row.get().data)[:-2])  # its head says five values, their buckets cannot be inflated
    (found,) = sums(alias, SITE, MIDNIGHT, MIDNIGHT + 2).values()
    assert found.quantiles((0.5, 0.99)) == [500, 500]


def raise_generation(alias):
    lease, _ = Lease.objects.using(alias).get_or_create(name="compactor")
    Lease.objects.using(alias).filter(pk=lease.pk).update(generation=lease.generation + 1)


def test_reader_that_met_a_compactor_reads_again(alias, monkeypatch):
    monkeypatch.setattr(reader.time, "sleep", lambda seconds: None)
    attempts = []

    def read_twice(snapshot):
        attempts.append(snapshot)
        if len(attempts) == 1:
            raise_generation(alias)
        return len(attempts)

    assert consistent(alias, read_twice) == 2


def test_reader_that_meets_a_compactor_every_time_says_so(alias, monkeypatch):
    monkeypatch.setattr(reader.time, "sleep", lambda seconds: None)
    with pytest.raises(StoreBusy, match=f"{alias}.*rollups changed during each of 8 readings"):
        consistent(alias, lambda snapshot: raise_generation(alias))


def test_a_counter_that_no_row_had_yet_is_zero():
    own = Sum()
    own.add([(Stack(Frame(pack([({5: 1}, 1, 5, 5, 5)], [[4]]))), 0)])
    assert (own.counter(REQUEST, "errors"), own.counter(REQUEST, "db_us")) == (4, 0)


def test_an_empty_sum_has_a_mean_of_zero():
    assert (Sum().mean, Sum().quantiles((0.5,))) == (0.0, [0.0])
