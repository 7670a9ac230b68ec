"""Whatever function of django_perf fails, the site answers as if it were not there."""

from __future__ import annotations

import logging

import pytest

from tests.end_to_end import faults
from tests.end_to_end.fault_site import SETTINGS, Result, Site, compare, run

# python -m tests.end_to_end.fault_matrix hangs for 50 ms; here a pause that may change an order of things is enough.
HANG_S = 0.0002


@pytest.fixture(autouse=True)
def _site(settings, transactional_db):
    settings.ROOT_URLCONF = "tests.end_to_end.fault_urls"
    settings.DJANGO_PERF = SETTINGS
    logging.disable()  # each fault is logged, and each failing view
    yield
    logging.disable(logging.NOTSET)


def test_no_fault_and_no_delay_of_any_function_changes_a_response():
    targets = faults.find_targets()
    result = run(targets, HANG_S)
    assert result.changed == []
    assert result.killed <= {"metrics.flusher:Flusher._run raises", "metrics.flusher:Flusher._guarded_flush raises"}
    assert len(result.reached) > len(targets) / 2


def test_a_fault_outside_every_guard_is_seen(monkeypatch):
    monkeypatch.setattr(faults, "EXEMPT", {})
    (unguarded,) = [one for one in faults.find_targets() if one.name == "requests.middleware:TimingMiddleware.__call__"]
    site, result = Site(), Result()
    expected = site.intact_answers()
    with faults.raising(unguarded), site.measuring(unguarded.name, result):
        compare(site, expected, unguarded.name, result)
    assert len(result.changed) >= 11
