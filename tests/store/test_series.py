"""Numbers for series, and their bound for the whole cluster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.metrics.cardinality import Cardinality
from django_perf.metrics.catalog import ENDPOINT_QUERY, EXCEPTION, OTHER, QUERY, REQUEST, SITE
from django_perf.store.models import Series
from django_perf.store.reader import Range, consistent
from django_perf.store.series import chunked, hash_of, key_of

from .data import DAY, HOUR, MIDNIGHT, compact_at, counted, put, requests

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


def sums(alias, kind):
    return consistent(alias, lambda snapshot: snapshot.sums(kind, Range(MIDNIGHT, MIDNIGHT + 9 * DAY)))


def routes(numbers, **fields):
    table = {}
    for number in numbers:
        table |= requests(route=f"/{number:03}", **fields)
    return table


def admitted(table):
    """Bound a table as the recorder of one process does."""
    rules = Cardinality()
    result = {}
    for key, aggregate in table.items():
        admitted_key = rules.admit(key)
        result.setdefault(admitted_key, counted(admitted_key, 0)).merge(aggregate)
    return result


def test_the_cluster_keeps_500_routes_and_every_count_of_the_others(alias):
    """Three processes see 600 routes, each a different 400 of them first."""
    for first in (0, 200, 400):
        numbers = [(first + number) % 600 for number in range(600)]
        table = routes(numbers) | routes(numbers[:400], status="5xx", errors=1) | routes(numbers[500:], method="POST")
        put(alias, {MIDNIGHT: admitted(table)})
        compact_at(alias, MIDNIGHT + 1)
    found = sums(alias, REQUEST)
    names = {labels[0] for labels in found}
    assert len(names - {OTHER}) == 500
    by_rest = {}
    for (_, method, status), one in found.items():
        count, errors = by_rest.get((method, status), (0, 0))
        by_rest[method, status] = (count + one.count, errors + one.counter(REQUEST, "errors"))
    assert by_rest == {("GET", "2xx"): (1_800, 0), ("GET", "5xx"): (1_200, 1_200), ("POST", "2xx"): (300, 0)}
    assert {labels[1:] for labels in found if labels[0] == OTHER} == set(by_rest)
    (site,) = sums(alias, SITE).values()
    assert (site.count, site.counter(SITE, "errors")) == (3_300, 1_200)


def test_kinds_of_one_route_share_its_place_under_the_cap(alias):
    table = routes(range(500))
    for route in ("/000", "/500"):
        for kind, rest in ((ENDPOINT_QUERY, ("default", "SELECT 1")), (EXCEPTION, ("KeyError",))):
            key = (kind.name, route, "GET", *rest)
            table[key] = counted(key)
    put(alias, {MIDNIGHT: table})
    compact_at(alias, MIDNIGHT + 1)
    for kind in (ENDPOINT_QUERY, EXCEPTION):
        assert {labels[0] for labels in sums(alias, kind)} == {"/000", OTHER}
    (query,) = sums(alias, QUERY).values()
    assert query.count == 2


def test_names_not_seen_for_a_day_make_room(alias):
    put(alias, {MIDNIGHT: routes(range(500))})
    compact_at(alias, MIDNIGHT + 1)
    put(alias, {MIDNIGHT + DAY: requests(route="/early")})
    put(alias, {MIDNIGHT + DAY + 1: requests(route="/new")})
    compact_at(alias, MIDNIGHT + DAY + 2)
    found = {labels[0] for labels in sums(alias, REQUEST)}
    assert "/new" in found
    assert "/early" not in found


def test_a_known_name_keeps_its_number(alias):
    for minute in (0, 1):
        put(alias, {MIDNIGHT + minute: requests()})
        compact_at(alias, MIDNIGHT + minute + 1)
    assert Series.objects.using(alias).count() == 2


def test_last_seen_is_refreshed_once_an_hour(alias):
    seen = []
    for minute in (0, HOUR, HOUR + 1, HOUR + 2, 2):
        put(alias, {MIDNIGHT + minute: requests()})
        compact_at(alias, MIDNIGHT + DAY)
        seen.append(Series.objects.using(alias).get(kind=REQUEST.name).last_seen - MIDNIGHT)
    assert seen == [0, 0, HOUR + 1, HOUR + 1, HOUR + 1]


@given(st.lists(st.lists(st.text(max_size=5), max_size=3).map(tuple), unique=True, max_size=20))
def test_no_two_keys_share_a_hash(keys):
    assert len({hash_of(key) for key in keys}) == len(keys)


def test_the_hash_of_a_key_never_changes():
    assert hash_of(("query", "default", "SELECT 1")) == "43689df3d1c74f7c82a947cfab107228"


def test_a_row_gives_back_the_key_it_was_made_for():
    assert key_of(Series(kind="request", labels='["/é","GET","2xx"]')) == ("request", "/é", "GET", "2xx")


@given(st.lists(st.integers()), st.integers(1, 9))
def test_chunks_hold_everything_in_order_and_no_more_than_the_size(items, size):
    chunks = list(chunked(items, size))
    assert [item for chunk in chunks for item in chunk] == items
    assert all(0 < len(chunk) <= size for chunk in chunks)
