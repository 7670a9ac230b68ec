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

    def __init__(self, started_ns: int, cpu_started_ns: int = 0) -> None:
        self.started_ns = started_ns
        self.cpu_started_ns = cpu_started_ns
        self.queries = self.query_ns = self.dropped = 0
        self.ignored = False
        # Made when needed: most requests fail nothing and fold nothing, and three dicts are a tenth of our whole price.
        self.error: str | None = None
        self._values: dict[Key, list[int]] | None = None
        self._failures: dict[Key, int] | None = None
        self._folded: dict[Key, Histogram] | None = None

    def add(self, key: Key, value: int, failed: bool = False) -> None:
        """Add one measurement; `failed` counts it as an error too."""
        if self._values is None:
            self._values = {key: [value]}
        elif (values := self._values.get(key)) is not None:
            values.append(value)
            if len(values) >= FOLD_AT:
                self._fold(key, values)
        elif len(self._values) < MAX_SERIES:
            self._values[key] = [value]
        else:
            self.dropped += 1
        if failed:
            self._fail(key)

    def _fold(self, key: Key, values: list[int]) -> None:
        self._folded = self._folded or {}
        self._folded.setdefault(key, Histogram()).add_all(values)
        values.clear()

    def _fail(self, key: Key) -> None:
        self._failures = self._failures or {}
        self._failures[key] = self._failures.get(key, 0) + 1

    def measurements(self) -> Iterator[tuple[Key, list[int], int, Histogram | None]]:
        """Yield (key, values, failures, histogram of folded values or None) of each series."""
        failures, folded = self._failures or {}, self._folded or {}
        for key, values in (self._values or {}).items():
            yield key, values, failures.get(key, 0), folded.get(key)


class _Paused(Trace):
    """Swallow measurements: what runs under it is django_perf's own work."""

    __slots__ = ()

    def add(self, key: Key, value: int, failed: bool = False) -> None:
        """Forget the measurement."""


PAUSED = _Paused(0)
current: ContextVar[Trace | None] = ContextVar("django_perf_trace", default=None)
