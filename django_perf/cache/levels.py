"""Put a process's memory before the levels that processes share.

Memory is read only while the backplane vouches for it, and filled only under a token that every invalidation takes
away, so a reader that was overtaken by a writer keeps nothing. A write goes to the shared levels and is evicted from
memory before and after; it is never stored there. While Redis is away, a process keeps its own writes for a moment.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import CacheUnavailable
from ..metrics.trace import current
from .backplane import MAX_SILENCE_S
from .computing import Computing
from .keys import Keys, to_bytes
from .leases import Lease, MemoryLease, Renewer, SharedLease
from .memory import Memory
from .namespace import Namespace
from .sealing import PLAIN, Meta, Sealer
from .shared import Entry, Shared
from .tally import Tally

if TYPE_CHECKING:
    from .backplane import Backplane

# While Redis does not answer, a process keeps its own writes for so long: what the others write it cannot know.
LOCAL_S = 1.0
_LOCAL_ENTRIES = 1_000
# So many writes of the last second are repeated when the epoch has changed meanwhile.
_MOST_WRITTEN = 20_000


class Levels:
    """Read and write through all levels, by physical key. Thread-safe; forget_parent() makes it safe after a fork.

    `shared` is None where this process's memory is all there is, `memory` where there is none. `memory_ttl` bounds, in
    seconds, how long an entry stays in memory without being read again from below.
    """

    backplane: Backplane | None = None
    # The same where nobody tells of writes.
    ttl_bound = 5.0
    # For how many seconds an old value may be served when its source fails.
    fail_safe = 3600.0

    def __init__(
        self,
        keys: Keys,
        sealer: Sealer,
        memory: Memory | None,
        memory_ttl: float,
        tally: Tally,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys, self.sealer, self.tally, self.clock = keys, sealer, tally, clock
        self.memory, self.memory_ttl = memory, memory_ttl
        self.shared: Shared | None = None
        self.local = Memory(_LOCAL_ENTRIES, dumps=sealer.form.dumps, loads=sealer.form.loads, clock=clock)
        self.namespace = Namespace(self)
        # (time, physical key) of writes, to be repeated by _follow().
        self._written: deque[tuple[float, str]] = deque(maxlen=_MOST_WRITTEN)
        self.renewer = Renewer()
        self.computing = Computing(self)

    def forget_parent(self) -> None:
        """Begin as a new process does: untrusted, and listening to nobody yet."""
        self._written.clear()
        self.renewer.forget_parent()
        self.computing.forget_parent()
        self.tally.forget_parent()
        self.namespace.forget_parent()
        if self.shared is not None:
            self.shared.repairs.forget_parent()
        if self.backplane is not None:
            self.backplane.reset()

    def head(self, now: float) -> str:
        """Return what physical keys begin with now, and see that somebody listens."""
        if self.backplane is not None:
            self.backplane.start()
        return self.namespace.head_at(now)

    def head_to_write(self, now: float) -> str:
        """Return the same for a write, which must not go astray under a past epoch."""
        if self.backplane is not None:
            self.backplane.start()
        return self.namespace.current_head(now)

    # --- what the backplane says ----------------------------------------------------------------------------------

    def trust(self, until: float) -> None:
        """Believe memory until then."""
        self.namespace.trusted_until = until

    def invalidated(self, keys: Sequence[str]) -> None:
        """Forget keys that somebody has written."""
        self.tally.count("invalidations", len(keys))
        self._evict(keys)
        if self.keys.epoch in keys:
            # After the eviction: the epoch would be read again from memory.
            self.namespace.forget()
            self._follow()

    def forget_all(self) -> None:
        """Forget everything: something may have been missed."""
        self._forget_all()
        self._follow()

    def _forget_all(self) -> None:
        if self.memory is not None:
            self.memory.evict_all()
        self.namespace.forget()

    def _follow(self) -> None:
        """Forget, under the new epoch, what was written under an old one before this process heard of the new one.

        Else a deletion in that moment were lost, and what it was to delete lived on.
        """
        now = self.clock()
        written = list(self._written)
        self._written.clear()
        lately = {physical for at, physical in written if now - at <= MAX_SILENCE_S and self.keys.is_entry(physical)}
        if lately:
            head = self.head(now)
            moved = {self.keys.moved(physical, head) for physical in lately}
            if astray := list(moved - lately):
                self.delete_many(astray)

    def note(self, operation: str, keys: Sequence[Any], began_ns: int | None) -> None:
        """Count an operation (l1, l2, l3: a hit of that level; miss; set; delete), here and for the request.

        `began_ns` is None for what was only a part of one.
        """
        elapsed = None if began_ns is None else time.monotonic_ns() - began_ns
        # Django takes anything as a key, and formats it.
        names = [key if key.__class__ is str else str(key) for key in keys]
        if operation == "l1" and len(names) == 1 and elapsed is not None:
            self.tally.hit(names[0], elapsed)
        else:
            self.tally.operation(operation, names, elapsed)
        trace = current.get()
        if trace is not None:
            trace.cache_ns += elapsed or 0
            if elapsed is not None and began_ns is not None:
                # No key: it may name a person. Both clocks of Linux are the same one.
                trace.add_span("cache", operation, began_ns, elapsed)
            if operation in ("l1", "l2", "l3"):
                trace.cache_hits += len(names)
            elif operation == "miss":
                trace.cache_misses += len(names)

    # --- reading --------------------------------------------------------------------------------------------------

    def read(self, physical: str) -> Entry | None:
        """Return an entry, which may be in its grace."""
        now = self.clock()
        if self.memory is not None and now < self.namespace.trusted_until:
            found = self._look(self.memory, (physical,), now)
            if found:
                return found[physical]
        return self.read_below(physical, now)

    def read_below(self, physical: str, now: float) -> Entry | None:
        """Return an entry of the shared levels, and keep it in memory if nobody has written it meanwhile."""
        shared = self.shared
        if shared is None:
            return None
        is_trusted = self.memory is not None and now < self.namespace.trusted_until and self.keys.is_tracked(physical)
        token = self.memory.begin(physical) if is_trusted and self.memory is not None else None
        unanswered: list[str] = []
        entry = None
        try:
            entry = shared.read(physical, unanswered)
        finally:
            if token is not None:
                self._fill_one(physical, token, entry, now)
        return self._look(self.local, unanswered, now).get(physical, entry) if unanswered and entry is None else entry

    def read_many(self, wanted: Sequence[str]) -> dict[str, Entry]:
        """Return the entries that exist, from the first level that has each."""
        now = self.clock()
        is_trusted = now < self.namespace.trusted_until
        found = self._look(self.memory, wanted, now) if self.memory is not None and is_trusted else {}
        if self.shared is None or len(found) == len(wanted):
            return found
        missed = [physical for physical in wanted if physical not in found] if found else wanted
        return found | self._below(self.shared, missed, now, is_trusted)

    @staticmethod
    def _look(memory: Memory, wanted: Iterable[str], now: float) -> dict[str, Entry]:
        found = {}
        for physical in wanted:
            kept = memory.look(physical, now)
            if kept is not None:
                # Memory forgets sooner than the entry ends, which is what an early refresh goes by.
                meta, end = kept.meta or (PLAIN, None)
                found[physical] = Entry(kept.value, kept.fresh_for if end is None else end - now, meta, "l1")
        return found

    def _below(self, shared: Shared, wanted: Sequence[str], now: float, is_trusted: bool) -> dict[str, Entry]:
        """Read the shared levels, and fill memory where nobody has written meanwhile."""
        tokens = self._tokens(wanted) if is_trusted else {}
        unanswered: list[str] = []
        found: dict[str, Entry] = {}
        try:
            found = shared.read_many(wanted, unanswered)
        finally:
            self._fill(tokens, found, now)
        # What this process wrote itself while Redis was away is newer than what the table has.
        return found | self._look(self.local, unanswered, now) if unanswered else found

    def _tokens(self, wanted: Iterable[str]) -> dict[str, object]:
        if self.memory is None:
            return {}
        return {physical: self.memory.begin(physical) for physical in wanted if self.keys.is_tracked(physical)}

    def _memory_s(self, level: str) -> float:
        """Return how long memory may keep an entry of a level without asking."""
        is_told = self.backplane is not None and self.backplane.mode != "ttl"
        longest = self.memory_ttl if is_told else min(self.memory_ttl, self.ttl_bound)
        # Nobody tells of a write that Redis has forgotten again before it reached the table.
        return min(longest, LOCAL_S) if level == "l3" and self.backplane is not None else longest

    def _fill(self, tokens: Mapping[str, object], found: Mapping[str, Entry], began: float) -> None:
        for physical, token in tokens.items():
            self._fill_one(physical, token, found.get(physical), began)

    def _fill_one(self, physical: str, token: object, entry: Entry | None, began: float) -> None:
        """Keep an entry whose reading began then: it may have ended while this thread had no processor."""
        assert self.memory is not None
        ttl = 0.0 if entry is None else began - self.clock() + min(entry.fresh_for, self._memory_s(entry.level))
        if entry is None or ttl <= 0:
            self.memory.abandon(physical, token)
            return
        meta = None if entry.meta is PLAIN else (entry.meta, began + entry.fresh_for)
        if not self.memory.fill(physical, token, entry.value, ttl, payload=entry.body, meta=meta):
            self.tally.count("fills_refused")

    # --- writing --------------------------------------------------------------------------------------------------

    def write(self, physical: str, value: Any, ttl: float | None, meta: Meta = PLAIN) -> bool:
        """Store a value for `ttl` seconds, None for ever, and the grace of `meta`."""
        return not self.write_many({physical: value}, ttl, meta)

    def write_many(self, values: Mapping[str, Any], ttl: float | None, meta: Meta = PLAIN) -> list[str]:
        """Store values; returns the keys that no level took which others can read."""
        if ttl is not None and ttl <= 0:
            self.delete_many(list(values))
            return []
        if self.shared is None:
            self._put(self.memory, values, ttl, meta)
            return []
        items = {physical: self.shared.seal(physical, value, ttl, meta) for physical, value in values.items()}
        with _Evicting(self, values):
            is_kept = self.shared.write_many(items)
        if is_kept:
            if len(self.local):
                self._evict_local(values)
            return []
        self._put(self.local, values, LOCAL_S if ttl is None else min(ttl, LOCAL_S), meta)
        return list(values)

    @staticmethod
    def _put(memory: Memory | None, values: Mapping[str, Any], ttl: float | None, meta: Meta) -> None:
        assert memory is not None
        kept = None if meta is PLAIN else (meta, None)
        for physical, value in values.items():
            memory.put(physical, value, ttl, grace=meta.grace, meta=kept)

    def delete_many(self, physicals: Sequence[str]) -> int:
        """Forget keys in every level; returns how many there were. A level that is away forgets them later."""
        if self.shared is None:
            assert self.memory is not None
            lived = sum(self.memory.evict(physical) for physical in physicals)
            self.computing.forget(physicals)
            return lived
        with _Evicting(self, physicals):
            self._evict_local(physicals)
            return self.shared.delete_many(physicals)

    def add(self, physical: str, value: Any, ttl: float | None, meta: Meta = PLAIN) -> bool:
        """Store a value where there is none; False also when the level that decides is away."""
        if ttl is not None and ttl <= 0:
            entry = self.read(physical)
            return entry is None or entry.fresh_for <= 0
        if self.shared is None:
            assert self.memory is not None
            return self.memory.add(physical, value, ttl)
        item = self.shared.seal(physical, value, ttl, meta)
        with _Evicting(self, [physical]):
            return self.shared.add(physical, item)

    def incr(self, physical: str, delta: Any) -> Any:
        """Add to a value and return the sum. Raises KeyError without one, CacheUnavailable, and what adding raises."""
        if self.shared is None:
            assert self.memory is not None
            return self.memory.change(physical, lambda value: value + delta)
        with _Evicting(self, [physical]):
            return self.shared.incr(physical, delta)

    def touch(self, physical: str, ttl: float | None) -> bool:
        """Give a value another life; False when there is none, or when the level that knows is away."""
        if ttl is not None and ttl <= 0:
            return bool(self.delete_many([physical]))
        if self.shared is None:
            assert self.memory is not None
            return self.memory.touch(physical, ttl)
        with _Evicting(self, [physical]):
            return self.shared.touch(physical, ttl)

    def clear(self) -> None:
        """Forget all entries of this cache, and of no other one."""
        if self.shared is None:
            assert self.memory is not None
            self.memory.evict_all()
            self.computing.forget_all()
            return
        self.local.evict_all()
        self._written.clear()  # before this nothing has been written under the next epoch
        self.namespace.rotate()
        self._forget_all()

    def mended(self, physicals: Sequence[str]) -> None:
        """Tell of keys that were deleted late; those that have gone astray under a past epoch, nobody can find now."""
        self.tell(physicals)
        head = self.head_to_write(self.clock())
        if any(self.keys.is_entry(physical) and head not in physical for physical in physicals):
            self.clear()

    def forget_pattern(self, head: str, pattern: str, step: int = 500) -> int:
        """Forget the keys that begin with `head` and then match; returns how many there were.

        Memory cannot tell which of its keys match, and forgets all. So does a level that is away, when it is back.
        """
        gone = 0
        if self.shared is not None:
            try:
                gone = self.shared.forget_pattern(head, pattern, step, self.delete_many)
            except CacheUnavailable:  # nobody can tell what matches: all of it goes when the level is back
                self.shared.repairs.note_everything()
        if self.memory is not None:
            gone = gone or (len(self.memory) if self.shared is None else 0)
            self.memory.evict_all()
        self.computing.forget_all()
        return gone

    def lease(self, physical: str) -> Lease | None:
        """Return the right to compute a value; None while another process has it."""
        if self.shared is None:
            assert self.memory is not None
            return MemoryLease(self.memory, physical)
        lease = SharedLease(self.shared, physical, self.renewer)
        try:
            return lease if lease.acquire() else None
        except CacheUnavailable:
            return MemoryLease(self.local, physical, LOCAL_S)

    def store(
        self, lease: Lease, physical: str, value: Any, ttl: float | None, meta: Meta = PLAIN, only_new: bool = False
    ) -> bool:
        """Store what was computed under a lease; False when it has been invalidated meanwhile, or cannot be stored.

        `only_new` leaves what somebody else has stored meanwhile.
        """
        with _Evicting(self, [physical] if isinstance(lease, SharedLease) else []):
            try:
                return lease.store(value, ttl, meta, only_new)
            except CacheUnavailable:
                return False

    def _evict(self, physicals: Iterable[str]) -> None:
        if self.memory is not None:
            for physical in physicals:
                self.memory.evict(physical)
        self.computing.forget(physicals)

    def _evict_local(self, physicals: Iterable[str]) -> None:
        for physical in physicals:
            self.local.evict(physical)

    def tell(self, physicals: Iterable[str]) -> None:
        """Tell the other processes, where the server does not, or nobody knows yet whether it does."""
        redis, backplane = self.shared.redis if self.shared is not None else None, self.backplane
        if redis is None or backplane is None or backplane.is_told_by_server:
            return
        try:
            redis.call(redis.level.publish, backplane.channel, [to_bytes(physical) for physical in physicals])
        except CacheUnavailable:
            self.tally.count("not_told")
            if self.shared is not None and backplane.mode == "pubsub":  # they are told when it is deleted
                self.shared.repairs.note(self.shared.repairs.redis, physicals)


class _Evicting:
    """Evict keys from memory before and after they are written, and tell the others."""

    __slots__ = ("_levels", "_physicals")

    def __init__(self, levels: Levels, physicals: Iterable[str]) -> None:
        self._levels, self._physicals = levels, physicals

    def __enter__(self) -> None:
        levels = self._levels
        levels._evict(self._physicals)
        if levels.backplane is not None:
            now = levels.clock()
            levels._written.extend([(now, physical) for physical in self._physicals])

    def __exit__(self, *error: object) -> None:
        self._levels._evict(self._physicals)
        self._levels.tell(self._physicals)
