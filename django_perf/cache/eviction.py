"""Choose what leaves a full store.

A policy is called by the store alone, under its lock. A read calls nothing of it but `touch`, without the lock, where
there is one; else it leaves its mark in `Entry.hits`. All hold keys and entries, and drop no value: the store decides
when a finaliser may run. Every operation takes O(1) or O(log n), amortised.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Protocol

from .entry import Entry


class Policy(Protocol):
    """Order entries by how soon they are to leave. No key is admitted twice without leaving in between."""

    @property
    def touch(self) -> Callable[[str], None] | None:
        """Return what a read has to be told to, without the lock; None when the entry's mark is enough."""

    def admit(self, entry: Entry) -> bool:
        """Take a new key in; True when it left for want of room, and with twice of it would still be here."""

    def replace(self, old: Entry, new: Entry) -> None:
        """Take another entry for an admitted key."""

    def victim(self) -> Entry:
        """Choose the entry that is to leave, and let it go; there is at least one."""

    def remove(self, entry: Entry) -> None:
        """Let go of an entry that leaves for a reason of its own; one that has gone already is no error."""

    def clear(self) -> None:
        """Let go of all."""


class Ranking:
    """Hold keys by rank, the lowest first, among equals the oldest.

    A removed key stays in the heap until it comes up, or until such garbage outweighs the living.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._serials: dict[str, int] = {}
        self._count = count()

    def push(self, key: str, rank: float) -> None:
        """Add a key, or give it another rank."""
        serial = self._serials[key] = next(self._count)
        heapq.heappush(self._heap, (rank, serial, key))
        if len(self._heap) > 64 + 2 * len(self._serials):
            self._heap = [item for item in self._heap if self._serials.get(item[2]) == item[1]]
            heapq.heapify(self._heap)

    def remove(self, key: str) -> None:
        """Forget a key, if it is there."""
        self._serials.pop(key, None)

    def lowest(self) -> tuple[float, str]:
        """Return the lowest rank and its key; infinity and no key when there is none."""
        while self._heap:
            rank, serial, key = self._heap[0]
            if self._serials.get(key) == serial:
                return rank, key
            heapq.heappop(self._heap)
        return inf, ""


class Ghost:
    """Remember who left, by hashes, and whether for want of room; never more than there are entries."""

    def __init__(self) -> None:
        self._left: OrderedDict[int, bool] = OrderedDict()

    def remember(self, key: str, most: int, for_want_of_room: bool = True) -> None:
        """Add a key, and forget the oldest beyond `most`."""
        self._left[hash(key)] = for_want_of_room
        while len(self._left) > most:
            self._left.popitem(last=False)

    def recall(self, key: str) -> bool | None:
        """Forget a key; return whether it left for want of room, None when it is not remembered."""
        return self._left.pop(hash(key), None)


class S3Fifo:
    """Three FIFO queues: most keys are asked for once, and leave by the small queue before they cost a useful one.

    A key that was read while in the small queue goes on to the main queue, where every read buys it another round; one
    that was not leaves, and when it soon comes back, it goes to the main queue at once. Source: Yang et al., FIFO
    queues are all you need for cache eviction, SOSP 2023.
    """

    # benchmarks/cache_traces.py, 12 cells, points above LRU, mean and worst cell: a share of 10 % +3.6 and -2.6, 15 %
    # +4.0 and -0.8, 20 % +3.8 and -0.6 (+2.1 without multi2, whose loops LRU cannot keep), 25 % +3.6 and -0.5, 40 %
    # +2.6 and -0.3. With 10 % of 250, a key that is asked for again has left before.
    SMALL_SHARE = 0.2
    # At the second hit, as in the paper: +3.8 and -0.7. At the first: +3.8 and -0.6.
    PROMOTED_AT = 1
    # 1: +3.4 and -0.8; 3, as in the paper: +3.8 and -0.6; 7: +3.9 and -1.0.
    MOST_HITS = 3
    # An eviction moves no more entries than these, however many have been read: +3.8 and -0.6 with 64 and without, +3.7
    # and -0.9 with 8.
    MOST_MOVES = 64

    touch = None

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Let go of all, and of what is remembered."""
        # Not plain dicts: finding the first key of one takes time in proportion to the keys that left before it.
        self._small: OrderedDict[str, Entry] = OrderedDict()
        self._main: OrderedDict[str, Entry] = OrderedDict()
        self._ghost = Ghost()

    def admit(self, entry: Entry) -> bool:
        """Queue a new key: the main queue for one that left a short time ago."""
        known = self._ghost.recall(entry.key)
        (self._small if known is None else self._main)[entry.key] = entry
        return bool(known)

    def replace(self, old: Entry, new: Entry) -> None:
        """Take the place of the old entry."""
        queue = self._small if old.key in self._small else self._main
        queue[old.key] = new

    def victim(self) -> Entry:
        """Let the first go that nobody has read; those before it go on, or around."""
        for _ in range(self.MOST_MOVES):
            is_long = len(self._small) > self.SMALL_SHARE * self._size()
            entry = self._out_of_small() if is_long or not self._main else self._out_of_main()
            if entry is not None:
                return entry
        return (self._main or self._small).popitem(last=False)[1]

    def remove(self, entry: Entry) -> None:
        """Let go of an entry; one that had proved useful comes back as such."""
        if self._small.pop(entry.key, None) is None and self._main.pop(entry.key, None) is not None:
            self._ghost.remember(entry.key, self._size(), for_want_of_room=False)

    def _size(self) -> int:
        return len(self._small) + len(self._main)

    def _out_of_small(self) -> Entry | None:
        key, entry = self._small.popitem(last=False)
        if entry.hits < self.PROMOTED_AT:
            self._ghost.remember(key, self._size())
            return entry
        entry.hits = 0
        self._main[key] = entry
        return None

    def _out_of_main(self) -> Entry | None:
        key, entry = self._main.popitem(last=False)
        if not entry.hits:
            return entry
        entry.hits = min(entry.hits, self.MOST_HITS) - 1
        self._main[key] = entry
        return None


