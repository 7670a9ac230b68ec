"""Whatever happens in whatever order, a reader sees every count once."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from django_perf.store.retention import expire
from django_perf.store.tiers import floor, resolution

from .data import DAY, HOUR, MIDNIGHT, compact_at, put, read, requests

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])

ages = st.one_of(st.integers(0, 30), st.integers(0, 2 * DAY), st.integers(0, 60 * DAY))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("flush"), st.dictionaries(ages, st.integers(1, 9), min_size=1, max_size=3)),
        st.tuples(st.just("wait"), st.sampled_from([1, 7, HOUR, DAY - 13, 8 * DAY, 36 * DAY])),
        st.tuples(st.sampled_from(["compact", "expire"]), st.none()),
    ),
    min_size=3,
    max_size=14,
)
spans = st.lists(st.tuples(ages, ages), min_size=4, max_size=4)


class History:
    """Do the same to a store and to a plain dict of counts by minute."""

    def __init__(self, alias):
        self.alias = alias
        self.now = MIDNIGHT + 13 * HOUR + 7
        self.counts = {}

    def flush(self, by_age):
        tables = {self.now - age: requests(count) for age, count in by_age.items()}
        put(self.alias, tables, taken=self.now * 60.0)
        for age, count in by_age.items():
            self.counts[self.now - age] = self.counts.get(self.now - age, 0) + count

    def wait(self, minutes):
        self.now += minutes

    def compact(self, _):
        compact_at(self.alias, self.now)

    def expire(self, _):
        expire(self.alias, self.now * 60.0)

    def check(self, one, other):
        """Compare a range; each of its ends is a bucket's edge of the finest tier still kept of its age."""
        start, end = sorted(floor(self.now - age, resolution(age)) for age in (one, other))
        expected = sum(count for minute, count in self.counts.items() if start <= minute < end)
        assert read(self.alias, start, end) == expected, (start, end)


@contextmanager
def rolled_back(alias):
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


@pytest.mark.parametrize("alias", ["sqlite"], indirect=True)
def test_a_reader_sees_every_count_once_whatever_was_compacted_and_expired(alias):
    @settings(max_examples=35)
    @given(steps, spans)
    def holds(history_steps, ranges):
        with rolled_back(alias):
            history = History(alias)
            for name, argument in history_steps:
                getattr(history, name)(argument)
            for one, other in ranges:
                history.check(one, other)
            history.compact(None)
            history.check(0, 60 * DAY)

    holds()
