"""Whatever function of django_perf fails, the site answers as if it were not there."""

from __future__ import annotations

import logging

import pytest

from django_perf.compression import compressor
from tests.end_to_end import fault_site, faults
from tests.end_to_end.fault_site import SETTINGS, Result, Site, compare, run

# python -m tests.end_to_end.fault_matrix hangs for 50 ms; here a pause that may change an order of things is enough.
HANG_S = 0.0002
# What a thread of ours runs has nobody above it.
THREADS = (
    "metrics.flusher:Flusher._run",
    "metrics.flusher:Flusher._guarded_flush",
    "compression.variants:Variants._run",
)
CODINGS, STREAMS = ("zstd", "br", "gzip"), ("/pieces", "/broken-pieces", "/pieces-async")


@pytest.fixture(autouse=True)
def _site(settings, transactional_db):
    settings.ROOT_URLCONF = "tests.end_to_end.fault_urls"
    settings.DJANGO_PERF = SETTINGS
    logging.disable()  # each fault is logged, and each failing view
    yield
    logging.disable(logging.NOTSET)


# In parts, which may run side by side.
PARTS = 3


@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_fault_and_no_delay_of_any_function_changes_a_response(part):
    targets = faults.find_targets()[part::PARTS]
    result = run(targets, HANG_S)
    assert result.changed == []
    assert result.killed <= {f"{name} raises" for name in THREADS}
    assert len(result.reached) > len(targets) / 2


def test_a_fault_outside_every_guard_is_seen(monkeypatch):
    monkeypatch.setattr(faults, "EXEMPT", {})
    (unguarded,) = [one for one in faults.find_targets() if one.name == "requests.middleware:TimingMiddleware.__call__"]
    site, result = Site(), Result()
    expected = site.intact_answers()
    with faults.raising(unguarded), site.measuring(unguarded.name, result):
        compare(site, expected, unguarded.name, result)
    assert len(result.changed) >= 11


def changed_by(site, name, fault):
    """Return the names of the requests of compression whose answers a fault changes."""
    expected, result = site.intact_answers(), Result()
    with fault, site.measuring(name, result):
        compare(site, expected, name, result)
    return {line.partition(": ")[2].partition(" gave ")[0] for line in result.changed}


@pytest.mark.parametrize("name", ["_relabel", "_vary"])
def test_a_coding_that_is_not_told_is_seen(monkeypatch, name):
    site = Site()
    with monkeypatch.context() as patch:
        expected, result = site.intact_answers(), Result()
        patch.setattr(compressor, name, lambda *args: None)
        compare(site, expected, "compression.", result)
    assert len(result.changed) == 6 * len(CODINGS)


def test_only_a_stream_may_break_off_and_the_site_sees_that_it_does(monkeypatch):
    name = "compression.streaming:Pump.feed"
    (feed,) = [one for one in faults.find_targets() if one.name == name]
    site = Site()
    assert changed_by(site, name, faults.raising(feed)) == set()
    monkeypatch.setattr(fault_site, "BREAKS_OFF", set())
    assert changed_by(site, name, faults.raising(feed)) == {
        f"{path} {coding}" for path in STREAMS for coding in CODINGS
    }