class Lru:
    """Let the least recently used go first.

    Exact as long as no more than KEPT_TOUCHES reads come between two writes; of more, the latest count.
    """

    KEPT_TOUCHES = 10_000

    def __init__(self) -> None:
        self._order: OrderedDict[str, Entry] = OrderedDict()
        self._ghost = Ghost()
        # Readers append without a lock; keys, as an entry would keep a value alive that has left.
        self._touches: deque[str] = deque(maxlen=self.KEPT_TOUCHES)
        self.touch = self._touches.append

    def clear(self) -> None:
        """Let go of all."""
        self._order = OrderedDict()
        self._ghost = Ghost()

    def admit(self, entry: Entry) -> bool:
        """Add as the most recently used."""
        self._catch_up()
        self._order[entry.key] = entry
        return bool(self._ghost.recall(entry.key))

    def replace(self, old: Entry, new: Entry) -> None:
        """Count a write as a use."""
        self.admit(new)
        self._order.move_to_end(new.key)

    def victim(self) -> Entry:
        """Let the least recently used go."""
        self._catch_up()
        key, entry = self._order.popitem(last=False)
        self._ghost.remember(key, len(self._order))
        return entry

    def remove(self, entry: Entry) -> None:
        """Let go of an entry."""
        self._order.pop(entry.key, None)

    def _catch_up(self) -> None:
        # A bounded number: readers go on appending.
        for _ in range(len(self._touches)):
            key = self._touches.popleft()
            if key in self._order:
                self._order.move_to_end(key)


class Lfu:
    """Let the least often read go first, among equals the one that has waited longest; counts never age."""

    touch = None

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Let go of all."""
        self._entries: dict[str, Entry] = {}
        self._ranking = Ranking()
        self._ghost = Ghost()

    def admit(self, entry: Entry) -> bool:
        """Rank a new key by the reads that it brings along."""
        self._entries[entry.key] = entry
        self._ranking.push(entry.key, entry.hits)
        return bool(self._ghost.recall(entry.key))

    def replace(self, old: Entry, new: Entry) -> None:
        """Keep the rank: a write is no read."""
        self._entries[new.key] = new

    def victim(self) -> Entry:
        """Let the least often read go; whoever was read since it was ranked is ranked again first."""
        while True:
            rank, key = self._ranking.lowest()
            entry = self._entries[key]
            if entry.hits <= rank:
                self.remove(entry)
                self._ghost.remember(key, len(self._entries))
                return entry
            self._ranking.push(key, entry.hits)

    def remove(self, entry: Entry) -> None:
        """Let go of an entry."""
        self._entries.pop(entry.key, None)
        self._ranking.remove(entry.key)


class Ttl:
    """Let the one go first that is stale first; those that never expire, in the order of their arrival."""

    touch = None

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Let go of all."""
        self._entries: dict[str, Entry] = {}
        self._ranking = Ranking()
        self._ghost = Ghost()

    def admit(self, entry: Entry) -> bool:
        """Rank by freshness."""
        self._entries[entry.key] = entry
        self._ranking.push(entry.key, entry.fresh_until)
        return bool(self._ghost.recall(entry.key))

    def replace(self, old: Entry, new: Entry) -> None:
        """Rank anew."""
        self.admit(new)

    def victim(self) -> Entry:
        """Let the one go that is stale first."""
        entry = self._entries[self._ranking.lowest()[1]]
        self.remove(entry)
        self._ghost.remember(entry.key, len(self._entries))
        return entry

    def remove(self, entry: Entry) -> None:
        """Let go of an entry."""
        self._entries.pop(entry.key, None)
        self._ranking.remove(entry.key)


POLICIES: dict[str, Callable[[], Policy]] = {"s3fifo": S3Fifo, "lru": Lru, "lfu": Lfu, "ttl": Ttl}
