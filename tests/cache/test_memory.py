"""The memory level: what it keeps, for how long, and that nobody sees what they should not."""

from __future__ import annotations

import gc
import pickle
import random
import subprocess
import sys
import weakref
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from math import inf
from threading import Barrier, Event, Thread
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from django_perf.cache.entry import OVERHEAD_BYTES, frozen_bytes
from django_perf.cache.eviction import POLICIES
from django_perf.cache.memory import MISSING, Memory
from django_perf.cache.tokens import MOST_TOKENS
from tests.pool.fakes import Clock


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def make(clock):
    """Make memories under the clock."""
    return lambda *args, **options: Memory(*args, clock=clock, **options)


@pytest.fixture
def memory(make):
    """A memory as it comes."""
    return make()


@pytest.fixture
def get(memory, clock):
    """Read from `memory` now."""
    return lambda key: memory.get(key, clock())


def assert_sound(memory):
    """Compare the figures and the policy with the entries; empties the policy."""
    entries = dict(memory._bounded.entries)
    assert all(key == entry.key for key, entry in entries.items())
    assert len(memory) == len(entries) <= memory.max_entries
    assert memory.bytes == sum(entry.size for entry in entries.values()) <= memory.max_bytes
    assert {entry.key for entry in entries.values() if entry.gone_at < inf} == set(memory._bounded._deadlines._serials)
    victims = [memory._bounded._policy.victim() for _ in entries]
    assert {id(victim) for victim in victims} == {id(entry) for entry in entries.values()}


