"""Collect what one request does, without a lock, until the recorder takes it over in one piece.

The current trace is context-local: it follows a request through threads and coroutines and never leaks into another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar

from .aggregate import Key
from .histogram import Histogram

# A request that runs a million statements keeps their histogram, not a list of a million numbers.
FOLD_AT = 1_000
MAX_SERIES = 10_000


class Trace:
    """Hold the measurements of one request, keyed by (kind, *labels) less the labels that only its end supplies."""

    __slots__ = (
        "_failures",
        "_folded",
        "_values",
        "cpu_started_ns",
        "dropped",
        "error",
        "ignored",
        "queries",
        "query_ns",
        "started_ns",
    )

    def __init__(self, started_ns: int, cpu_started_ns: int | None = None) -> None:
        self.started_ns = started_ns
        self.cpu_started_ns = cpu_started_ns
        self.queries = 0
        self.query_ns = 0
        self.ignored = False
        self.error: str | None = None
        self.dropped = 0
        self._values: dict[Key, list[int]] = {}
        self._failures: dict[Key, int] = {}
        self._folded: dict[Key, Histogram] = {}

    def add(self, key: Key, value: int, failed: bool = False) -> None:
        """Add one measurement; `failed` counts it as an error too."""
        values = self._values.get(key)
        if values is None:
            if len(self._values) >= MAX_SERIES:
                self.dropped += 1
                return
            self._values[key] = [value]
        else:
            values.append(value)
            if len(values) >= FOLD_AT:
                self._fold(key)
        if failed:
            self._failures[key] = self._failures.get(key, 0) + 1

    def _fold(self, key: Key) -> None:
        values, self._values[key] = self._values[key], []
        self._folded.setdefault(key, Histogram()).add_all(values)

    def measurements(self) -> Iterator[tuple[Key, list[int], int, Histogram | None]]:
        """Yield (key, values, failures, histogram of folded values or None) of each series."""
        for key, values in self._values.items():
            yield key, values, self._failures.get(key, 0), self._folded.get(key)


class _Paused(Trace):
    """Swallow measurements: what runs under it is django_perf's own work."""

    __slots__ = ()

    def add(self, key: Key, value: int, failed: bool = False) -> None:
        """Forget the measurement."""


PAUSED = _Paused(0)
current: ContextVar[Trace | None] = ContextVar("django_perf_trace", default=None)
