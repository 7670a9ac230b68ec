"""The policies by themselves, on entries without values."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.cache.entry import Entry
from django_perf.cache.eviction import POLICIES, Lru, Ranking, S3Fifo, Ttl


def entry(key, *, hits=0, fresh_until=inf):
    """Return an entry that nobody looks into."""
    return Entry(key, None, None, fresh_until, 0.0, None, hits=hits)


def admit(policy, keys):
    """Admit fresh entries, and return them by key."""
    entries = {key: entry(key) for key in keys}
    for one in entries.values():
        policy.admit(one)
    return entries


def read(policy, *entries):
    """Do what a reader of the entries does."""
    for one in entries:
        one.hits += 1
        if policy.touch is not None:
            policy.touch(one.key)


def order(policy, count):
    """Return the keys in the order in which they would leave."""
    return "".join(policy.victim().key for _ in range(count))


@pytest.mark.parametrize("name", POLICIES)
class TestEveryPolicy:
    """What the store relies upon, whatever the policy."""

    @given(
        operations=st.lists(
            st.tuples(st.sampled_from(["store", "remove", "read", "victim"]), st.sampled_from("abcdefgh"))
        )
    )
    def test_each_entry_leaves_once_and_as_it_was_last_given(self, name, operations):
        policy, held = POLICIES[name](), {}
        for operation, key in operations:
            if operation == "store":
                new = entry(key, fresh_until=len(operations) - len(held))
                policy.replace(held[key], new) if key in held else policy.admit(new)
                held[key] = new
            elif operation == "victim" and held:
                victim = policy.victim()
                assert held.pop(victim.key) is victim
            elif key in held:
                policy.remove(held.pop(key)) if operation == "remove" else read(policy, held[key])
        for _ in range(len(held)):
            victim = policy.victim()
            assert held.pop(victim.key) is victim

    def test_what_has_gone_may_be_removed_again(self, name):
        policy = POLICIES[name]()
        admit(policy, "ab")
        victim = policy.victim()
        policy.remove(victim)
        assert policy.victim() is not victim

    def test_after_clear_nothing_old_leaves(self, name):
        policy = POLICIES[name]()
        read(policy, *admit(policy, "abc").values())
        policy.clear()
        admit(policy, "d")
        assert policy.victim().key == "d"

    def test_a_key_that_comes_back_soon_after_it_had_to_leave_is_known(self, name):
        policy = POLICIES[name]()
        entries = admit(policy, "abcd")
        gone = policy.victim()
        assert (policy.admit(entry("e")), policy.admit(entry(gone.key))) == (False, True)
        (removed,) = [one for key, one in entries.items() if key != gone.key][:1]
        policy.remove(removed)
        assert policy.admit(entry(removed.key)) is False

    def test_of_those_who_had_to_leave_no_more_are_remembered_than_are_here(self, name):
        policy = POLICIES[name]()
        for number in range(50):
            if number >= 10:
                policy.victim()
            policy.admit(entry(f"{number}"))
        assert len(policy._ghost._left) <= 10
        assert policy.admit(entry("0")) is False

    def test_a_victim_is_found_though_all_are_read_all_the_time(self, name):
        policy = POLICIES[name]()
        entries = admit(policy, map(str, range(500)))
        for _ in range(500):
            read(policy, *entries.values())
            del entries[policy.victim().key]
        assert not entries

    def test_what_has_left_leaves_no_garbage_without_bound(self, name):
        policy = POLICIES[name]()
        old = entry("always")
        policy.admit(old)
        for number in range(2_000):
            policy.admit(entry(f"{number}", fresh_until=number))
            policy.victim()
            policy.admit(passing := entry(f"passing {number}", fresh_until=number))
            policy.remove(passing)
        assert all(_length(part) <= 70 for part in vars(policy).values())


def _length(part):
    return len(part._heap) if isinstance(part, Ranking) else len(part) if hasattr(part, "__len__") else 0


def test_a_ranking_keeps_no_more_garbage_than_keys():
    ranking = Ranking()
    ranking.push("low", 0)
    for number in range(1_000):
        ranking.push("high", number)
        ranking.push(f"{number}", 5)
        ranking.remove(f"{number}")
    assert len(ranking._heap) <= 70
    ranking.remove("low")
    assert ranking.lowest() == (999, "high")


def test_lru_lets_the_least_recently_used_go_first():
    policy = Lru()
    entries = admit(policy, "abcd")
    read(policy, entries["a"], entries["c"], entries["a"])
    policy.replace(entries["b"], entry("b"))
    assert order(policy, 4) == "dcab"


def test_lru_counts_the_reads_before_a_write_as_before_it():
    policy = Lru()
    entries = admit(policy, "ab")
    read(policy, entries["a"])
    admit(policy, "c")
    assert order(policy, 3) == "bac"


def test_lru_forgets_the_oldest_of_too_many_reads():
    policy = Lru()
    entries = admit(policy, "abc")
    read(policy, entries["a"])
    for _ in range(Lru.KEPT_TOUCHES):
        read(policy, entries["b"])
    assert order(policy, 3) == "acb"


def test_lfu_lets_the_least_often_read_go_first_and_the_oldest_of_equals():
    policy = POLICIES["lfu"]()
    entries = admit(policy, "abcde")
    read(policy, *[entries["a"]] * 3, entries["b"], entries["d"], entries["d"])
    assert order(policy, 5) == "cebda"


def test_lfu_counts_a_write_as_no_read():
    policy = POLICIES["lfu"]()
    entries = admit(policy, "ab")
    read(policy, entries["a"])
    policy.replace(entries["a"], entry("a", hits=1))
    policy.replace(entries["b"], entry("b"))
    assert order(policy, 2) == "ba"


def test_ttl_lets_the_one_go_that_is_stale_first():
    policy = Ttl()
    for key, fresh_until in [("a", 30), ("b", inf), ("c", 10), ("d", 20), ("e", inf)]:
        policy.admit(entry(key, fresh_until=fresh_until))
    policy.replace(entry("c"), entry("c", fresh_until=40))
    assert order(policy, 5) == "dacbe"


def test_s3fifo_lets_keys_go_that_nobody_asked_for_again():
    policy = S3Fifo()
    entries = admit(policy, "abcd")
    read(policy, entries["a"], entries["c"])
    assert order(policy, 2) == "bd"


def test_s3fifo_gives_a_round_in_the_main_queue_for_each_of_the_latest_reads():
    policy = S3Fifo()
    entries = admit(policy, "ab")
    read(policy, *entries.values())
    policy._out_of_small()
    policy._out_of_small()
    for _ in range(50):
        read(policy, entries["a"])
    leaving = [policy._out_of_main() for _ in range(5)]
    assert leaving == [None, entries["b"], None, None, entries["a"]]


def test_s3fifo_puts_a_key_that_soon_comes_back_into_the_main_queue():
    policy = S3Fifo()
    admit(policy, "abcd")
    assert order(policy, 1) == "a"
    admit(policy, "a")
    assert list(policy._main) == ["a"]
    assert not policy._ghost._left


def test_s3fifo_puts_a_useful_key_that_was_removed_into_the_main_queue():
    policy = S3Fifo()
    entries = admit(policy, "abcd")
    read(policy, *entries.values())
    policy._out_of_small()
    policy.remove(entries["a"])
    policy.remove(entries["b"])
    admit(policy, "ab")
    assert (list(policy._main), list(policy._small)) == (["a"], ["c", "d", "b"])


def test_s3fifo_takes_the_place_of_the_old_entry():
    policy = S3Fifo()
    entries = admit(policy, "abc")
    policy.replace(entries["a"], entry("a"))
    assert order(policy, 3) == "abc"


def test_s3fifo_moves_a_bounded_number_of_entries_to_find_a_victim():
    policy = S3Fifo()
    entries = admit(policy, map(str, range(1_000)))
    read(policy, *entries.values())
    policy.victim()
    assert sum(not one.hits for one in entries.values()) == S3Fifo.MOST_MOVES
