"""Aggregate the measurements of this process until the flusher takes them."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from .aggregate import Aggregate, Key, Table, new_aggregate
from .cardinality import Cardinality
from .catalog import KINDS, LOSS, NO_REQUEST, Kind
from .histogram import Histogram
from .trace import PAUSED, Trace, current

logger = logging.getLogger("django_perf")

# One entry of a commit: key, values, counters, and a histogram of further values or None.
Entry = tuple[Key, Sequence[int], Sequence[int], Histogram | None]
_LOG_EVERY_S = 60.0
_MAX_LOGGED = 200


class Recorder:
    """Hold the aggregates of this process, by UTC minute of finish and by series.

    Thread-safe: one lock, taken once per finished request. Fork-safe: a child starts empty, with a new lock, and the
    parent keeps what it had. Nothing is recorded until `enabled` is set. `wake` is called at the first commit after
    each drain of the idle state: it starts the flusher.
    """

    def __init__(self, clock: Callable[[], float] = time.time, max_series: int = 20_000) -> None:
        self.enabled = False
        self.wake: Callable[[], None] | None = None
        self.max_series = max_series
        self._clock = clock
        self._gauges: dict[tuple[str, str], Callable[[], float]] = {}
        self._cardinality = Cardinality()
        self._logged: dict[str, float] = {}
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        """Start empty; also runs in a forked child, where the lock may be held by a thread that does not exist."""
        self._lock = Lock()
        self._tables: dict[int, Table] = {}
        self._series = 0
        self._asleep = True
        self._active: dict[int, int] = {}
        self._finished_ns = 0

    # --- requests -------------------------------------------------------------------------------------------------

    def start(self, trace: Trace) -> None:
        """Count `trace` as running, for the saturation of the worker."""
        self._active[id(trace)] = trace.started_ns

    def finish(self, trace: Trace, scope: tuple[str, str], entries: Iterable[Entry]) -> None:
        """Take over all that `trace` collected: `scope` is its (route, method), `entries` its own series."""
        started_ns = self._active.pop(id(trace), None)
        busy_ns = time.perf_counter_ns() - started_ns if started_ns is not None else 0
        self._commit([*entries, *_scoped(trace, scope)], busy_ns)
        if trace.dropped:
            self.lost("dropped", "series in one request", trace.dropped)

    def abandon(self, trace: Trace) -> None:
        """Forget `trace`: an ignored request, or one of django_perf's own pages."""
        self._active.pop(id(trace), None)

    def busy_seconds(self) -> float:
        """Return the seconds that requests have kept this process's slots busy, running ones included."""
        now = time.perf_counter_ns()
        running = sum(now - started for started in list(self._active.values()))
        return (self._finished_ns + running) / 1e9

    # --- anything else --------------------------------------------------------------------------------------------

    def record(self, kind: Kind, labels: tuple[str, ...], value: int, counters: Sequence[int] = ()) -> None:
        """Record one value; inside a request it waits in the trace, so that its lock is taken once.

        `labels` are those of the kind, less (route, method) where the kind is scoped. Raises nothing but what a
        wrong `labels` deserves: ValueError.
        """
        if len(labels) + 2 * kind.scoped != len(kind.labels):
            raise ValueError(f"kind {kind.name!r} takes labels {kind.labels}, got {labels!r}")
        trace = current.get()
        if trace is not None and len(counters) <= 1:
            trace.add((kind.name, *labels), value, bool(counters and counters[0]))
        elif trace is not PAUSED and self.enabled:
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

    def levels(self) -> dict[str, float]:
        """Read all gauges, by name; one that raises is counted and left out."""
        levels = {}
        for (_, name), read in list(self._gauges.items()):
            try:
                levels[name] = read()
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
            tables, self._tables, self._series = self._tables, {}, 0
        return tables

    def _commit(self, entries: Iterable[Entry], busy_ns: int = 0) -> None:
        minute = int(self._clock()) // 60
        refused = 0
        with self._lock:  # critical section: guards the tables, the admitted names and the busy time
            table = self._tables.setdefault(minute, {})
            self._finished_ns += busy_ns
            for key, values, counters, folded in entries:
                aggregate = table.get(key) or self._admit(table, key)
                if aggregate is None:
                    refused += len(values) + (folded.count if folded else 0)
                    continue
                aggregate.add_all(values, counters)
                if folded:
                    aggregate.histogram.merge(folded)
            if refused:
                self._refuse(table, refused)
        if self._asleep and self.wake is not None:
            self._asleep = False
            self.wake()

    def _admit(self, table: Table, key: Key) -> Aggregate | None:
        key = self._cardinality.admit(key)
        aggregate = table.get(key)
        if aggregate is None and (self._series < self.max_series or key[0] == LOSS.name):
            aggregate = table[key] = new_aggregate(key)
            self._series += 1
        return aggregate

    def _refuse(self, table: Table, count: int) -> None:
        """Count what found no room: the store has failed for so long that memory is full."""
        aggregate = self._admit(table, (LOSS.name, "dropped", "memory is full, the store does not answer"))
        assert aggregate is not None  # losses are always admitted
        aggregate.add_all((count,))


def _scoped(trace: Trace, scope: tuple[str, str]) -> Iterator[Entry]:
    """Yield the trace's series with (route, method) filled in."""
    for key, values, failures, folded in trace.measurements():
        full = (key[0], *scope, *key[1:]) if KINDS[key[0]].scoped else key
        yield full, values, (failures,) if failures else (), folded


_instances: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _forget_parent() -> None:
    for instance in _instances:
        instance._reset()


# A lock held by another thread at fork stays locked for ever in the child (20 of 20 children hung when tried).
os.register_at_fork(after_in_child=_forget_parent)

recorder = Recorder()