@pytest.mark.parametrize("policy", POLICIES)
class TestEveryPolicy:
    """What holds whatever leaves first."""

    def test_the_newest_is_there_and_the_bounds_hold(self, make, clock, policy):
        memory = make(10, 20_000, policy)
        source = random.Random(1)
        for number in range(3_000):
            key = f"key:{source.randrange(30)}"
            memory.put(key, "x" * source.randrange(3_000), source.choice([None, 0.5, 10]), grace=source.choice([0, 3]))
            assert memory.get(key, clock()) is not MISSING
            assert len(memory) <= 10
            assert memory.bytes <= 20_000
            for _ in range(source.randrange(4)):
                memory.get(f"key:{source.randrange(30)}", clock())
            clock.advance(source.random() if number % 5 == 0 else 0)
        assert_sound(memory)

    def test_of_an_emptied_memory_nothing_is_left(self, make, policy):
        memory = make(50, policy=policy)
        for number in range(70):
            memory.put(f"key:{number}", [number], 10)
            memory.put(f"key:{number}", [number, number], None)
        for number in range(70):
            memory.evict(f"key:{number}")
        assert (len(memory), memory.bytes) == (0, 0)
        assert_sound(memory)

    def test_what_has_ended_makes_room_before_anything_else(self, make, clock, policy):
        memory = make(10, policy=policy)
        for number in range(10):
            memory.put(f"key:{number}", number, None if number % 2 else 5)
        clock.advance(5)
        for number in range(5):
            memory.put(f"new:{number}", number, None)
        assert memory.take() == {"expired": 5}
        assert [memory.get(f"key:{number}", clock()) for number in (1, 3, 5, 7, 9)] == [1, 3, 5, 7, 9]

    def test_a_bigger_value_makes_room_for_itself(self, make, clock, policy):
        memory = make(100, 16_000, policy)
        for number in range(15):
            memory.put(f"key:{number}", "", None)
        memory.put("key:0", "x" * 3_000, None)
        memory.put("key:1", "x" * 3_000, None)
        assert memory.get("key:1", clock()) == "x" * 3_000
        assert memory.take()["evicted_entries"] > 0
        assert_sound(memory)

    def test_what_left_is_counted_with_its_bytes(self, make, policy):
        memory = make(3, policy=policy)
        for number in range(5):
            memory.put(f"key:{number}", number, None)
        assert memory.take() == {"evicted_entries": 2, "evicted_bytes": 2 * memory.bytes // 3}
        assert memory.take() == {}

    def test_threads_leave_it_sound_and_read_nothing_wrong(self, make, clock, policy):
        memory = make(40, 60_000, policy)
        tallies = run_in_threads(8, lambda number: mix(memory, clock, random.Random(number)))
        assert all(tally["hits"] + tally["misses"] == tally["gets"] for tally in tallies)
        assert sum(tally["hits"] for tally in tallies) > 100
        assert_sound(memory)


def run_in_threads(count, work):
    """Run in threads that start together and take turns as often as possible; return their results."""
    barrier, results, interval = Barrier(count), [], sys.getswitchinterval()

    def run(number):
        barrier.wait()
        results.append(work(number))

    threads = [Thread(target=run, args=(number,)) for number in range(count)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(results) == count
    return results


def mix(memory, clock, source):
    """Do all sorts of things with 80 keys; a value tells its key."""
    tally = {"gets": 0, "hits": 0, "misses": 0}
    for _ in range(400):
        key = f"key:{source.randrange(80)}"
        value = source.choice([key, [key], (key, "x" * source.randrange(2_000))])
        ttl = source.choice([None, 1, 5])
        match source.randrange(9):
            case 0:
                memory.put(key, value, ttl)
            case 1:
                memory.add(key, value, ttl)
            case 2:
                memory.evict(key)
            case 3:
                memory.touch(key, ttl)
            case 4:
                memory.fill(key, memory.begin(key), value, ttl, grace=1)
            case 5 if source.random() < 0.05:
                memory.evict_all()
            case 5:
                clock.advance(0.01)
            case _:
                found = memory.get(key, clock())
                tally["gets"] += 1
                tally["hits" if found == key or (found is not MISSING and found[0] == key) else "misses"] += 1
                assert found is MISSING or key in found
    return tally


# Times


def test_a_value_is_fresh_until_its_time_and_then_missing(memory, clock, get):
    memory.put("key", "value", 10)
    clock.advance(9.9)
    assert get("key") == "value"
    clock.advance(0.1)
    assert get("key") is MISSING
    assert memory.look("key", clock()) is None


def test_without_a_time_a_value_is_fresh_for_ever(memory, clock, get):
    memory.put("key", "value", None)
    clock.advance(1e9)
    assert get("key") == "value"
    assert memory.look("key", clock()) == ("value", inf, None)


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_time_that_is_over_removes(memory, get, ttl):
    memory.put("key", "old", 10)
    memory.put("key", "new", ttl)
    assert get("key") is MISSING
    assert len(memory) == 0


def test_a_stale_value_is_seen_by_look_alone_within_its_grace(memory, clock, get):
    memory.put("key", ["value"], 10, grace=5, meta="v1")
    assert memory.look("key", clock()) == (["value"], 10, "v1")
    clock.advance(12)
    assert get("key") is MISSING
    assert memory.look("key", clock()) == (["value"], -2, "v1")
    clock.advance(3)
    assert memory.look("key", clock()) is None


def test_the_ended_are_removed_by_writes_of_other_keys(memory, clock):
    for number in range(100):
        memory.put(f"key:{number}", number, 10, grace=5)
    clock.advance(15)
    for number in range(50):
        memory.put(f"new:{number}", number, None)
    assert len(memory) == 50
    assert memory.take() == {"expired": 100}


def test_the_ended_make_all_the_room_that_a_big_value_needs(make, clock):
    memory = make(100, 20_000)
    memory.put("kept", 1, None)
    while memory.bytes < 18_000:
        memory.put(f"key:{len(memory)}", 1, 10)
    clock.advance(10)
    memory.put("big", "x" * 4_000, None)
    assert memory.get("kept", clock()) == 1
    assert set(memory.take()) == {"expired"}


def test_touch_gives_another_time_and_keeps_value_grace_and_meta(memory, clock):
    memory.put("key", ["value"], 10, grace=5, meta="v1")
    assert memory.touch("key", 100)
    clock.advance(102)
    assert memory.look("key", clock()) == (["value"], -2, "v1")
    assert not memory.touch("key", 100)
    clock.advance(3)
    assert memory.look("key", clock()) is None


def test_touch_may_end_or_lift_the_time(memory, clock, get):
    memory.put("a", 1, 10)
    memory.put("b", 2, 10)
    assert memory.touch("a", None)
    assert memory.touch("b", 0)
    assert not memory.touch("c", 10)
    clock.advance(1e9)
    assert (get("a"), get("b"), get("c"), len(memory)) == (1, MISSING, MISSING, 1)


def test_none_is_a_value(memory, get):
    memory.put("key", None, 10)
    assert get("key") is None


# Sizes


def test_bytes_are_those_of_value_key_and_structures(memory):
    memory.put("key", "x" * 1_000, None)
    assert memory.bytes == sys.getsizeof("x" * 1_000) + sys.getsizeof("key") + sys.getsizeof(None) + OVERHEAD_BYTES
    memory.put("key", [[1, 2]], None, payload=b"x" * 500)
    assert memory.bytes == sys.getsizeof(b"x" * 500) + sys.getsizeof("key") + sys.getsizeof(None) + OVERHEAD_BYTES


def test_what_is_too_big_is_not_stored_and_removes_what_was_there(make, clock):
    memory = make(10, 8_000)
    memory.put("key", "small", None)
    memory.put("key", "x" * 2_000, None)
    assert memory.get("key", clock()) is MISSING
    assert not memory.add("key", "x" * 2_000, None)
    assert not memory.fill("key", memory.begin("key"), "x" * 2_000, None)
    assert (len(memory), memory.bytes, memory.take()) == (0, 0, {"too_big": 3})


def test_an_entry_may_take_a_quarter_of_the_room(make):
    memory = make()
    memory.put("key", "", None)
    for more, count in ((0, 1), (1, 0)):
        small = make(10, 4 * (memory.bytes + 100))
        small.put("key", "x" * (100 + more), None)
        assert len(small) == count


@pytest.mark.parametrize("bounds", [(0, 100), (10, 0)])
def test_bounds_below_one_are_refused(bounds):
    with pytest.raises(ValueError, match="have to be 1 or more"):
        Memory(*bounds)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="no eviction policy 'mru'; there are s3fifo, lru, lfu, ttl"):
        Memory(policy="mru")


def test_another_value_keeps_the_reads_of_its_key(make, clock):
    memory = make(2, policy="lfu")
    for key in "ab":
        memory.put(key, 1, None)
    memory.get("a", clock())
    memory.put("a", 2, None)
    memory.put("c", 1, None)
    assert (memory.get("a", clock()), memory.get("b", clock())) == (2, MISSING)


def test_another_value_keeps_the_place_of_its_key(make, clock):
    memory = make(3, policy="s3fifo")
    for key in "abcad":
        memory.put(key, 1, None)
    assert [memory.get(key, clock()) for key in "abcd"] == [MISSING, 1, 1, 1]


def test_the_least_recently_used_leaves_first(make, clock):
    memory, model = make(20, policy="lru"), OrderedDict()
    source = random.Random(7)
    for _ in range(3_000):
        key = f"key:{source.randrange(40)}"
        assert (memory.get(key, clock()) is MISSING) == (key not in model)
        if key not in model:
            memory.put(key, 1, None)
            model[key] = 1
        model.move_to_end(key)
        while len(model) > 20:
            model.popitem(last=False)


# Values


class Text(str):
    """Look like a str, and be able to carry anything."""

    __slots__ = ("extra",)


class Zone(tzinfo):
    """Be a time zone that can be changed."""


UNCHANGEABLE = [
    None,
    True,
    2**80,
    1.5,
    1j,
    "text",
    b"bytes",
    Decimal("1.5"),
    date(2026, 1, 2),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")),
    time(1, 2),
    timedelta(1),
    UUID(int=7),
    ("a", (1, frozenset({2, ("b", None)}))),
    tuple(range(63)),
]
CHANGEABLE = [
    [1],
    {"a": 1},
    {1},
    bytearray(b"a"),
    Text("text"),
    ("a", [1]),
    ((((Text("a"),),),),),
    datetime(2026, 1, 2, tzinfo=Zone()),
    tuple(range(64)),
]


@pytest.mark.parametrize("value", UNCHANGEABLE, ids=range(len(UNCHANGEABLE)))
def test_what_nobody_can_change_is_shared(memory, get, value):
    memory.put("key", value, None, payload=b"not looked at")
    assert get("key") is value
    assert memory.bytes > sys.getsizeof(value)


@pytest.mark.parametrize("value", CHANGEABLE, ids=range(len(CHANGEABLE)))
def test_anything_else_is_loaded_anew_for_every_reader(memory, get, value):
    memory.put("key", value, None)
    first, second = get("key"), get("key")
    assert type(first) is type(value)
    assert first is not value
    assert first is not second


@pytest.mark.parametrize("value", [{"a": 1, (2, 3): "b"}, [1, "a", None], {1, (2, 3)}, {}, [], set()], ids=str)
def test_what_holds_only_what_nobody_can_change_is_copied_and_not_pickled(make, clock, value):
    memory = make(dumps=lambda value: pytest.fail("pickled"))
    memory.put("key", value, None)
    expected = pickle.dumps(value)
    value.clear()
    memory.get("key", clock()).clear()
    memory.look("key", clock()).value.clear()
    assert memory.get("key", clock()) == pickle.loads(expected)
    assert memory.bytes > sys.getsizeof(pickle.loads(expected))


@pytest.mark.parametrize("value", [{"a": []}, [{}], {"a": (1, [])}, list(range(65)), dict.fromkeys(range(65))])
def test_what_holds_more_is_pickled(make, clock, value):
    memory, pickled = make(dumps=lambda value: seen.append(value) or pickle.dumps(value)), (seen := [])
    memory.put("key", value, None)
    assert (memory.get("key", clock()), pickled) == (value, [value])


def test_a_nest_that_nests_itself_in_many_items_is_given_up_early():
    value = ()
    for _ in range(50):
        value = (value, value)
    assert frozen_bytes(value) is None


def test_nobody_sees_the_changes_of_another(memory, clock, get):
    value = {"list": [1]}
    memory.put("key", value, None)
    value["list"].append(2)
    get("key")["list"].append(3)
    memory.look("key", clock()).value["list"].append(4)
    assert get("key") == {"list": [1]}


def test_nobody_changes_what_change_was_given_or_returned(memory, get):
    memory.put("key", [1], None)
    with pytest.raises(ZeroDivisionError):
        memory.change("key", lambda value: value.append(2) or 1 / 0)
    assert get("key") == [1]
    memory.change("key", lambda value: [*value, 2]).append(3)
    assert get("key") == [1, 2]


def test_what_is_pickled_is_not_kept_alive(memory):
    value = {1, 2}
    living = weakref.ref(value)
    memory.put("key", value, None)
    del value
    assert living() is None


def test_a_payload_spares_the_pickling(make, clock):
    memory = make(dumps=lambda value: pytest.fail("pickled"), loads=lambda payload: [payload])
    memory.put("put", [["never kept"]], None, payload=b"1")
    memory.fill("fill", memory.begin("fill"), [["never kept"]], None, payload=b"2")
    assert (memory.get("put", clock()), memory.get("fill", clock())) == ([b"1"], [b"2"])


def test_what_cannot_be_pickled_raises_and_changes_nothing(memory, get):
    memory.put("key", [1], None)
    size = memory.bytes
    for write in (
        lambda: memory.put("key", [memory._lock], None),
        lambda: memory.add("other", [memory._lock], None),
        lambda: memory.change("key", lambda value: [memory._lock]),
        lambda: memory.fill("other", memory.begin("other"), [memory._lock], None),
    ):
        with pytest.raises(TypeError, match="pickle"):
            write()
    assert (get("key"), get("other"), memory.bytes, len(memory._tokens)) == ([1], MISSING, size, 0)


def test_what_cannot_be_loaded_is_missing_and_leaves(memory, clock, get):
    for key in ("get", "look", "change"):
        memory.put(key, [[1]], None, payload=b"not a pickle")
    assert get("get") is MISSING
    assert memory.look("look", clock()) is None
    with pytest.raises(KeyError):
        memory.change("change", list)
    assert len(memory) == 0
    assert memory.take() == {"broken": 3}


def test_a_reader_of_what_is_broken_removes_nothing_newer(make, clock):
    def loads(payload):
        memory.put("key", "new", None)
        raise ValueError

    memory = make(loads=loads)
    memory.put("key", [[1]], None)
    assert memory.get("key", clock()) is MISSING
    assert memory.get("key", clock()) == "new"


# Operations


def test_add_stores_only_where_nothing_is_fresh(memory, clock, get):
    assert memory.add("key", "first", 10)
    assert not memory.add("key", "second", 10)
    assert get("key") == "first"
    clock.advance(10)
    assert memory.add("key", "third", None)
    assert get("key") == "third"
    assert memory.add("other", "never", 0)
    assert get("other") is MISSING


def test_of_many_that_add_one_succeeds(memory):
    added = run_in_threads(8, lambda number: [memory.add(f"key:{key}", number, None) for key in range(200)])
    assert [sum(column) for column in zip(*added, strict=True)] == [1] * 200


def test_change_keeps_the_expiry_grace_and_meta(memory, clock):
    memory.put("key", 1, 10, grace=5, meta="v1")
    clock.advance(4)
    assert memory.change("key", lambda value: value + 1) == 2
    assert memory.look("key", clock()) == (2, 6, "v1")


def test_change_of_what_is_absent_or_stale_raises(memory, clock):
    memory.put("stale", 1, 10, grace=5)
    clock.advance(10)
    for key in ("stale", "absent"):
        with pytest.raises(KeyError, match=key):
            memory.change(key, lambda value: pytest.fail("called"))


@pytest.mark.parametrize("start", [0, [0]])
def test_no_change_is_lost(memory, get, start):
    def increment(value):
        return [value[0] + 1] if isinstance(value, list) else value + 1

    memory.put("key", start, None)
    run_in_threads(8, lambda number: [memory.change("key", increment) for _ in range(100)])
    assert get("key") == (800 if start == 0 else [800])


def test_a_change_that_is_overtaken_by_an_eviction_stores_nothing(memory, get):
    memory.put("key", 1, None)
    with pytest.raises(KeyError):
        memory.change("key", lambda value: memory.evict("key") or value + 1)
    assert get("key") is MISSING


def test_evict_tells_whether_something_fresh_was_there(memory, clock):
    memory.put("fresh", 1, None)
    memory.put("stale", 1, 10, grace=5)
    clock.advance(10)
    assert memory.evict("fresh")
    assert not memory.evict("fresh")
    assert not memory.evict("stale")
    assert len(memory) == 0


# Tokens


def test_a_fill_stores_what_put_would(memory, clock):
    assert memory.fill("key", memory.begin("key"), [1], 10, grace=5, meta="v1")
    assert memory.look("key", clock()) == ([1], 10, "v1")
    assert len(memory._tokens) == 0


OVERTAKING = {
    "evict": lambda memory: memory.evict("key"),
    "evict_all": lambda memory: memory.evict_all(),
    "put": lambda memory: memory.put("key", "new", None),
    "put that removes": lambda memory: memory.put("key", "new", 0),
    "add": lambda memory: memory.evict("key") or memory.add("key", "new", None),
    "change": lambda memory: memory.change("key", lambda value: "new"),
    "touch": lambda memory: memory.touch("key", 10),
}


@pytest.mark.parametrize("overtaking", OVERTAKING)
def test_a_fill_that_began_before_a_write_or_an_eviction_is_refused(memory, clock, overtaking):
    memory.put("key", "present", 5)
    token = memory.begin("key")
    OVERTAKING[overtaking](memory)
    later = memory.begin("key")
    before = memory.get("key", clock())
    assert not memory.fill("key", token, "old", None)
    assert memory.get("key", clock()) is before
    assert memory.take() == {"refused": 1}
    assert memory.fill("key", later, "current", None)
    assert memory.get("key", clock()) == "current"


def test_two_readers_may_both_fill(memory):
    first, second = memory.begin("key"), memory.begin("key")
    assert memory.fill("key", first, "value", None)
    assert memory.fill("key", second, "value", None)
    assert not memory.fill("key", second, "value", None)


def test_an_abandoned_fill_leaves_the_other_alone(memory):
    first, second = memory.begin("key"), memory.begin("key")
    memory.abandon("key", first)
    assert memory.fill("key", second, "value", None)
    memory.abandon("key", memory.begin("key"))
    assert len(memory._tokens) == 0


@pytest.mark.parametrize("token", [None, object(), "key"])
def test_what_is_no_token_fills_nothing(memory, get, token):
    memory.abandon("key", token)
    assert not memory.fill("key", token, "value", None)
    assert get("key") is MISSING


def test_a_token_is_for_one_key(memory):
    memory.begin("other")
    assert not memory.fill("other", memory.begin("key"), "value", None)


def test_a_fill_whose_time_is_over_removes(memory, get):
    memory.put("key", "old", None)
    assert not memory.fill("key", memory.begin("key"), "new", 0)
    assert get("key") is MISSING
    assert memory.take() == {}


def test_of_too_many_fills_the_oldest_are_refused(memory):
    tokens = [(f"key:{number}", memory.begin(f"key:{number}")) for number in range(MOST_TOKENS + 2)]
    assert len(memory._tokens) == MOST_TOKENS
    assert [memory.fill(key, token, 1, None) for key, token in tokens[:4]] == [False, False, True, True]


def test_after_writes_below_and_evictions_no_thread_leaves_an_old_value(memory, clock):
    source = {f"key:{number}": 0 for number in range(3)}

    def work(number):
        for turn in range(300):
            key = f"key:{turn % 3}"
            if number < 2:
                source[key] += 1
                memory.evict(key)
            elif memory.get(key, clock()) is MISSING:
                token = memory.begin(key)
                memory.fill(key, token, source[key], None)

    run_in_threads(8, work)
    assert all(memory.get(key, clock()) in (value, MISSING) for key, value in source.items())


# Code of others


class Loud:
    """Call when it is collected."""

    def __init__(self, call):
        self.call = call

    def __del__(self):
        self.call()


def test_a_finaliser_of_what_left_finds_the_lock_free(make):
    memory, finished = make(2), []

    def from_elsewhere():
        done = Event()
        Thread(target=lambda: memory.put("last words", 1, None) or done.set(), daemon=True).start()
        finished.append(done.wait(5))

    for leave in (
        lambda: memory.put("key", 2, None),
        lambda: memory.evict("key"),
        lambda: memory.evict_all(),
        lambda: [memory.put(f"other:{number}", 2, None) for number in range(2)],
        lambda: memory.touch("key", 0),
    ):
        memory.put("key", 1, None, meta=Loud(from_elsewhere))
        leave()
    assert finished == [True] * 5
    assert "reentered" not in memory.take()


def interrupt(memory, call):
    """Let garbage be collected in the middle of the next admission, whose finaliser calls."""
    policy = memory._bounded._policy
    admit = policy.admit

    def collect(entry):
        policy.admit = admit
        knot = [Loud(call)]
        knot.append(knot)
        del knot
        gc.collect()
        admit(entry)

    policy.admit = collect


def test_a_finaliser_under_the_lock_evicts_what_it_touches(memory, get):
    answers = []

    def call():
        answers.extend([memory.evict("a"), get("a"), memory.put("b", "new", None), get("b"), get("c")])
        answers.extend([memory.add("d", 1, None), memory.fill("e", memory.begin("e"), 1, None), memory.take()])

    for key in "abc":
        memory.put(key, key, None)
    interrupt(memory, call)
    memory.put("key", "value", None)
    assert answers == [False, MISSING, None, MISSING, "c", False, False, {"reentered": 5}]
    assert [get(key) for key in ("a", "b", "c", "d", "e", "key")] == [MISSING, MISSING, "c", MISSING, MISSING, "value"]
    assert_sound(memory)


def test_an_eviction_in_the_middle_of_a_fill_of_the_same_key_wins(memory, get):
    token, other = memory.begin("key"), memory.begin("other")
    interrupt(memory, lambda: memory.evict("key"))
    memory.fill("key", token, "old", None)
    assert get("key") is MISSING
    interrupt(memory, lambda: memory.evict_all())
    memory.put("key", "old", None)
    assert get("key") is MISSING
    assert not memory.fill("other", other, "old", None)


def test_an_exception_in_the_middle_leaves_an_empty_memory_that_works(memory, get):
    def stop():
        raise SystemExit

    policy = memory._bounded._policy
    memory.put("a", 1, 10)
    token = memory.begin("b")
    policy.admit = lambda entry: stop()
    with pytest.raises(SystemExit):
        memory.put("c", 1, 10)
    del policy.admit
    assert (len(memory), memory.bytes, get("a")) == (0, 0, MISSING)
    assert not memory.fill("b", token, 1, None)
    assert run_in_threads(2, lambda number: memory.add("a", 2, None)).count(True) == 1
    assert get("a") == 2
    assert_sound(memory)


FORK = """
import os, sys, threading
from django_perf.cache.memory import MISSING, Memory
memory = Memory()
memory.put("key", "value", None)
token = memory.begin("other")
locked, done = threading.Event(), threading.Event()
def hold():
    with memory._lock:
        memory._is_busy = True
        locked.set()
        done.wait()
        memory._is_busy = False
holder = threading.Thread(target=hold)
holder.start()
locked.wait()
if not os.fork():
    is_empty = len(memory) == memory.bytes == 0 and memory.get("key", 0.0) is MISSING
    is_refused = not memory.fill("other", token, 1, None)
    memory.put("key", "child", None)
    os._exit(0 if is_empty and is_refused and memory.get("key", 0.0) == "child" else 9)
status = os.wait()[1]
done.set()
holder.join()
is_kept = memory.get("key", 0.0) == "value" and memory.fill("other", token, 1, None)
sys.exit(os.waitstatus_to_exitcode(status) or not is_kept)
"""


def test_a_child_starts_empty_with_a_lock_that_nobody_holds():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    assert subprocess.run(command, timeout=30, check=False).returncode == 0


def test_values_are_pickled_by_the_latest_protocol(make):
    seen = []
    memory = make(loads=lambda payload: seen.append(payload))
    memory.put("key", [[1]], None)
    memory.get("key", 0.0)
    assert seen == [pickle.dumps([[1]], pickle.HIGHEST_PROTOCOL)]
