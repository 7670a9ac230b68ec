"""What the figures of a cache advise to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_perf.reports.cache_advice import Usage, advice, advice_on_keys

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
        ({"l1": 2_000, "evicted": 5_000}, ("evicts 5,000", "20% of the reads", "max_entries, now 1,000")),
        (
            {"l1": 2_000, "evicted": 5_000, "bytes": 120_000_000},
            ("evicts 5,000", "max_bytes, now 32,000,000"),
        ),
        ({"too_big": 101}, ("a quarter of L1's max_bytes", "l1_exclude")),
        ({"refused": 200}, ("200 values changed while memory was filled", "l1_exclude")),
        ({"store_refused": 101}, ("101 computed values were not stored", "invalidate less")),
    ],
)
def test_a_fault_is_told_with_its_remedy(changes, words):
    (sentence,) = advice(replace(WELL, **changes))
    assert [word for word in words if word not in sentence] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"l1": 8_000, "evicted": 5_000},  # it works all the same
        {"l1": 2_000, "evicted": 100},
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
    ("hits", "reads", "sets", "is_bad"),
    [
        (400, 1_001, 401, True),
        (0, 5_000, 1, True),
        (400, 1_001, 400, False),  # as often found as stored
        (400, 1_000, 900, False),
        (600, 1_200, 900, False),
        (0, 0, 0, False),
    ],
)
def test_keys_that_are_stored_more_than_found_are_not_worth_it(hits, reads, sets, is_bad):
    assert bool(advice_on_keys(hits, reads, sets)) is is_bad


def test_the_advice_on_keys_tells_the_figures():
    assert advice_on_keys(100, 2_000, 500).startswith("Only 100 of 2,000 reads hit")
