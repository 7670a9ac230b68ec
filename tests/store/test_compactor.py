"""Merging the delta log into rollups: exactly once, whatever arrives and whatever breaks."""

from __future__ import annotations

import zlib

import pytest
from django.db import OperationalError, connections

from django_perf.exceptions import UnknownPayload
from django_perf.metrics.batch import VERSION, pack
from django_perf.metrics.catalog import BLOCK, ENDPOINT_QUERY, EXCEPTION, QUERY, REQUEST, SITE
from django_perf.metrics.recorder import recorder
from django_perf.store import compactor
from django_perf.store.compactor import GRACE_S, compact
from django_perf.store.models import Delta, Process, Rollup, Series
from django_perf.store.rows import SHARDS, pack_row, unpack_row

from .data import (
    DAY,
    HOUR,
    MIDNIGHT,
    compact_at,
    counted,
    drained,
    everywhere,
    holder_of,
    put,
    read,
    requests,
    row_of,
    stored,
)

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])

NEWER = b"\x00B\x63"  # no ids, and a frame of version 99


def states(alias):
    return list(Delta.objects.using(alias).order_by("id").values_list("state", flat=True))


def the_row(alias, tier, kind=REQUEST):
    row = Rollup.objects.using(alias).get(tier=tier, kind=kind.number)
    (aggregate,) = unpack_row(bytes(row.data)).values()
    return aggregate


def test_deltas_of_a_closed_minute_are_merged(alias):
    put(alias, {MIDNIGHT: requests(3)})
    put(alias, {MIDNIGHT: requests(4)})
    assert compact_at(alias, MIDNIGHT + 1) == 2
    assert stored(alias)[0] == 7
    assert states(alias) == [Delta.State.MERGED] * 2


def test_deltas_of_the_running_minute_wait(alias):
    put(alias, {MIDNIGHT: requests(3)})
    assert compact_at(alias, MIDNIGHT) == 0
    assert states(alias) == [Delta.State.WAITING]


def test_merged_delta_keeps_its_flush_id_and_not_its_payload(alias):
    put(alias, {MIDNIGHT: requests(3)}, id="once")
    compact_at(alias, MIDNIGHT + 1)
    delta = Delta.objects.using(alias).get()
    assert (delta.flush_id, bytes(delta.payload)) == ("once", b"")


def test_a_merged_series_is_the_exact_sum_of_its_deltas(alias):
    put(alias, {MIDNIGHT: requests(3, us=1_000, errors=1, db_us=50)})
    put(alias, {MIDNIGHT: requests(2, us=9_000, errors=2, queries=7)})
    compact_at(alias, MIDNIGHT + 1)
    row = the_row(alias, 0)
    assert (row.histogram.count, row.histogram.sum, row.histogram.min, row.histogram.max) == (5, 21_000, 1_000, 9_000)
    assert dict(zip(REQUEST.counters, row.counters, strict=True)) == {
        "errors": 3,
        "aborted": 0,
        "cpu_us": 0,
        "cpu_count": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "queries": 7,
        "db_us": 50,
        "cache_hits": 0,
        "cache_misses": 0,
        "cache_us": 0,
    }


def test_compacting_again_changes_nothing(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 2 * DAY)
    before = list(Rollup.objects.using(alias).order_by("pk").values_list("tier", "bucket", "data"))
    assert compact_at(alias, MIDNIGHT + 2 * DAY) == 0
    assert list(Rollup.objects.using(alias).order_by("pk").values_list("tier", "bucket", "data")) == before


def test_each_tier_is_made_when_its_bucket_has_closed(alias):
    put(alias, {MIDNIGHT: requests(3)})
    expected = {9: (3, 0, 0, 0), 10: (3, 3, 0, 0), HOUR: (3, 3, 3, 0), DAY - 1: (3, 3, 3, 0), DAY: (3, 3, 3, 3)}
    for minute, counts in expected.items():
        compact_at(alias, MIDNIGHT + minute)
        assert tuple(stored(alias).values()) == counts


def test_a_bucket_is_the_minute_of_utc_for_every_tier(alias):
    put(alias, {MIDNIGHT + 2 * HOUR + 34: requests(1)})
    compact_at(alias, MIDNIGHT + DAY)
    rows = Rollup.objects.using(alias).filter(kind=SITE.number).order_by("tier")
    assert [row.bucket - MIDNIGHT for row in rows] == [154, 150, 120, 0]


@pytest.mark.parametrize("closed", [1, 10, HOUR, DAY, 3 * DAY])
def test_a_late_delta_reaches_every_tier_however_far_its_minute_was_rolled(alias, closed):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + closed)
    put(alias, {MIDNIGHT: requests(4)})
    compact_at(alias, MIDNIGHT + closed)
    compact_at(alias, MIDNIGHT + 3 * DAY)
    assert stored(alias) == everywhere(7)


