"""What the policies keep of generated requests; the figures on real ones are those of benchmarks/cache_traces.py."""

from __future__ import annotations

import random
from itertools import accumulate, cycle, islice

import pytest

from benchmarks.cache_traces import locmem, optimum, ours

SIZE = 200
REQUESTS = 20_000


def zipf(seed, *, keys=2_000, exponent=0.9):
    """Return requests of which few keys have most."""
    weights = list(accumulate(1 / rank**exponent for rank in range(1, keys + 1)))
    return random.Random(seed).choices([f"key:{rank}" for rank in range(keys)], cum_weights=weights, k=REQUESTS)


def with_scans(requests, every=1_000, length=300):
    """Return the requests, with keys in between that are asked for once, as by a crawler."""
    mixed = []
    for start in range(0, len(requests), every):
        mixed += [*requests[start : start + every], *(f"scan:{start + number}" for number in range(length))]
    return mixed


def points(count, requests):
    """Return the hit ratio in percent."""
    return 100 * count(requests, SIZE) / len(requests)


@pytest.mark.parametrize("seed", range(3))
def test_s3fifo_keeps_the_popular_better_than_lru(seed):
    requests = zipf(seed)
    assert points(ours("s3fifo"), requests) > points(ours("lru"), requests) + 2.5


@pytest.mark.parametrize("seed", range(3))
def test_s3fifo_lets_scans_pass(seed):
    requests = with_scans(zipf(seed))
    assert points(ours("s3fifo"), requests) > points(ours("lru"), requests) + 4


def test_s3fifo_keeps_a_part_of_a_loop_that_is_longer_than_the_room():
    requests = list(islice(cycle([f"key:{number}" for number in range(SIZE + 20)]), REQUESTS))
    assert points(ours("lru"), requests) == 0
    assert points(ours("s3fifo"), requests) > 30


def test_s3fifo_follows_when_what_is_popular_changes():
    before = zipf(1)
    after = [f"other {key}" for key in zipf(2)]
    assert points(ours("s3fifo"), before + after) > points(ours("lru"), before + after) + 2


def test_lru_is_exact():
    requests = zipf(4)
    recent, hits = [], 0
    for key in requests:
        if key in recent:
            hits += 1
            recent.remove(key)
        recent.append(key)
        del recent[:-SIZE]
    assert ours("lru")(requests, SIZE) == hits


def test_nobody_surpasses_the_optimum():
    requests = with_scans(zipf(5))
    best = optimum(requests, SIZE)
    assert all(count(requests, SIZE) < best for count in (*map(ours, ("s3fifo", "lru", "lfu", "ttl")), locmem))
