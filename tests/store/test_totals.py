"""Totals count what was ever measured: no retention and no merge lets one fall."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import DATABASE, ENDPOINT_QUERY, REQUEST
from django_perf.store.compactor import GRACE_S, compact
from django_perf.store.housekeeping import clear
from django_perf.store.models import Process, Total
from django_perf.store.reader import consistent
from django_perf.store.retention import expire
from django_perf.store.totals import Totals

from .data import DAY, MIDNIGHT, compact_at, counted, holder_of, put, requests, stored

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])
ROUTE = ("/", "GET", "2xx")


def totals(alias, kind=REQUEST, by_host=False):
    def read(snapshot):
        return {named: sum_.count for named, sum_ in Totals(snapshot, by_host=by_host).sums(kind).items()}

    return consistent(alias, read)


def compact_by_host(alias, minute):
    return compact(holder_of(alias), minute * 60 + GRACE_S, by_host=True)


def test_what_waits_and_what_is_merged_is_counted_once(alias):
    put(alias, {MIDNIGHT: requests(3)})
    assert totals(alias) == {("", ROUTE): 3}
    compact_at(alias, MIDNIGHT + 1)
    assert totals(alias) == {("", ROUTE): 3}
    put(alias, {MIDNIGHT: requests(4), MIDNIGHT + 1: requests(5, status="5xx")})
    assert totals(alias) == {("", ROUTE): 7, ("", ("/", "GET", "5xx")): 5}
    compact_at(alias, MIDNIGHT + 2)
    assert totals(alias) == {("", ROUTE): 7, ("", ("/", "GET", "5xx")): 5}


def test_no_retention_lets_them_fall(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 500 * DAY)
    put(alias, {MIDNIGHT + 500 * DAY: requests(2)})
    compact_at(alias, MIDNIGHT + 500 * DAY + 1)
    expire(alias, (MIDNIGHT + 501 * DAY) * 60.0)
    assert stored(alias)[3] == 0
    assert totals(alias) == {("", ROUTE): 5}


def test_a_series_of_which_nothing_came_for_years_keeps_its_name(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 1)
    expire(alias, (MIDNIGHT + 1_000 * DAY) * 60.0)
    assert totals(alias) == {("", ROUTE): 3}


def test_statements_count_for_their_database(alias):
    keys = [(ENDPOINT_QUERY.name, "/", "GET", "default", f"SELECT {name}") for name in "ab"]
    put(alias, {MIDNIGHT: {key: counted(key, 4) for key in keys}})
    assert totals(alias, DATABASE) == {("", ("default",)): 8}
    compact_at(alias, MIDNIGHT + 1)
    assert totals(alias, DATABASE) == {("", ("default",)): 8}


def test_clearing_the_store_clears_them(alias):
    put(alias, {MIDNIGHT: requests(3)})
    compact_at(alias, MIDNIGHT + 1)
    clear(alias)
    assert totals(alias) == {}


def test_hosts_are_told_apart_on_demand(alias):
    for host, count in (("one", 3), ("two", 5)):
        put(alias, {MIDNIGHT: requests(count)}, host=host)
    assert totals(alias, by_host=True) == {("one", ROUTE): 3, ("two", ROUTE): 5}
    compact_by_host(alias, MIDNIGHT + 1)
    put(alias, {MIDNIGHT + 1: requests(1)}, host="two")
    assert totals(alias, by_host=True) == {("one", ROUTE): 3, ("two", ROUTE): 6}
    assert stored(alias)[0] == 8


def test_a_host_that_is_gone_for_a_week_is_forgotten(alias):
    put(alias, {MIDNIGHT: requests(3)}, host="one")
    compact_by_host(alias, MIDNIGHT + 1)
    expire(alias, (MIDNIGHT + 6 * DAY) * 60.0)
    assert totals(alias, by_host=True) == {("one", ROUTE): 3}
    expire(alias, (MIDNIGHT + 8 * DAY) * 60.0)
    assert not Process.objects.using(alias).exists()
    assert totals(alias, by_host=True) == {}


def test_a_delta_that_cannot_be_read_is_told_and_costs_no_other(alias):
    put(alias, {MIDNIGHT: requests(3)})
    row = put(alias, {MIDNIGHT: requests(4)})[0]
    type(row).objects.using(alias).filter(flush_id=row.flush_id).update(payload=b"\x00B\x63")

    def read(snapshot):
        found = Totals(snapshot, by_host=False).sums(REQUEST)
        return sum(sum_.count for sum_ in found.values()), snapshot.unread

    assert consistent(alias, read) == (3, 1)


def test_rows_do_not_grow_with_time(alias):
    for minute in range(5):
        put(alias, {MIDNIGHT + minute: requests(1)})
        compact_at(alias, MIDNIGHT + minute + 1)
    assert Total.objects.using(alias).count() == 1
