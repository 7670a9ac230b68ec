"""Count what a cache does, cheaply enough for every hit, until the flusher takes it."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import islice
from threading import RLock, get_ident
from typing import Any

from ..metrics.catalog import OTHER
from ..metrics.histogram import Histogram

logger = logging.getLogger("django_perf")

_FOLD_AT = 512
_MAX_KEYS = 10_000
# A race lasts as long as a computation; of more keys than are missed meanwhile nothing needs to be known.
_MAX_RACES = 2_000
# Where nobody takes the figures, as in a management command, they must not grow for ever.
_MAX_PATTERNS = 500
_LOG_EVERY_S = 60.0
# What Django itself writes without a separator before the random part.
_KNOWN = re.compile(
    r"(django\.contrib\.sessions\.cache|django\.contrib\.sessions\.cached_db|views\.decorators\.cache\.cache_page"
    r"|views\.decorators\.cache\.cache_header|template\.cache)"
)
# The first word of a key, up to what looks like data; nothing else of a key is ever kept: it may name a person.
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,39}(?![A-Za-z0-9@_.-])")


def pattern_of(key: str) -> str:
    """Return what stands for all keys like this one: `product:17` gives `product:*`."""
    match = _KNOWN.match(key) or _WORD.match(key)
    if match is None:
        return "*"
    word = match[0]
    return word if len(word) == len(key) else f"{word}{key[len(word)] if key[len(word)] in ':/|-_' else ''}*"


@dataclass(slots=True)
class Reads:
    """Add up the keys of one pattern: the hits of each level, misses and writes.

    `again`: those of the writes that came too late, as another thread had written since this one missed the key.
    """

    l1: int = 0
    l2: int = 0
    l3: int = 0
    miss: int = 0
    set: int = 0
    delete: int = 0
    again: int = 0


OPERATIONS = ("l1", "l2", "l3", "miss", "set", "delete")


class Races:
    """Find values that several threads compute at once: each missed the key, and each stores it.

    Knows the latest keys only, and nothing of other processes. Not thread-safe: the tally's lock guards it.
    """

    def __init__(self) -> None:
        self._serial = 0
        self._missed: dict[tuple[int, str], int] = {}
        self._stored: dict[str, int] = {}

    def miss(self, thread: int, key: str) -> None:
        """Note that a thread has not found a key, and may be about to compute it."""
        self._missed[thread, key] = self._next(self._missed)

    def store(self, thread: int, key: str) -> bool:
        """Note that a thread stores; True when another one has done so since this one missed."""
        missed = self._missed.pop((thread, key), None)
        is_late = missed is not None and self._stored.get(key, 0) > missed
        self._stored[key] = self._next(self._stored)
        return is_late

    def _next(self, known: dict[Any, int]) -> int:
        if len(known) >= _MAX_RACES:
            known.clear()
        self._serial += 1
        return self._serial


@dataclass(slots=True)
class Counts:
    """Hold what was counted: times in nanoseconds per operation, events, reads and writes per pattern of keys."""

    times: dict[str, Histogram] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    patterns: dict[str, Reads] = field(default_factory=dict)


class Tally:
    """Count per process and cache, 500 patterns at a time. Thread-safe; `l1_hits` takes (key, nanoseconds) unlocked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.l1_hits: deque[tuple[str, int]] = deque()
        self.forget_parent()

    def forget_parent(self) -> None:
        """Begin as a new process does: what the parent counted, the parent reports."""
        # Reentrant: a finaliser that runs while it is held may use the cache.
        self._lock = RLock()
        self.l1_hits.clear()
        self._counts = Counts()
        self._patterns: dict[str, str] = {}
        self._races = Races()
        self._logged: dict[str, float] = {}

    def fold(self) -> None:
        """Add up the hits of memory, unless somebody else is at it."""
        if self._lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._lock.release()

    def _fold(self) -> None:
        hits = self.l1_hits
        # All of it in C, and as many as there are now: this is a quarter of what a hit costs.
        rows = list(islice(iter(hits.popleft, None), len(hits)))
        if rows:
            keys, times = zip(*rows, strict=True)
            self._times("l1").add_counts(Counter(times))
            for key, count in Counter(keys).items():
                self._reads(key).l1 += count

    def hit(self, key: str, elapsed_ns: int) -> None:
        """Count a hit of memory."""
        self.l1_hits.append((key, elapsed_ns))
        if len(self.l1_hits) >= _FOLD_AT:
            self.fold()

    def operation(self, name: str, keys: list[str], elapsed_ns: int | None) -> None:
        """Count an operation: `l1`, `l2`, `l3`, `miss`, `set` and `delete` also count their keys.

        None for the time of what was only a part of an operation.
        """
        with self._lock:
            if elapsed_ns is not None:
                self._times(name).add_all((elapsed_ns,))
            if name in OPERATIONS:
                for key in keys:
                    reads = self._reads(key)
                    setattr(reads, name, getattr(reads, name) + 1)
                    self._race(name, key, reads)

    def _race(self, operation: str, key: str, reads: Reads) -> None:
        if operation == "miss":
            self._races.miss(get_ident(), key)
        elif operation == "set" and self._races.store(get_ident(), key):
            reads.again += 1

    def count(self, event: str, number: int = 1) -> None:
        """Count something that happened."""
        with self._lock:
            self._counts.events[event] += number

    def failed(self, level: str, error: BaseException) -> None:
        """Count the failure of a level, and say so in the log once a minute."""
        self.count(f"{level}_failed")
        kind, now = f"{level}: {type(error).__name__}", time.monotonic()
        if now - self._logged.get(kind, -_LOG_EVERY_S) >= _LOG_EVERY_S:
            self._logged[kind] = now
            logger.warning("cache %r: level %s: %s (counted; said once a minute)", self.name, kind, error)

    def take(self) -> Counts:
        """Hand over what was counted since the last call."""
        with self._lock:
            self._fold()
            counts, self._counts = self._counts, Counts()
        return counts

    def _times(self, name: str) -> Histogram:
        return self._counts.times.setdefault(name, Histogram())

    def _reads(self, key: str) -> Reads:
        pattern = self._patterns.get(key)
        if pattern is None:
            if len(self._patterns) >= _MAX_KEYS:
                self._patterns.clear()
            pattern = self._patterns[key] = pattern_of(key)
        patterns = self._counts.patterns
        if pattern not in patterns and len(patterns) >= _MAX_PATTERNS:
            pattern = OTHER
        return patterns.setdefault(pattern, Reads())
