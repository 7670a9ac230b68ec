"""The rules of processes, against levels made by hand: what they need is time."""

from __future__ import annotations

import random

import pytest

from django_perf.advisor.advice import HIGH, MEDIUM
from django_perf.advisor.rules.processes import lost_processes, memory_growth, saturated
from django_perf.metrics.catalog import PROCESS
from django_perf.reports.window import Window, last
from django_perf.store.reader import Range
from tests.reports.data import HERE, series, store
from tests.store.data import MIDNIGHT, compact_at

from .data import advised, severities

pytestmark = pytest.mark.django_db
HOUR = Window(Range(MIDNIGHT, MIDNIGHT + 60), (MIDNIGHT + 60) * 60.0)
MIB = 2**20


def level(gauge, values, minute=MIDNIGHT, host="web"):
    """Store levels as the processes of a host report them."""
    store(series(PROCESS, (gauge, host), [round(value * 100) for value in values]), minute=minute)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.8] * 20, [("saturated", MEDIUM)]),
        ([0.95] * 20, [("saturated", HIGH)]),
        ([0.79] * 20, []),
        ([1.0] * 19, []),
        ([1.0] * 100 + [0.0] * 100, []),
    ],
)
def test_slots_are_saturated_on_average_or_not_at_all(values, expected):
    level("saturation", values)
    assert severities(saturated) == expected


def test_each_host_is_judged_by_itself():
    level("saturation", [0.97] * 30)
    level("saturation", [0.2] * 300, host="batch")
    (advice,) = advised(saturated)
    assert advice.evidence.startswith("web: on average, 97% of the slots of its workers are busy")
    assert advice.page == "overview"


def grown(sizes, host="web", step=1):
    """Store one size in MiB per minute, as four processes of a host have it."""
    for number, size in enumerate(sizes):
        level("rss_bytes", [size * MIB + offset * MIB for offset in (-3, -1, 1, 3)], MIDNIGHT + number * step, host)


def noise(seed=1, width=2.0):
    chance = random.Random(seed)
    return [chance.uniform(-width, width) for _ in range(60)]


@pytest.mark.parametrize("is_merged", [False, True])
def test_processes_that_grow_steadily_leak(is_merged):
    grown(200 + minute * 1.5 + wobble for minute, wobble in enumerate(noise()))
    if is_merged:
        compact_at("default", MIDNIGHT + 60)
    (advice,) = advised(memory_growth, window=HOUR)
    assert (advice.rule, advice.severity) == ("memory_growth", HIGH)
    assert advice.evidence.startswith("web: its processes grow by 9")
    assert "an hour each, steadily for 59 minutes" in advice.evidence


def test_a_slow_growth_is_less_urgent():
    grown(400 + minute * 0.5 for minute in range(60))
    level("rss_bytes", [400 * MIB], MIDNIGHT, "other")
    assert severities(memory_growth, window=HOUR) == []
    grown((300 + number * 4 for number in range(60)), "slow", step=10)
    window = Window(Range(MIDNIGHT, MIDNIGHT + 600), (MIDNIGHT + 600) * 60.0)
    assert severities(memory_growth, window=window) == [("memory_growth", MEDIUM)]


@pytest.mark.parametrize(
    "sizes",
    [
        [200 + wobble for wobble in noise(2, 40)],
        [min(300, 200 + 20 * minute) for minute in range(60)],  # warms up
        [300 - minute for minute in range(60)],
        [200 + (minute >= 30) * 60 for minute in range(60)],  # a worker more
        [200 + minute % 15 * 6 for minute in range(60)],  # max_requests takes them in turn
        [200 + minute * 0.25 for minute in range(60)],  # 15 MiB
        [200 + minute * 10 for minute in range(9)],  # too short to tell
        [],
    ],
)
def test_what_wanders_warms_up_or_is_bounded_is_no_leak(sizes):
    grown(sizes)
    assert advised(memory_growth, window=HOUR) == []


def test_memory_wanders_without_being_called_a_leak():
    chance = random.Random(7)
    for number in range(10):
        size, sizes = 200.0, []
        for _ in range(60):
            size += chance.uniform(-1.5, 1.5)
            sizes.append(size)
        grown(sizes, host=f"web{number}")
    assert advised(memory_growth, window=HOUR) == []


def test_a_short_window_looks_at_the_hour_around_it():
    grown(200 + minute * 1.5 for minute in range(60))
    assert severities(memory_growth, window=last("5m", HOUR.now - 1)) == [("memory_growth", HIGH)]


def process(pid, age, final=False, rss=100 * MIB):
    store(pid=pid, taken=HERE.now - age, final=final, levels={"rss_bytes": float(rss)})


@pytest.mark.parametrize(
    ("lost", "stopped", "expected"),
    [
        (1, 0, []),
        (2, 0, [("lost_processes", MEDIUM)]),
        (2, 20, [("lost_processes", MEDIUM)]),
        (5, 5, [("lost_processes", HIGH)]),
        (5, 6, [("lost_processes", MEDIUM)]),
        (0, 9, []),
    ],
)
def test_processes_that_vanish_are_told_from_those_that_stop(lost, stopped, expected):
    process(999, 10)
    for pid in range(lost):
        process(pid, 100, rss=(pid + 1) * 500 * MIB)
    for pid in range(stopped):
        process(100 + pid, 100, final=True)
    assert severities(lost_processes) == expected


def test_the_largest_that_vanished_hints_at_the_memory_of_the_host():
    process(1, 100, rss=3_000_000_000)
    process(2, 100, rss=1_000_000)
    (advice,) = advised(lost_processes)
    assert advice.evidence.startswith("2 of 2 processes that ended did so without a last report")
    assert advice.evidence.endswith("the largest took 3\xa0GB")
    assert "OOM" in advice.remedy
