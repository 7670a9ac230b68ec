"""Of all threads of all processes one computes; a dead leader is replaced; old values stand in for a broken source."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings
from django.core.cache import cache

from django_perf import cache_result, invalidate
from django_perf.cache import computing
from django_perf.cache.leases import LEASE_S

PROCESSES, THREADS = 4, 50


def worker(prefix, seconds, threads=THREADS):
    location = settings.CACHES["default"]["LOCATION"]
    command = [sys.executable, "-m", "tests.cache.cold_worker", location, prefix, str(seconds), str(threads)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def computed(processes):
    """Return how often all of them have computed together."""
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    return sum(int(output.split()[-1]) for output in outputs)


def test_a_cold_key_is_computed_once_by_fifty_threads_of_four_processes():
    assert computed([worker("cold-once", 1.5) for _ in range(PROCESSES)]) == 1


def test_a_leader_that_is_killed_is_replaced_by_one():
    leader = worker("cold-killed", 60, threads=1)
    try:
        assert leader.stdout.readline() == "computing\n"
        others = [worker("cold-killed", LEASE_S / 2) for _ in range(2)]
    finally:
        leader.kill()
        leader.communicate()
    assert computed(others) == 1


@pytest.fixture
def source():
    """A source that fails when it is told to, and what it has been asked."""

    class Source:
        asked, is_broken = 0, False

        def __call__(self):
            self.asked += 1
            if self.is_broken:
                raise ZeroDivisionError
            return f"answer {self.asked}"

    return Source()


def age(key, past_end=1.0):
    """Let an entry end a moment ago, as far as its grace allows."""
    levels, physical = cache.levels, cache.physical(key)
    entry = levels.read(physical)
    raw, name = levels.shared.redis.level.client, physical.encode()
    raw.pexpire(name, int((entry.meta.grace - past_end) * 1_000))
    levels.memory.evict(physical)


def test_an_old_value_is_served_when_its_source_fails_which_is_asked_again_later(source, monkeypatch):
    cached = cache_result(key="failing", fail_safe=100)(source)
    assert cached() == "answer 1"
    age("failing")
    source.is_broken = True
    assert [cached() for _ in range(5)] == ["answer 1"] * 5
    assert source.asked == 2
    monkeypatch.setattr(computing, "_THROTTLE_S", 0.0)
    cache.levels.computing._throttled.clear()
    source.is_broken = False
    assert [cached(), cached()] == ["answer 3"] * 2


def test_an_old_value_that_was_invalidated_is_never_served(source):
    cached = cache_result(key="invalid", tags=["all"], fail_safe=100)(source)
    cached()
    invalidate("all")
    source.is_broken = True
    with pytest.raises(ZeroDivisionError):
        cached()


FORGET = {
    "by-key": lambda cached: cached.invalidate(),
    "by-tag": lambda cached: invalidate("during"),
    "by-clear": lambda cached: cache.clear(),
    "by-delete": lambda cached: cache.delete("by-delete"),
}


@pytest.mark.parametrize("key", FORGET)
def test_what_is_invalidated_while_it_is_computed_is_not_kept(source, key):
    def overtaken():
        answer = source()
        FORGET[key](cached)
        return answer

    cached = cache_result(key=key, tags=["during"])(overtaken)
    assert (cached(), cached()) == ("answer 1", "answer 2")


def test_one_computes_anew_while_the_others_are_served_with_what_there_is(source):
    seen = []

    def slow():
        if source.asked:  # the second time: somebody else asks meanwhile
            seen.append(cached())
        return source()

    cached = cache_result(key="stale", stale=100)(slow)
    cached()
    age("stale")
    assert cached() == "answer 2"
    assert seen == ["answer 1"]


def test_a_dear_value_is_computed_early_and_a_cheap_one_is_not(source, monkeypatch):
    monkeypatch.setattr(computing.random, "random", lambda: 0.999)
    monkeypatch.setattr(computing, "_JITTER", 0.0)
    for key, early, again in (("dear", 1e9, 2), ("cheap", 1.0, 1), ("never", 0.0, 1)):
        before = source.asked
        cached = cache_result(ttl=100, key=key, early=early)(source)
        cached(), cached()
        assert source.asked - before == again, key
