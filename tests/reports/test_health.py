"""The report on django_perf itself."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import LOSS
from django_perf.reports.health import health
from django_perf.store.models import Delta
from django_perf.store.reader import consistent
from tests.store.data import MIDNIGHT, requests

from .data import HERE, series, store

pytestmark = pytest.mark.django_db


def state():
    return consistent("default", lambda snapshot: health(snapshot, HERE))


def test_a_store_that_nobody_writes_to_is_healthy_and_silent():
    found = state()
    assert (found.dropped, found.errors, found.last_flush, found.workers, found.is_losing) == (0, {}, None, 0, False)


def test_losses_are_counted_by_what_was_lost_and_errors_by_place():
    store(
        series(LOSS, ("dropped", "memory is full"), [3, 4]),
        series(LOSS, ("dropped", "series in one request"), [5]),
        series(LOSS, ("error", "flush: OperationalError"), [1, 1]),
        taken=MIDNIGHT * 60.0 + 230,
    )
    found = state()
    assert (found.dropped, found.errors) == (12, {"flush: OperationalError": 2})
    assert found.is_losing


def test_the_last_flush_of_any_process_is_told():
    store(pid=1, taken=MIDNIGHT * 60.0 + 220)
    store(pid=2, taken=MIDNIGHT * 60.0 + 230)
    assert (state().last_flush, state().workers) == ("2024-10-04T00:03:50+00:00", 2)
    assert not state().is_losing


def test_a_killed_worker_is_a_loss_and_a_stopped_one_is_none():
    store(pid=1, taken=MIDNIGHT * 60.0 + 100, final=True)
    assert not state().is_losing
    store(pid=2, taken=MIDNIGHT * 60.0 + 100)
    assert (state().workers, state().lost_workers, state().is_losing) == (0, 1, True)


def test_a_row_of_another_version_is_a_loss_to_this_one():
    (delta,) = store(requests(), taken=MIDNIGHT * 60.0 + 230)
    Delta.objects.filter(id=delta.id).update(version=2, payload=b"\x02")
    assert (state().unread, state().is_losing) == (1, True)
