"""Keep values in this process: bounded, thread-safe, and read without a lock."""

from __future__ import annotations

import os
import pickle
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from sys import getsizeof
from threading import RLock
from typing import Any, TypeAlias

from .bounded import Bounded
from .entry import OVERHEAD_BYTES, Entry, Kept, copied_bytes, dumps_highest, frozen_bytes
from .eviction import POLICIES
from .tokens import Token, Tokens

MISSING = object()

# The class has a property `bytes`, which would hide the type from its own annotations.
_Bytes: TypeAlias = bytes


class Memory:
    """Hold at most `max_entries` and `max_bytes`; times are seconds of `clock`.

    Thread-safe, and `get` and `look` take no lock. What can be changed is copied for every reader, or kept pickled and
    loaded, so nobody ever sees the changes of another. Nothing that is not ours runs under the lock, but for finalisers
    when the garbage collector wakes up there: a write or removal that one of them asks for evicts the key, and answers
    as if it were refused. Fork-safe: a child starts empty.
    """

    def __init__(
        self,
        max_entries: int = 1000,
        max_bytes: int = 32 * 2**20,
        policy: str = "s3fifo",
        *,
        dumps: Callable[[Any], _Bytes] = dumps_highest,
        loads: Callable[[_Bytes], Any] = pickle.loads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if min(max_entries, max_bytes) < 1:
            raise ValueError(f"max_entries {max_entries!r} and max_bytes {max_bytes!r} have to be 1 or more")
        if policy not in POLICIES:
            raise ValueError(f"no eviction policy {policy!r}; there are {', '.join(POLICIES)}")
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._make_policy = POLICIES[policy]
        self._dumps = dumps
        self._loads = loads
        self._clock = clock
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        """Start empty; also runs in a forked child, where the lock may be held by a thread that does not exist."""
        # Reentrant for the sake of finalisers alone; `_is_busy` tells them that a step is under way.
        self._lock = RLock()
        self._is_busy = False
        policy = self._make_policy()
        self._touch = policy.touch
        self._bounded = Bounded(self.max_entries, self.max_bytes, policy)
        self._tokens = Tokens()
        # Keys that a finaliser wants evicted; None for all.
        self._deferred: list[str | None] = []

    def __len__(self) -> int:
        return len(self._bounded.entries)

    @property
    def bytes(self) -> int:
        """Return what the entries take, their keys and an estimate of the structures included."""
        return self._bounded.bytes

    def take(self) -> dict[str, int]:
        """Return what was counted since the last call, less what is zero.

        As of `Bounded`, and refused (fills without a valid token), broken (entries that could not be loaded), reentered
        (what a finaliser asked for under the lock).
        """
        with self._lock:  # critical section: the counts change owner
            counts, self._bounded.counts = self._bounded.counts, Counter()
        return {name: count for name, count in counts.items() if count}

    # Reading: any thread, no lock, nothing changes but marks.

    def get(self, key: str, now: float) -> Any:
        """Return the value, or MISSING when there is none or it is stale; `now` is a reading of the clock."""
        entry = self._bounded.entries.get(key)
        if entry is None or now >= entry.fresh_until:
            return MISSING
        entry.hits += 1  # here once more, as in _value(): a call costs as much as all the rest
        if self._touch is not None:
            self._touch(key)
        make = entry.make
        if make is None:
            return entry.value
        try:
            return make()
        except Exception:
            self._locked(self._discard, key, entry)
            return MISSING

    def look(self, key: str, now: float) -> Kept | None:
        """Return the entry, also one that is stale within its grace."""
        entry = self._bounded.entries.get(key)
        if entry is None or now >= entry.gone_at or (value := self._value(entry)) is MISSING:
            return None
        return Kept(value, entry.fresh_until - now, entry.meta)

    def _value(self, entry: Entry) -> Any:
        entry.hits += 1
        if self._touch is not None:
            self._touch(entry.key)
        if entry.make is None:
            return entry.value
        try:
            return entry.make()
        except Exception:
            self._locked(self._discard, entry.key, entry)
            return MISSING

    # Filling from a level below: only what was asked for after the last write or eviction.

    def begin(self, key: str) -> object:
        """Return a token for a fill: to be taken before the level below is read, given to `fill` or `abandon` after.

        Concurrent readers of one key share it, and all may fill.
        """
        return self._locked(lambda now, key: self._tokens.begin(key), key) or Token()

    def fill(
        self,
        key: str,
        token: object,
        value: Any,
        ttl: float | None,
        *,
        grace: float = 0.0,
        payload: _Bytes | None = None,
        meta: Any = None,
    ) -> bool:
        """Store what was read from below, as `put` does; False when it was not, for any reason."""
        entry = None
        if self._tokens.is_valid(key, token):  # else spare the pickling; the answer that counts is given under the lock
            try:
                entry = self._entry(key, value, ttl, grace, payload, meta)
            except BaseException:
                self.abandon(key, token)
                raise
        return bool(self._locked(self._fill, key, token, entry))

    def abandon(self, key: str, token: object) -> None:
        """Give a token back: there was nothing to be read."""
        self._locked(lambda now, key: self._tokens.release(key, token), key)

    # Writing here: for an alias that has no other level, or none that answers.

    def put(
        self,
        key: str,
        value: Any,
        ttl: float | None,
        *,
        grace: float = 0.0,
        payload: _Bytes | None = None,
        meta: Any = None,
    ) -> None:
        """Store for `ttl` seconds, None for ever, zero or less to remove; raises what `dumps` raises.

        `payload` is what `loads` makes the value of, for those who have it already. What is too big is not stored.
        """
        self._locked(self._put, key, self._entry(key, value, ttl, grace, payload, meta))

    def add(self, key: str, value: Any, ttl: float | None) -> bool:
        """Store where there is nothing fresh; False where there is, or when it is too big. Atomic."""
        return bool(self._locked(self._add, key, self._entry(key, value, ttl)))

    def change(self, key: str, change: Callable[[Any], Any]) -> Any:
        """Replace a fresh value by what `change` makes of it, and return that; the expiry stays. Atomic.

        Raises KeyError where there is none. `change` runs without the lock, and again when another was faster.
        """
        while True:
            entry = self._bounded.entries.get(key)
            if entry is None or self._clock() >= entry.fresh_until or (old := self._value(entry)) is MISSING:
                raise KeyError(key)
            new = change(old)
            if self._locked(self._swap, key, entry, self._packed(replace(entry, value=new, make=None))):
                return new

    def touch(self, key: str, ttl: float | None) -> bool:
        """Give a fresh entry another time, with the same grace; False where there is none."""
        return bool(self._locked(self._retime, key, ttl))

    def evict(self, key: str) -> bool:
        """Remove the entry, and refuse the fills that have begun; True when something fresh was removed."""
        return bool(self._locked(self._evict, key))

    def evict_all(self) -> None:
        """Remove everything, and refuse all fills that have begun."""
        self._locked(self._evict, None)

    def _entry(
        self, key: str, value: Any, ttl: float | None, grace: float = 0, payload: _Bytes | None = None, meta: Any = None
    ) -> Entry | None:
        """Return what is to be stored; None when its time is over already."""
        if ttl is not None and ttl <= 0:
            return None
        fresh_until = inf if ttl is None else self._clock() + ttl
        return self._packed(Entry(key, value, None, fresh_until, grace, meta), payload)

    def _packed(self, entry: Entry, payload: _Bytes | None = None) -> Entry:
        """Give a new entry its size, and where its value can be changed, the way to make it anew."""
        value = entry.value
        size = frozen_bytes(value)
        if size is None:
            entry.value, size = None, copied_bytes(value)
            if size is not None:
                entry.make = value.copy().copy
            else:
                payload = self._dumps(value) if payload is None else payload
                entry.make, size = partial(self._loads, payload), getsizeof(payload)
        entry.size = size + getsizeof(entry.key) + getsizeof(entry.meta) + OVERHEAD_BYTES
        return entry

    # Steps, all under the lock.

    def _locked(self, step: Callable[..., Any], key: str | None, *args: Any) -> Any:
        """Run a step; return what it returns, or None to a finaliser that asks in the middle of another one."""
        now = self._clock()
        with self._lock:  # critical section: guards the entries, the policy, the tokens and the counts
            if self._is_busy:
                return self._defer(key)
            self._is_busy = True
            try:
                result = step(now, key, *args)
                while self._deferred:
                    self._evict(now, self._deferred.pop())
            except BaseException:  # a signal handler raised: half a change is worse than an empty memory
                self._evict(now, None)
                raise
            finally:
                gone, self._bounded.gone = self._bounded.gone, []
                self._is_busy = False
        del gone  # not before the lock is free: a finaliser of what left may call us, or wait for a thread that does
        return result

    def _defer(self, key: str | None) -> None:
        """Hide at once what is to be evicted; the interrupted step removes it when it has ended."""
        entries = self._bounded.entries
        self._bounded.counts["reentered"] += 1
        self._deferred.append(key)
        for entry in list(entries.values()) if key is None else filter(None, [entries.get(key)]):
            entry.fresh_until = -inf

    def _fill(self, now: float, key: str, token: object, entry: Entry | None) -> bool:
        if self._tokens.release(key, token):
            return self._bounded.store(now, key, entry)
        self._bounded.counts["refused"] += 1
        return False

    def _put(self, now: float, key: str, entry: Entry | None) -> bool:
        self._tokens.revoke(key)  # what is being read from below is older than this
        return self._bounded.store(now, key, entry)

    def _fresh(self, now: float, key: str) -> Entry | None:
        entry = self._bounded.entries.get(key)
        return entry if entry is not None and now < entry.fresh_until else None

    def _add(self, now: float, key: str, entry: Entry | None) -> bool:
        return self._fresh(now, key) is None and (self._put(now, key, entry) or entry is None)

    def _swap(self, now: float, key: str, old: Entry, new: Entry) -> bool:
        is_there = self._bounded.entries.get(key) is old
        if is_there:
            self._put(now, key, new)
        return is_there

    def _retime(self, now: float, key: str, ttl: float | None) -> bool:
        entry = self._fresh(now, key)
        if entry is None:
            return False
        is_over = ttl is not None and ttl <= 0
        self._put(now, key, None if is_over else replace(entry, fresh_until=inf if ttl is None else now + ttl))
        return True

    def _evict(self, now: float, key: str | None) -> bool:
        if key is None:
            self._tokens.clear()
            self._deferred.clear()
            self._bounded.clear()
            return False
        self._tokens.revoke(key)
        was_fresh = self._fresh(now, key) is not None
        self._bounded.remove(self._bounded.entries.get(key))
        return was_fresh

    def _discard(self, now: float, key: str, entry: Entry) -> None:
        if self._bounded.entries.get(key) is entry:
            self._bounded.counts["broken"] += 1
            self._bounded.remove(entry)


_instances: weakref.WeakSet[Memory] = weakref.WeakSet()


def _forget_parent() -> None:
    for instance in _instances:
        instance._reset()


# Nobody tells a child yet which of its inherited entries have been invalidated, and the lock may never be freed there.
os.register_at_fork(after_in_child=_forget_parent)