@pytest.mark.parametrize("older", [1, 61, 40 * DAY])
@pytest.mark.parametrize("closed", [1, 2 * DAY])
def test_a_delta_older_than_the_first_data_ever_reaches_every_tier(alias, older, closed):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + closed)
    put(alias, {MIDNIGHT - older: requests(4)})
    compact_at(alias, MIDNIGHT + closed)
    assert read(alias, MIDNIGHT - 50 * DAY, MIDNIGHT + DAY) == 7
    compact_at(alias, MIDNIGHT + 3 * DAY)
    assert stored(alias) == everywhere(7)


def test_months_without_data_cost_one_step_per_tier(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + DAY)
    holder = holder_of(alias)
    before = holder.generation
    compact(holder, (MIDNIGHT + 90 * DAY) * 60 + GRACE_S)
    assert holder.generation - before == 3


def test_a_backlog_is_merged_in_steps(alias, monkeypatch):
    monkeypatch.setattr(compactor, "_DELTAS_AT_ONCE", 2)
    for minute in range(5):
        put(alias, {MIDNIGHT + minute: requests(minute + 1)})
    assert compact_at(alias, MIDNIGHT + DAY) == 5
    assert stored(alias) == everywhere(15)


def test_more_series_than_shards_share_their_rows(alias):
    table = {}
    for number in range(3 * SHARDS):
        table |= requests(number + 1, route=f"/{number}")
    for _ in range(2):
        put(alias, {MIDNIGHT: table})
        compact_at(alias, MIDNIGHT + DAY)
    assert stored(alias) == everywhere(3 * SHARDS * (3 * SHARDS + 1))
    assert Rollup.objects.using(alias).filter(tier=0, kind=REQUEST.number).count() == SHARDS


def test_requests_roll_into_the_site_and_queries_into_their_shape(alias):
    table = requests(3, route="/a", errors=1) | requests(4, route="/b", status="5xx", errors=4)
    for route in ("/a", "/b"):
        key = (ENDPOINT_QUERY.name, route, "GET", "default", "SELECT 1")
        table[key] = counted(key, 5, errors=1)
    put(alias, {MIDNIGHT: table})
    compact_at(alias, MIDNIGHT + 1)
    site, query = the_row(alias, 0, SITE), the_row(alias, 0, QUERY)
    assert (site.histogram.count, site.counters[0]) == (7, 5)
    assert (query.histogram.count, query.counters[0]) == (10, 2)


def test_delta_of_a_newer_version_stays_as_it_is_until_its_own_version_comes(alias, monkeypatch):
    (delta,) = put(alias, {MIDNIGHT: requests(3)})
    put(alias, {MIDNIGHT: requests(4)})
    newer = Delta.objects.using(alias).filter(id=delta.id)
    newer.update(version=VERSION + 1)
    before = newer.values().get()
    assert compact_at(alias, MIDNIGHT + DAY) == 1
    assert newer.values().get() == before
    assert stored(alias) == everywhere(4)
    monkeypatch.setattr(compactor, "VERSION", VERSION + 1)
    compact_at(alias, MIDNIGHT + DAY)
    assert stored(alias) == everywhere(7)


def test_rollup_of_a_newer_version_is_neither_changed_nor_taken_for_empty(alias):
    put(alias, {MIDNIGHT: requests(3, route="/a") | requests(1, route="/b")})
    compact_at(alias, MIDNIGHT + 1)
    row = row_of(alias, "/a")
    row.update(data=NEWER)
    put(alias, {MIDNIGHT: requests(4, route="/a") | requests(5, route="/b")})
    with pytest.raises(UnknownPayload, match="version 63"):
        compact_at(alias, MIDNIGHT + 1)
    assert bytes(row.get().data) == NEWER
    assert states(alias) == [Delta.State.MERGED, Delta.State.WAITING]
    assert read(alias, MIDNIGHT, MIDNIGHT + 1) == 13


def test_rollup_of_a_newer_version_is_not_rolled_into_the_next_tier(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 1)
    Rollup.objects.using(alias).filter(kind=SITE.number).update(data=NEWER)
    with pytest.raises(UnknownPayload):
        compact_at(alias, MIDNIGHT + DAY)
    assert not Rollup.objects.using(alias).filter(tier__gt=0).exists()


