"""What the figures of a cache advise to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_perf.reports.cache_advice import KeysUsage, Usage, judged, judged_keys


def advice(usage):
    """Return what is wrong as sentences."""
    return [one.text for one in judged(usage)]


WELL = Usage(
    processes=4,
    reads=10_000,
    l1=8_000,
    from_below=1_500,
    bytes=20_000_000,
    max_entries=4_000,
    max_bytes=128_000_000,
)


def test_a_cache_that_is_well_needs_nothing():
    assert advice(WELL) == advice(Usage()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"open": {"redis": 3}}, ("Level redis does not answer 3 of 4 processes", "the log names the error")),
        ({"fallen_back": "pubsub"}, ("Redis refuses CLIENT TRACKING", "(pubsub)", "+client|tracking")),
        ({"fallen_back": "ttl"}, ("nobody tells of writes (ttl)", "+client|tracking", "+subscribe +publish")),
        ({"foreign": 1}, ("1 values were sealed by nobody", "SECRET_KEY", "KEY_PREFIX")),
        (
            {"l1": 4_000, "evicted": 5_000, "ghost_hits": 501},
            ("evicts 5,000", "40% of the reads", "had 501 more", "max_entries, now 1,000"),
        ),
        (
            {"evicted": 5_000, "ghost_hits": 501, "bytes": 120_000_000},
            ("evicts 5,000", "max_bytes, now 32,000,000"),
        ),
        ({"too_big": 101}, ("a quarter of L1's max_bytes", "l1_exclude")),
        ({"refused": 200}, ("200 values changed while memory was filled", "l1_exclude")),
        ({"l1": 3_499}, ("Only 4,999 of 10,000 reads hit (50%)", "patterns of keys")),
        ({"waited": 501}, ("501 of 10,000 reads waited", "`stale`")),
        ({"store_refused": 101}, ("101 computed values were not stored", "invalidate less")),
    ],
)
def test_a_fault_is_told_with_its_remedy(changes, words):
    (sentence,) = advice(replace(WELL, **changes))
    assert [word for word in words if word not in sentence] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"evicted": 500_000, "ghost_hits": 500},  # more room would be no help
        {"reads": 1_000, "l1": 900, "from_below": 50, "evicted": 500, "ghost_hits": 100, "waited": 100},
        {"reads": 1_000, "l1": 0, "from_below": 0},
        {"l1": 3_500},
        {"waited": 500},
        {"refused": 100},
        {"store_refused": 100, "too_big": 100},
    ],
)
def test_what_is_little_is_not_worth_a_word(changes):
    assert advice(replace(WELL, **changes)) == []


def test_the_most_urgent_comes_first():
    found = advice(replace(WELL, open={"redis": 4, "table": 1}, store_refused=500, fallen_back="ttl"))
    assert [text.split()[1] for text in found] == ["redis", "table", "refuses", "computed"]


@pytest.mark.parametrize(
    ("hits", "reads", "sets", "again", "rule"),
    [
        (400, 1_001, 401, 0, "low_hit_rate"),
        (0, 5_000, 1, 0, "low_hit_rate"),
        (400, 1_001, 400, 0, None),  # as often found as stored
        (400, 1_000, 900, 0, None),
        (600, 1_200, 900, 0, None),
        (0, 0, 0, 0, None),
        (100, 200, 100, 11, "stampede"),
        (100, 200, 100, 10, None),
        (9_000, 10_000, 1_000, 100, None),
        (9_000, 10_000, 1_000, 101, "stampede"),
    ],
)
def test_the_keys_of_a_pattern_are_judged_by_what_is_stored(hits, reads, sets, again, rule):
    found = judged_keys(KeysUsage(hits, reads, sets, again))
    assert (found.rule if found else None) == rule


def test_the_advice_on_keys_tells_the_figures():
    assert judged_keys(KeysUsage(100, 2_000, 500)).text.startswith("Only 100 of 2,000 reads hit")
    assert "21 of 100 values were computed" in judged_keys(KeysUsage(100, 200, 100, 21)).text


def test_a_cache_that_has_been_closed_since_is_no_weak_one():
    assert advice(replace(WELL, fallen_back="off")) == []
