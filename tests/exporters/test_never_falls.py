"""Whatever is flushed, merged, expired, restarted on whichever host: no counter goes backwards."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.db import transaction
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_perf.conf import get_settings
from django_perf.exporters.prometheus import OPENMETRICS
from django_perf.store.compactor import GRACE_S, compact
from django_perf.store.retention import expire
from tests.exporters.data import everything, samples, scrape
from tests.store.data import DAY, HOUR, MIDNIGHT, holder_of, put, requests

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])

GROWING = ("_total", "_bucket", "_count", "_sum")
hosts = st.sampled_from(["web1", "web2"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("flush"), st.tuples(hosts, st.integers(0, 3), st.sampled_from([0, 1, HOUR, 3 * DAY]))),
        st.tuples(st.just("wait"), st.sampled_from([1, 7, HOUR, DAY - 13, 8 * DAY, 36 * DAY, 500 * DAY])),
        st.tuples(st.just("restart"), hosts),
        st.tuples(st.sampled_from(["merge", "expire"]), st.none()),
    ),
    min_size=3,
    max_size=10,
)


class History:
    """Do to a store what may happen to it."""

    def __init__(self, alias):
        self.alias = alias
        self.now = MIDNIGHT + 13 * HOUR + 7
        self.pids = {"web1": 1, "web2": 1_001}

    def flush(self, what):
        host, number, age = what
        tables = requests(number, route=f"route{number}", us=10 ** (2 * number)) if number else everything()[0]
        put(self.alias, {self.now - age: tables}, host=host, pid=self.pids[host], taken=self.now * 60.0)

    def wait(self, minutes):
        self.now += minutes

    def restart(self, host):
        put(self.alias, {self.now: {}}, host=host, pid=self.pids[host], taken=self.now * 60.0, final=True)
        self.pids[host] += 1

    def merge(self, _):
        compact(holder_of(self.alias), self.now * 60.0 + GRACE_S, by_host=get_settings().metrics_by_host)

    def expire(self, _):
        expire(self.alias, self.now * 60.0)


@contextmanager
def rolled_back(alias):
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


def counters():
    found = samples(scrape(OPENMETRICS))
    return {key: value for key, value in found.items() if key[0].endswith(GROWING)}


def follow(alias, history_steps, check):
    """Scrape after each step, and compare with the scrape before."""
    with rolled_back(alias):
        history, before = History(alias), counters()
        for name, argument in history_steps:
            getattr(history, name)(argument)
            after = counters()
            assert [key for key in before if key in after and after[key] < before[key]] == []
            check(before, after)
            before = after


def test_no_counter_of_the_site_falls_or_vanishes(alias):
    @hypothesis_settings(max_examples=20)
    @given(steps)
    def holds(history_steps):
        follow(alias, history_steps, lambda before, after: [after[key] for key in before])

    holds()


def test_no_counter_of_a_host_falls_and_one_vanishes_only_with_its_host(alias, settings):
    settings.DJANGO_PERF = {**settings.DJANGO_PERF, "METRICS_BY_HOST": True}

    def check(before, after):
        left = {dict(labels)["host"] for name, labels in set(before) - set(after)}
        assert not left & {dict(labels)["host"] for _, labels in after}

    @hypothesis_settings(max_examples=20)
    @given(steps)
    @example(
        [("flush", ("web1", 1, 0)), ("wait", 36 * DAY), ("flush", ("web1", 0, 0)), ("merge", None), ("expire", None)]
    )
    def holds(history_steps):
        follow(alias, history_steps, check)

    holds()