def test_counters_that_only_a_newer_version_knows_are_kept(alias):
    table = requests(3, errors=1)
    (aggregate,) = table.values()
    aggregate.counters.append(11)
    put(alias, {MIDNIGHT: table})
    put(alias, {MIDNIGHT: requests(4, errors=1)})
    compact_at(alias, MIDNIGHT + DAY)
    assert [the_row(alias, tier).counters[len(REQUEST.counters) :] for tier in range(4)] == [[11]] * 4


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        b"\x01not deflated",
        pack(requests(3))[:-9],
        bytes((1,)) + zlib.compress(b"\x00\x00\x00\x02[]"[:3]),
        bytes((1,)) + zlib.compress(b"\x00\x00\x00\x08[[1, 2]]"),
        bytes((1,)) + zlib.compress(b'\x00\x00\x00\x17[["request","/","GET",3]]'),
        pack({("a kind of tomorrow", "x"): counted(("block", "x"))}),
        pack({(BLOCK.name, "one", "label too many"): counted(("block", "x"))}),
    ],
    ids=["empty", "bare", "garbage", "cut", "short", "numbers", "labels", "unknown kind", "wrong labels"],
)
def test_an_unreadable_delta_is_kept_and_costs_no_other(alias, payload):
    recorder.enabled = True
    (bad,) = put(alias, {MIDNIGHT: requests(3)})
    put(alias, {MIDNIGHT: requests(4)})
    Delta.objects.using(alias).filter(id=bad.id).update(payload=payload)
    assert compact_at(alias, MIDNIGHT + DAY) == 2
    assert stored(alias) == everywhere(4)
    assert states(alias) == [Delta.State.UNREADABLE, Delta.State.MERGED]
    assert bytes(Delta.objects.using(alias).get(id=bad.id).payload) == payload
    assert [key[1] for key in drained(recorder) if key[0] == "loss"] == ["dropped"]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x05", b"\x05\x01\x02", b"\xff" * 6 + b"\x7f\x00", pack_row({1: counted(("site",))})[:-2]],
    ids=["empty", "bare", "short", "huge", "cut"],
)
def test_a_damaged_rollup_counts_as_empty_and_stops_nothing(alias, data):
    recorder.enabled = True
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 1)
    Rollup.objects.using(alias).filter(kind=REQUEST.number).update(data=data)
    put(alias, {MIDNIGHT: requests(4)})
    compact_at(alias, MIDNIGHT + DAY)
    assert stored(alias) == everywhere(4)
    assert ("loss", "dropped", "a rollup cannot be read") in drained(recorder)


@pytest.mark.parametrize("name", ["nul \x00", "surrogate \ud800", "x" * 3_000, "' OR 1=1; --", '"]', ""])
def test_a_name_that_no_recorder_cleaned_costs_nothing(alias, name):
    key = (EXCEPTION.name, "/", "GET", name)
    put(alias, {MIDNIGHT: requests(3) | {key: counted(key, 2)}})
    compact_at(alias, MIDNIGHT + DAY)
    assert (stored(alias), stored(alias, EXCEPTION)) == (everywhere(3), everywhere(2))
    assert Series.objects.using(alias).filter(kind=EXCEPTION.name).count() == 1


def test_the_last_report_of_each_process_is_kept(alias):
    put(alias, {MIDNIGHT: {}}, pid=1, taken=100.0, levels={"threads": 1.0})
    put(alias, {MIDNIGHT: {}}, pid=1, taken=120.0, levels={"threads": 3.0}, final=True)
    put(alias, {MIDNIGHT: {}}, pid=1, taken=110.0, levels={"threads": 2.0})
    put(alias, {MIDNIGHT: {}}, pid=1, started=5.0, taken=90.0)
    compact_at(alias, MIDNIGHT + 1)
    put(alias, {MIDNIGHT: {}}, pid=1, taken=105.0, levels={"threads": 9.0})
    compact_at(alias, MIDNIGHT + 1)
    rows = Process.objects.using(alias).order_by("started").values_list("pid", "last_seen", "is_final", "levels")
    assert list(rows) == [(1, 120.0, True, {"threads": 3.0}), (1, 90.0, False, {})]


class Crash:
    """Break the connection at one statement; `before` it reached the database, or when it had been carried out."""

    def __init__(self, at, before):
        self.left = at
        self.before = before

    def __call__(self, execute, sql, params, many, context):
        self.left -= 1
        if self.left == 0 and self.before:
            raise OperationalError("the connection was cut")
        answer = execute(sql, params, many, context)
        if self.left == 0:
            raise OperationalError("the connection was cut")
        return answer


@pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_compaction_cut_at_any_statement_neither_loses_nor_doubles_a_count(alias, monkeypatch, before):
    monkeypatch.setattr(compactor, "_DELTAS_AT_ONCE", 2)
    for minute in (0, 0, 11):
        put(alias, {MIDNIGHT + minute: requests(1) | requests(2, route="/b")})
    crashes = 0
    while True:
        crash = Crash(crashes + 1, before)
        try:
            with connections[alias].execute_wrapper(crash):
                compact_at(alias, MIDNIGHT + DAY)
        except OperationalError:
            connections[alias].close()
            crashes += 1
            assert read(alias, MIDNIGHT, MIDNIGHT + DAY) == 9
            put(alias, {MIDNIGHT: requests(0)})  # so that the next attempt has a step to make as well
        else:
            break
    assert crashes > 30
    assert stored(alias) == everywhere(9)
