"""Hold entries within two bounds. Thread-unsafe: the memory calls this under its lock, but for reads of `entries`."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

from .entry import Entry
from .eviction import Policy, Ranking

# One write, two looks at what has ended: garbage is gone after half as many writes as made it.
_SWEPT_PER_WRITE = 2


class Bounded:
    """Hold at most `max_entries` and `max_bytes`; what leaves is kept in `gone` until somebody takes it.

    `counts` tells of evicted_entries and evicted_bytes (for want of room), expired (removed after their time), too_big,
    ghost_hits (keys that came back soon after they had been evicted: with twice the room they would have been here).
    """

    def __init__(self, max_entries: int, max_bytes: int, policy: Policy) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        # With room for four of the biggest, one value cannot displace all others; what it would have to be read for
        # costs less than what they would.
        self.largest = max_bytes // 4
        self.counts: Counter[str] = Counter()
        self.gone: list[Any] = []
        self._policy = policy
        self._start_empty()

    def _start_empty(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.bytes = 0
        self._deadlines = Ranking()

    def clear(self) -> None:
        """Let go of all; readers finish in what was `entries`."""
        self.gone.append(self.entries)
        self._start_empty()
        self._policy.clear()

    def store(self, now: float, key: str, entry: Entry | None) -> bool:
        """Put an entry in the place of what there was; None, or one that is too big, only removes that."""
        self._sweep(now)
        old = self.entries.get(key)
        if entry is None or entry.size > self.largest:
            self.counts["too_big"] += entry is not None
            self.remove(old)
        elif old is not None and self.bytes - old.size + entry.size <= self.max_bytes:
            self._replace(old, entry)
        else:
            self.remove(old)
            self._insert(now, entry)
        return self.entries.get(key) is entry is not None

    def remove(self, entry: Entry | None) -> None:
        """Let go of an entry that is here, or of none."""
        if entry is None:
            return
        del self.entries[entry.key]
        self._deadlines.remove(entry.key)
        self._policy.remove(entry)
        self.bytes -= entry.size
        self.gone.append(entry)

    def _replace(self, old: Entry, entry: Entry) -> None:
        entry.hits = old.hits
        self._policy.replace(old, entry)
        self.bytes -= old.size
        self.gone.append(old)
        self._publish(entry)

    def _insert(self, now: float, entry: Entry) -> None:
        """Make room first, so that no policy can choose the entry that has just come."""
        while len(self.entries) >= self.max_entries or self.bytes + entry.size > self.max_bytes:
            if not self._expire(now):
                self._displace()
        # A lower bound: nobody remembers who left the main queue of S3-FIFO.
        if self._policy.admit(entry):
            self.counts["ghost_hits"] += 1
        self._publish(entry)

    def _publish(self, entry: Entry) -> None:
        self.entries[entry.key] = entry
        self.bytes += entry.size
        if entry.gone_at < inf:
            self._deadlines.push(entry.key, entry.gone_at)
        else:
            self._deadlines.remove(entry.key)

    def _displace(self) -> None:
        victim = self._policy.victim()
        self.counts["evicted_entries"] += 1
        self.counts["evicted_bytes"] += victim.size
        self.remove(victim)

    def _sweep(self, now: float) -> None:
        for _ in range(_SWEPT_PER_WRITE):
            if not self._expire(now):
                return

    def _expire(self, now: float) -> bool:
        """Remove the entry whose time ended first, if there is one."""
        gone_at, key = self._deadlines.lowest()
        if now < gone_at:
            return False
        self.counts["expired"] += 1
        self.remove(self.entries[key])
        return True
