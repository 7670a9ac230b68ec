"""Aggregate the measurements of this process until the flusher takes them."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from .aggregate import Aggregate, Key, Table, new_aggregate
from .cardinality import Cardinality
from .catalog import LOSS, NO_REQUEST, REQUEST, Kind
from .histogram import Histogram
from .samples import Samples
from .trace import PAUSED, Trace, current

logger = logging.getLogger("django_perf")

# One entry of a commit: key, values, counters, and a histogram of further values or None.
Entry = tuple[Key, Sequence[int], Sequence[int], Histogram | None]
# Turns finished requests, whatever the feature that measures them queues, into (minute, entry).
Expand = Callable[[list[Any]], Iterable[tuple[int, Entry]]]
FOLD_AT = 128
_LOG_EVERY_S = 60.0
_MAX_LOGGED = 200


class Recorder:
    """Hold the aggregates of this process, by UTC minute of finish and by series.

    Thread-safe. A finished request is appended to `finished` without a lock; every 128th takes the lock and folds the
    queue into the aggregates, cheaper than one by one (warm caches). Nothing that measures ever waits for the lock:
    whoever finds it taken leaves the work to the next holder. It may even be taken by the same thread: the garbage
    collector can run anywhere, and what it finalises may send a query. Fork-safe: a child starts empty, with a new
    lock, and the parent keeps what it had. Nothing is recorded until `enabled` is set. `wake` is called at the first
    measurement of a process: it starts the flusher.
    """

    def __init__(self, clock: Callable[[], float] = time.time, max_series: int = 20_000) -> None:
        self.enabled = False
        self.wake: Callable[[], None] | None = None
        self.max_series = max_series
        self._clock = clock
        self._sources: list[Callable[[], Iterable[Entry]]] = []
        self._gauges: dict[tuple[str, str], Callable[[], float | None]] = {}
        self._cardinality = Cardinality()
        self._logged: dict[str, float] = {}
        self.samples = Samples(clock)
        # Finished requests that are not folded yet, entries that are not added yet, and requests at work: their
        # operations are atomic without a lock.
        self.finished: deque[Any] = deque()
        self._entries: deque[tuple[int, Iterable[Entry]]] = deque()
        self.expand: Expand = lambda rows: ()
        self.running: set[Trace] = set()
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        """Start empty; also runs in a forked child, where the lock may be held by a thread that does not exist."""
        self._lock = Lock()
        self.finished.clear()
        self._entries.clear()
        self.running.clear()
        self.samples.reset()
        self._tables: dict[int, Table] = {}
        self._series = 0
        self.is_asleep = True
        self._busy_us = 0
        # What was folded since somebody asked, and how long that took.
        self._folded, self._folded_ns = 0, 0

    # --- requests -------------------------------------------------------------------------------------------------

    def fold(self) -> None:
        """Merge the queue of finished requests into the aggregates, unless another thread is at it.

        To be called by whoever finds the queue at FOLD_AT, or `is_asleep`, after appending to it.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._fold_locked()
            finally:
                self._lock.release()
        self._wake_up()

    def busy_seconds(self) -> float:
        """Return the seconds that requests have kept this process's slots busy, running ones included."""
        self.fold()
        now = time.perf_counter_ns()
        running = sum(now - trace.started_ns for trace in self.running.copy())
        return self._busy_us / 1e6 + running / 1e9

    def fold_us(self) -> float | None:
        """Return what folding took for each request since the last call, in microseconds; None if there was none."""
        with self._lock:  # critical section: the two belong together
            count, ns, self._folded, self._folded_ns = self._folded, self._folded_ns, 0, 0
        return ns / count / 1_000 if count else None

    def _fold_locked(self) -> None:
        self._add_entries()
        finished, began_ns = self.finished, time.perf_counter_ns()
        # A bounded number: other threads go on appending.
        rows = [finished.popleft() for _ in range(len(finished))]
        if not (rows and self.enabled):
            return
        for minute, (key, values, counters, folded) in self._expanded(rows):
            self._add(self._table(minute), key, values, counters, folded)
            if key[0] == REQUEST.name:
                self._busy_us += sum(values)
        self._folded += len(rows)
        self._folded_ns += time.perf_counter_ns() - began_ns

    def _expanded(self, rows: list[Any]) -> list[tuple[int, Entry]]:
        """Return the entries of all rows; one that cannot be described is counted and costs no other."""
        try:
            return list(self.expand(rows))
        except Exception as error:
            if len(rows) > 1:
                return [entry for row in rows for entry in self._expanded([row])]
            key = (LOSS.name, "dropped", f"a request cannot be described: {type(error).__name__}")
            return [(int(self._clock()) // 60, (key, (1,), (), None))]

    def _table(self, minute: int) -> Table:
        return self._tables.setdefault(minute, {})

    # --- anything else --------------------------------------------------------------------------------------------

    def record(self, kind: Kind, labels: tuple[str, ...], value: int, counters: Sequence[int] = ()) -> None:
        """Record one value; inside a request it waits in the trace, so that its lock is taken once.

        `labels` are those of the kind, less (route, method) where the kind is scoped. Raises nothing but what a
        wrong `labels` deserves: ValueError.
        """
        if len(labels) + 2 * kind.scoped != len(kind.labels):
            raise ValueError(f"kind {kind.name!r} takes labels {kind.labels}, got {labels!r}")
        trace = current.get()
        if trace is not None and (trace is PAUSED or not trace.is_over):
            trace.add((kind.name, *labels), (value,), counters)
        else:
            scope = (NO_REQUEST, "-") if kind.scoped else ()
            self._commit([((kind.name, *scope, *labels), (value,), counters, None)])

    def lost(self, what: str, detail: str, count: int = 1) -> None:
        """Count `count` lost measurements or one fault of ours; say so in the log once a minute per `detail`."""
        if not self.enabled:
            return
        self._commit([((LOSS.name, what, detail), (count,), (), None)])
        now = time.monotonic()
        if now - self._logged.get(detail, -_LOG_EVERY_S) >= _LOG_EVERY_S and len(self._logged) < _MAX_LOGGED:
            self._logged[detail] = now
            logger.warning("%s: %s (counted; said once a minute)", what, detail)

    def gauge(self, kind: Kind, name: str, read: Callable[[], float | None]) -> None:
        """Publish a level: `read` is called by the flusher's thread, once per flush; None for nothing to say."""
        self._gauges[kind.name, name] = read

    def source(self, read: Callable[[], Iterable[Entry]]) -> None:
        """Take what another place has gathered by itself: `read` is called by the flusher's thread, once per flush."""
        if read not in self._sources:
            self._sources.append(read)

    def _read_sources(self) -> None:
        for read in self._sources:
            try:
                if entries := list(read()):  # an empty commit would make an empty minute
                    self._commit(entries)
            except Exception as error:
                self.lost("error", f"source {read.__module__}: {type(error).__name__}")

    def levels(self, host: str) -> dict[str, float]:
        """Read all gauges, by name, and record them for `host`; one that raises is counted and left out."""
        levels = {}
        for (kind, name), read in list(self._gauges.items()):
            try:
                level = read()
                if level is None:
                    continue
                self._commit([((kind, name, host), (round(level * 100),), (), None)])
                levels[name] = level
            except Exception as error:
                self.lost("error", f"gauge {name}: {type(error).__name__}")
        return levels

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing in this context: how the store avoids measuring itself."""
        token = current.set(PAUSED)
        try:
            yield
        finally:
            current.reset(token)

    def drain(self) -> dict[int, Table]:
        """Hand over all aggregates, by minute since 1970 (UTC), and start empty; what was admitted stays admitted."""
        self._read_sources()
        if dropped := self.samples.dropped():
            self.lost("dropped", "an example: too many wait for a flush", dropped)
        with self._lock:  # critical section: the tables change owner
            self._fold_locked()
            tables, self._tables, self._series = self._tables, {}, 0
        return tables

    def _commit(self, entries: Iterable[Entry]) -> None:
        if not self.enabled:
            return
        self._entries.append((int(self._clock()) // 60, entries))
        if self._lock.acquire(blocking=False):  # critical section: guards the tables and the admitted names
            try:
                self._add_entries()
            finally:
                self._lock.release()
        self._wake_up()

    def _add_entries(self) -> None:
        for _ in range(len(self._entries)):
            minute, entries = self._entries.popleft()
            table = self._table(minute)
            for key, values, counters, folded in entries:
                self._add(table, key, values, counters, folded)

    def _wake_up(self) -> None:
        if self.is_asleep and self.wake is not None:
            self.is_asleep = False
            self.wake()

    def _add(
        self, table: Table, key: Key, values: Sequence[int], counters: Sequence[int], folded: Histogram | None = None
    ) -> None:
        aggregate = table.get(key) or self._admit(table, key)
        if aggregate is None:
            lost = len(values) + (folded.count if folded else 0)
            self._count(table, "memory is full, the store does not answer", lost)
            return
        aggregate.add_all(values, counters)
        if folded:
            aggregate.histogram.merge(folded)

    def _admit(self, table: Table, key: Key) -> Aggregate | None:
        key = self._cardinality.admit(key)
        aggregate = table.get(key)
        if aggregate is None and (self._series < self.max_series or key[0] == LOSS.name):
            aggregate = table[key] = new_aggregate(key)
            self._series += 1
        return aggregate

    def _count(self, table: Table, detail: str, count: int) -> None:
        """Count dropped measurements; a loss itself is always admitted."""
        self._add(table, (LOSS.name, "dropped", detail), (count,), ())


_instances: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _forget_parent() -> None:
    for instance in _instances:
        instance._reset()


# A lock held by another thread at fork stays locked for ever in the child (20 of 20 children hung when tried).
os.register_at_fork(after_in_child=_forget_parent)

recorder = Recorder()
