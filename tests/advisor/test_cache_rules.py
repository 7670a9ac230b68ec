"""The rules of caches, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.advisor.advice import HIGH, LOW, MEDIUM
from django_perf.advisor.rules.cache import NAMES, cache_keys, cache_level
from django_perf.metrics.catalog import CACHE, CACHE_EVENT, CACHE_KEY
from tests.reports.data import series, store
from tests.reports.test_cache import NOW, calls, levels

from .data import advised, severities

pytestmark = pytest.mark.django_db


def keys(pattern="basket:*", alias="default", **counters):
    return series(CACHE_KEY, (alias, pattern), [0], **counters)


def events(alias="default", **counters):
    return series(CACHE_EVENT, (alias,), [0], **counters)


def test_keys_that_miss_cost_the_time_of_their_misses():
    store(
        keys(l1=300, miss=1_500, set=1_200),
        keys("product:*", l1=9_000, miss=500, set=100),
        calls("l1", 9_300, 1) | calls("miss", 2_000, 400),
    )
    (advice,) = advised(cache_keys)
    assert (advice.rule, advice.severity, advice.page) == ("low_hit_rate", MEDIUM, "cache")
    assert advice.evidence.startswith("Cache default, keys basket:*: Only 300 of 1,800 reads hit")
    assert advice.cost_ms == pytest.approx(600)  # 1,500 of 2,000 misses of 0.4 ms


@pytest.mark.parametrize(
    "counters",
    [
        {"l1": 300, "miss": 700, "set": 700},  # a thousand reads say nothing yet
        {"l1": 1_000, "miss": 1_000, "set": 900},
        {"l1": 3_000, "miss": 1_000, "set": 4_000},
    ],
)
def test_keys_that_hit_as_a_rule_or_are_few_are_well(counters):
    store(keys(**counters), calls("l1", 10, 1))
    assert advised(cache_keys) == []


def test_a_cache_that_misses_is_named_as_a_whole_where_no_pattern_is_to_blame():
    store(keys(l1=300, miss=1_500, set=10), calls("l1", 300, 1) | calls("miss", 1_500, 400))
    (advice,) = advised(cache_level, cache_keys)
    assert advice.evidence.startswith("Cache default: Only 300 of 1,800 reads hit (17%)")
    store(keys("visit:*", miss=1_500, set=1_500), calls("miss", 1_500, 400))
    (advice,) = advised(cache_level, cache_keys)
    assert advice.evidence.startswith("Cache default, keys visit:*")


def test_misses_for_want_of_room_are_no_fault_of_the_keys():
    table = keys(l1=300, miss=1_500, set=1_500), calls("l1", 300, 1) | calls("miss", 1_500, 400)
    store(*table, events(evicted_entries=1_400, ghost_hits=750), taken=NOW, levels=levels(max_entries=100))
    assert severities(cache_level, cache_keys) == [("small_memory", MEDIUM)]


def test_memory_that_would_have_had_more_with_twice_the_room_costs_what_is_read_from_below():
    store(
        calls("l1", 9_000, 1) | calls("l2", 1_000, 300),
        events(evicted_entries=2_000, ghost_hits=501),
        taken=NOW,
        levels=levels(max_entries=100, max_bytes=2**20, bytes=1_000),
    )
    (advice,) = advised(cache_level)
    assert (advice.rule, advice.severity) == ("small_memory", MEDIUM)
    assert "with twice the room it would have had 501 more" in advice.evidence
    assert advice.remedy == "raise L1's max_entries, now 100"
    assert advice.cost_ms == pytest.approx(150.3)


def test_evictions_of_what_nobody_asks_for_again_need_no_more_room():
    store(calls("l1", 9_000, 1) | calls("l2", 1_000, 300), events(evicted_entries=50_000, ghost_hits=500))
    assert advised(cache_level) == []


@pytest.mark.parametrize(("again", "expected"), [(10, []), (11, [("stampede", HIGH)])])
def test_values_that_are_computed_at_once_are_a_stampede_unless_they_are_few(again, expected):
    store(keys("cold-burst", l1=100, miss=60, set=60, again=again), calls("l1", 100, 1))
    assert severities(cache_keys) == expected


def test_a_level_that_is_away_is_told_with_the_processes_that_miss_it():
    for pid, redis in ((1, 2), (2, 0), (3, 2)):
        store(calls("l1", 9, 1), pid=pid, taken=NOW, levels=levels(redis=redis, table=0))
    (advice,) = advised(cache_level)
    assert (advice.rule, advice.severity) == ("level_away", HIGH)
    assert advice.evidence.startswith("Cache default: Level redis does not answer 2 of 3 processes")


def test_what_is_less_urgent_comes_last():
    store(
        calls("l1", 9_000, 1),
        events(too_big=101, store_refused=101, stampede_avoided=451, refused=101, foreign=1),
        taken=NOW,
        levels=levels(coherence=1, fallen_back=1),
    )
    assert severities(cache_level) == [
        ("weak_coherence", MEDIUM),
        ("foreign_values", MEDIUM),
        ("store_refused", MEDIUM),
        ("big_values", LOW),
        ("busy_keys", LOW),
        ("waiting_readers", LOW),
    ]


def test_every_judgement_on_a_cache_has_a_severity():
    from django_perf.reports import cache_advice

    names = {value for name, value in vars(cache_advice).items() if name.isupper() and isinstance(value, str)}
    assert names == set(NAMES)


def test_a_cache_without_figures_is_well():
    store(series(CACHE, ("default", "l1"), []), events())
    assert advised(cache_level, cache_keys) == []
