"""Any sequence of operations, against a model that forgets nothing."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from math import inf
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_perf.cache.eviction import POLICIES
from django_perf.cache.memory import MISSING, Memory
from tests.cache.test_memory import assert_sound
from tests.pool.fakes import Clock

MAX_ENTRIES, MAX_BYTES = 4, 8_000
TOO_BIG = "x" * (MAX_BYTES // 4)

keys = st.sampled_from(["a", "b", "c", "d", "e", "f"])
values = st.one_of(
    st.integers(),
    st.none(),
    st.just(TOO_BIG),
    st.integers(0, 1_000).map(lambda length: "x" * length),
    st.lists(st.integers(), max_size=3),
    st.tuples(st.integers(), st.lists(st.integers(), max_size=2)),
)
ttls = st.sampled_from([None, -1, 0, 1, 5, 20])
graces = st.sampled_from([0, 2, 30])


@dataclass
class Known:
    """What the model knows of a key."""

    value: Any
    fresh_until: float
    grace: float


class Machine(RuleBasedStateMachine):
    """Let the memory forget any key but the newest; anything else that it says has to be true."""

    policy = "s3fifo"
    tokens = Bundle("tokens")

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.memory = Memory(MAX_ENTRIES, MAX_BYTES, self.policy, clock=self.clock)
        self.model: dict[str, Known] = {}
        self.valid: dict[str, list[object]] = {}
        self.newest = None

    # What the model says.

    def fresh(self, key):
        known = self.model.get(key)
        return known if known is not None and self.clock() < known.fresh_until else None

    def store(self, key, value, ttl, grace=0):
        """Tell whether it is stored."""
        self.model.pop(key, None)
        self.newest = None if self.newest == key else self.newest
        if value == TOO_BIG or (ttl is not None and ttl <= 0):
            return False
        self.model[key] = Known(copy.deepcopy(value), inf if ttl is None else self.clock() + ttl, grace)
        self.newest = key
        return True

    def forget(self, key):
        self.model.pop(key, None)
        self.valid.pop(key, None)

    def present(self, key):
        """Return what is known of a key that is fresh and has not been dropped, which the newest may not be."""
        known = self.fresh(key)
        if known is not None and key not in self.memory._bounded.entries:
            assert key != self.newest
            self.forget_value(key)
            return None
        return known

    def forget_value(self, key):
        del self.model[key]

    # Operations.

    @rule(key=keys)
    def get(self, key):
        known, found = self.present(key), self.memory.get(key, self.clock())
        if known is None:
            assert found is MISSING
        else:
            assert found == known.value
            assert type(found) is type(known.value)
            spoil(found)

    @rule(key=keys)
    def look(self, key):
        known, kept = self.model.get(key), self.memory.look(key, self.clock())
        if known is None or self.clock() >= known.fresh_until + known.grace:
            assert kept is None
        elif kept is None:
            assert key != self.newest
            self.forget_value(key)
        else:
            assert (kept.value, kept.fresh_for) == (known.value, known.fresh_until - self.clock())
            spoil(kept.value)

    @rule(key=keys, value=values, ttl=ttls, grace=graces, has_payload=st.booleans())
    def put(self, key, value, ttl, grace, has_payload):
        value = copy.deepcopy(value)
        self.memory.put(key, value, ttl, grace=grace, payload=pickle.dumps(value) if has_payload else None)
        self.valid.pop(key, None)
        self.store(key, value, ttl, grace)
        spoil(value)

    @rule(key=keys, value=values, ttl=ttls)
    def add(self, key, value, ttl):
        known = self.present(key)
        added = self.memory.add(key, value, ttl)
        if known is not None:
            assert not added
        else:
            self.valid.pop(key, None)
            assert self.store(key, value, ttl) or not added or ttl is not None
            assert added == (key in self.model or (ttl is not None and ttl <= 0))

    @rule(key=keys, value=values)
    def change(self, key, value):
        known = self.present(key)
        try:
            assert self.memory.change(key, lambda old: (spoil(old), value)[1]) is value
        except KeyError:
            assert known is None
        else:
            assert known is not None
            self.valid.pop(key, None)
            if self.store(key, value, None, known.grace):
                self.model[key].fresh_until = known.fresh_until

    @rule(key=keys, ttl=ttls)
    def touch(self, key, ttl):
        known = self.present(key)
        assert self.memory.touch(key, ttl) == (known is not None)
        if known is not None:
            self.valid.pop(key, None)
            self.store(key, known.value, ttl, known.grace)

    @rule(key=keys)
    def evict(self, key):
        known = self.present(key)
        assert self.memory.evict(key) == (known is not None)
        self.forget(key)

    @rule()
    def evict_all(self):
        self.memory.evict_all()
        self.model.clear()
        self.valid.clear()
        assert len(self.memory) == 0

    @rule(target=tokens, key=keys)
    def begin(self, key):
        token = self.memory.begin(key)
        holders = self.valid.setdefault(key, [])
        assert all(token is other for other in holders)
        holders.append(token)
        return key, token

    @rule(pair=tokens, value=values, ttl=ttls, grace=graces)
    def fill(self, pair, value, ttl, grace):
        key, token = pair
        is_stored = self.memory.fill(key, token, value, ttl, grace=grace)
        if self.release(key, token):
            assert is_stored == self.store(key, value, ttl, grace)
        else:
            assert not is_stored

    @rule(pair=tokens)
    def abandon(self, pair):
        self.memory.abandon(*pair)
        self.release(*pair)

    def release(self, key, token):
        """Tell whether the token was valid."""
        holders = self.valid.get(key, [])
        if not any(token is other for other in holders):
            return False
        holders.pop()
        if not holders:
            del self.valid[key]
        return True

    @rule(seconds=st.sampled_from([0.5, 1, 4, 25]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @precondition(lambda self: self.newest in self.model)
    @rule()
    def newest_is_kept(self):
        known = self.fresh(self.newest)
        assert known is None or self.memory.get(self.newest, self.clock()) == known.value

    @invariant()
    def bounds_hold(self):
        entries = self.memory._bounded.entries
        assert len(self.memory) == len(entries) <= MAX_ENTRIES
        assert self.memory.bytes == sum(entry.size for entry in entries.values()) <= MAX_BYTES
        assert set(self.valid) == set(self.memory._tokens._tokens)

    def teardown(self):
        assert_sound(self.memory)


def spoil(value):
    """Change what can be changed."""
    if isinstance(value, list):
        value.append("spoilt")
    elif isinstance(value, tuple):
        value[1].append("spoilt")


@pytest.mark.parametrize("policy", POLICIES)
def test_any_sequence_of_operations_tells_the_truth(policy):
    machine = type("Machine", (Machine,), {"policy": policy})
    run_state_machine_as_test(machine, settings=settings(max_examples=80, stateful_step_count=50, deadline=None))
