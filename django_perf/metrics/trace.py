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
    """Hold the measurements of one request, keyed by (kind, *labels) less the labels that only its end supplies.

    What most requests never set is a default of the class: an instance costs three attributes.
    """

    ignored = False
    error: str | None = None
    dropped = 0
    # Keys that a cache had and had not, and the time of its calls.
    cache_hits = 0
    cache_misses = 0
    cache_ns = 0
    # All other measurements; None until there is one.
    more: More | None = None

    def __init__(self, started_ns: int, cpu_started_ns: int = 0) -> None:
        self.started_ns = started_ns
        self.cpu_started_ns = cpu_started_ns
        # (key, nanoseconds) of each database statement; the timer of the connection appends to it directly.
        self.statements: list[tuple[Key, int]] = []

    def add(self, key: Key, value: int, failed: bool = False) -> None:
        """Add one measurement; `failed` counts it as an error too."""
        if self.more is None:
            self.more = More()
        if not self.more.add(key, value):
            self.dropped += 1
        elif failed:
            self.fail(key)

    def fail(self, key: Key) -> None:
        """Count an error of a series."""
        if self.more is None:
            self.more = More()
        self.more.failures[key] = self.more.failures.get(key, 0) + 1

    def fold_statements(self) -> None:
        """Move the statements to the other measurements: there are too many to keep each."""
        statements, self.statements = self.statements, []
        for key, elapsed_ns in statements:
            self.add(key, (elapsed_ns + 500) // 1000)
        assert self.more is not None
        self.more.queries += len(statements)
        self.more.query_ns += sum(elapsed_ns for _, elapsed_ns in statements)

    @property
    def queries(self) -> int:
        """Return the number of database statements so far."""
        return len(self.statements) + (self.more.queries if self.more else 0)

    @property
    def query_ns(self) -> int:
        """Return the time of database statements so far."""
        return sum(elapsed_ns for _, elapsed_ns in self.statements) + (self.more.query_ns if self.more else 0)


class More:
    """Hold the measurements of a request other than its plain statements; `queries` counts those folded into it."""

    def __init__(self) -> None:
        self.failures: dict[Key, int] = {}
        self.queries = 0
        self.query_ns = 0
        self._values: dict[Key, list[int]] = {}
        self._folded: dict[Key, Histogram] = {}

    def add(self, key: Key, value: int) -> bool:
        """Add one value; False when there are too many series."""
        values = self._values.get(key)
        if values is None:
            if len(self._values) >= MAX_SERIES:
                return False
            self._values[key] = [value]
            return True
        values.append(value)
        if len(values) >= FOLD_AT:
            self._folded.setdefault(key, Histogram()).add_all(values)
            values.clear()
        return True

    def measurements(self) -> Iterator[tuple[Key, list[int], int, Histogram | None]]:
        """Yield (key, values, failures, histogram of folded values or None) of each series."""
        for key in self._values | self.failures:
            yield key, self._values.get(key, []), self.failures.get(key, 0), self._folded.get(key)


class _Paused(Trace):
    """Swallow measurements: what runs under it is django_perf's own work."""

    def add(self, key: Key, value: int, failed: bool = False) -> None:
        """Forget the measurement."""


PAUSED = _Paused(0)
current: ContextVar[Trace | None] = ContextVar("django_perf_trace", default=None)
