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
from .catalog import KINDS, LOSS, NO_REQUEST, Kind
from .histogram import Histogram
from .trace import PAUSED, Trace, current

logger = logging.getLogger("django_perf")

# One entry of a commit: key, values, counters, and a histogram of further values or None.
Entry = tuple[Key, Sequence[int], Sequence[int], Histogram | None]
Described = tuple[Key, int, Sequence[int]]
Describe = Callable[[Trace, tuple[Any, ...]], Described | None]
# A finished request: when, its trace, and what `describe(trace, raw)` makes a key, microseconds and counters of; None
# leaves the request out. It is called when the queue is folded, so that no request waits for it.
Finished = tuple[float, Trace, Describe, tuple[Any, ...]]
FOLD_AT = 64
_LOG_EVERY_S = 60.0
_MAX_LOGGED = 200


class Recorder:
    """Hold the aggregates of this process, by UTC minute of finish and by series.

    Thread-safe. A finished request is appended to `finished` without a lock; every 64th takes the lock and folds the
    queue into the aggregates, cheaper than one by one (warm caches), and no thread ever waits: whoever finds the lock
    taken leaves the work to its holder. Fork-safe: a child starts empty, with a new
    lock, and the parent keeps what it had. Nothing is recorded until `enabled` is set. `wake` is called at the first
    measurement of a process: it starts the flusher.
    """

    def __init__(self, clock: Callable[[], float] = time.time, max_series: int = 20_000) -> None:
        self.enabled = False
        self.wake: Callable[[], None] | None = None
        self.max_series = max_series
        self._clock = clock
        self._gauges: dict[tuple[str, str], Callable[[], float]] = {}
        self._cardinality = Cardinality()
        self._logged: dict[str, float] = {}
        # Finished requests that are not folded yet, and requests at work: their operations are atomic without a lock.
        self.finished: deque[Finished] = deque()
        self.running: set[Trace] = set()
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        """Start empty; also runs in a forked child, where the lock may be held by a thread that does not exist."""
        self._lock = Lock()
        self.finished.clear()
        self.running.clear()
        self._tables: dict[int, Table] = {}
        self._series = 0
        self._asleep = True
        self._busy_us = 0

    # --- requests -------------------------------------------------------------------------------------------------

    def fold(self) -> None:
        """Merge the queue of finished requests into the aggregates, unless another thread is at it.

        To be called by whoever finds `needs_folding` after appending to the queue.
        """
        if self._lock.acquire(blocking=False):
            try:
                self._fold_locked()
            finally:
                self._lock.release()
        self._wake_up()

    @property
    def needs_folding(self) -> bool:
        """Tell whether the queue is long, or the flusher of this process is not awake yet."""
        return len(self.finished) >= FOLD_AT or self._asleep

    def abandon(self, trace: Trace) -> None:
        """Forget `trace`: an ignored request, or one of django_perf's own pages."""
        self.running.discard(trace)

    def busy_seconds(self) -> float:
        """Return the seconds that requests have kept this process's slots busy, running ones included."""
        self.fold()
        now = time.perf_counter_ns()
        running = sum(now - trace.started_ns for trace in self.running.copy())
        return self._busy_us / 1e6 + running / 1e9

    def _fold_locked(self) -> None:
        finished = self.finished
        # A bounded number: other threads go on appending.
        for _ in range(len(finished)):
            at, trace, describe, raw = finished.popleft()
            described = describe(trace, raw)
            if described is not None and self.enabled:
                self._fold_one(self._tables.setdefault(int(at) // 60, {}), trace, *described)

    def _fold_one(self, table: Table, trace: Trace, key: Key, elapsed_us: int, counters: Sequence[int]) -> None:
        self._busy_us += elapsed_us
        self._add(table, key, (elapsed_us,), counters)
        for own_key, values, own_counters, folded in _scoped(trace, key[1], key[2]):
            self._add(table, own_key, values, own_counters, folded)
        if trace.dropped:
            self._count(table, "series in one request", trace.dropped)

    # --- anything else --------------------------------------------------------------------------------------------

    def record(self, kind: Kind, labels: tuple[str, ...], value: int, counters: Sequence[int] = ()) -> None:
        """Record one value; inside a request it waits in the trace, so that its lock is taken once.

        `labels` are those of the kind, less (route, method) where the kind is scoped. Raises nothing but what a
        wrong `labels` deserves: ValueError.
        """
        if len(labels) + 2 * kind.scoped != len(kind.labels):
            raise ValueError(f"kind {kind.name!r} takes labels {kind.labels}, got {labels!r}")
        trace = current.get()
        if trace is not None:
            trace.add((kind.name, *labels), value, bool(counters and counters[0]))
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

    def gauge(self, kind: Kind, name: str, read: Callable[[], float]) -> None:
        """Publish a level: `read` is called by the flusher's thread, once per flush."""
        self._gauges[kind.name, name] = read

    def levels(self, host: str) -> dict[str, float]:
        """Read all gauges, by name, and record them for `host`; one that raises is counted and left out."""
        levels = {}
        for (kind, name), read in list(self._gauges.items()):
            try:
                levels[name] = read()
                self._commit([((kind, name, host), (round(levels[name] * 100),), (), None)])
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
        with self._lock:  # critical section: the tables change owner
            self._fold_locked()
            tables, self._tables, self._series = self._tables, {}, 0
        return tables

    def _commit(self, entries: Iterable[Entry]) -> None:
        if not self.enabled:
            return
        minute = int(self._clock()) // 60
        with self._lock:  # critical section: guards the tables and the admitted names
            table = self._tables.setdefault(minute, {})
            for key, values, counters, folded in entries:
                self._add(table, key, values, counters, folded)
        self._wake_up()

    def _wake_up(self) -> None:
        if self._asleep and self.wake is not None:
            self._asleep = False
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


def _scoped(trace: Trace, route: str, method: str) -> Iterator[Entry]:
    """Yield the trace's series with (route, method) filled in."""
    for key, values, failures, folded in trace.measurements():
        full = (key[0], route, method, *key[1:]) if KINDS[key[0]].scoped else key
        yield full, values, (failures,) if failures else (), folded


_instances: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _forget_parent() -> None:
    for instance in _instances:
        instance._reset()


# A lock held by another thread at fork stays locked for ever in the child (20 of 20 children hung when tried).
os.register_at_fork(after_in_child=_forget_parent)

recorder = Recorder()
