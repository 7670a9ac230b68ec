"""Collect what one request does, without a lock, until the recorder takes it over in one piece.

The current trace is context-local: it follows a request through threads and coroutines and never leaks into another.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from .aggregate import Key, add_counters
from .callsite import find_site, place_of
from .histogram import Histogram
from .statement import NS, ROWS, SHAPE, STRIDE, Runs, Shape, calls, column, each

# A request that runs a million statements keeps their histogram, not a list of a million numbers.
FOLD_AT = 1_000
MAX_SERIES = 10_000
MAX_SPANS = 300
# What took so long (ns) is worth the microseconds that it takes to see where in the code it came from.
DEAR_NS = 2_000_000
# Of the executions of one statement, so many stay as they are at either end: those that a timeline shows first, and
# those whose rows may still be fetched.
KEPT = 10


class Span(NamedTuple):
    """Hold one stretch of a request: `kind` is cache, template or block; begin and length in perf_counter_ns."""

    kind: str
    name: str
    started_ns: int
    elapsed_ns: int
    place: str = ""


class Watch(Protocol):
    """What a feature keeps of a request that it looks at more closely."""

    def end(self, trace: Trace) -> None:
        """Do at the end of the request what cannot wait."""

    def conclude(self, trace: Trace) -> None:
        """Add what was found to the trace; called once, when it is added up with others, under the recorder's lock."""


class _Concluded:
    """Stand for a watch that has added what it found."""

    def end(self, trace: Trace) -> None:
        """Do nothing."""

    def conclude(self, trace: Trace) -> None:
        """Do nothing."""


CONCLUDED = _Concluded()


class Trace:
    """Hold the measurements of one request, keyed by (kind, *labels) less the labels that only its end supplies.

    What most requests never set is a default of the class: an instance costs three attributes.
    """

    ignored = False
    # The request has ended. What a task that it has started does now belongs to no request.
    is_over = False
    # Its examples were offered: what cannot be described is tried again, and may have been half done.
    is_offered = False
    error: str | None = None
    # Where in the project's code the exception came from.
    error_place = ""
    dropped = 0
    # Keys that a cache had and had not, and the time of its calls.
    cache_hits = 0
    cache_misses = 0
    cache_ns = 0
    # All other measurements; None until there is one.
    more: More | None = None
    # Stretches of the request other than statements, for its timeline.
    spans: list[Span] | None = None
    # The request, until it has ended, for those who log in the middle of it; the name it has in logs, and the one that
    # its client gave it.
    request: Any = None
    request_id = ""
    given_id: object = None
    # The template that is being rendered.
    template: str | None = None
    watch: Watch | None = None

    def __init__(self, started_ns: int, cpu_started_ns: int = 0) -> None:
        self.started_ns = started_ns
        self.cpu_started_ns = cpu_started_ns
        # The executions of each statement; the cursor adds to it directly.
        self.statements: dict[Shape, Runs] = {}

    def add(self, key: Key, values: Sequence[int], counters: Sequence[int] = ()) -> None:
        """Add values and counters to one series; when there are too many series, they are dropped and counted."""
        if self.more is None:
            self.more = More()
        if not self.more.add(key, values, counters):
            self.dropped += 1

    def add_statement(self, key: Key, elapsed_ns: int, errors: int = 0, queries: int = 1) -> None:
        """Add a statement without rows: one that failed; a COMMIT, which is no query."""
        self.add(key, ((elapsed_ns + 500) // 1000,), (errors, 0))
        if self.more is not None:
            self.more.queries += queries
            self.more.query_ns += elapsed_ns

    def add_span(self, kind: str, name: str, started_ns: int, elapsed_ns: int) -> None:
        """Note a stretch of the request; of very many only those that take long."""
        if self.spans is None:
            self.spans = []
        if elapsed_ns >= DEAR_NS:
            if len(self.spans) < 2 * MAX_SPANS:
                self.spans.append(Span(kind, name, started_ns, elapsed_ns, place_of(find_site(sys._getframe(1)))))
        elif len(self.spans) < MAX_SPANS:
            self.spans.append(Span(kind, name, started_ns, elapsed_ns))

    def fold_runs(self, shape: Shape) -> Runs:
        """Move most executions of a statement to the other measurements, for there are too many to keep each.

        Returns those that were moved: all but the first and the last KEPT. What is fetched for one of them later on is
        not timed any more.
        """
        runs = self.statements[shape]
        start, end = 1 + KEPT * STRIDE, len(runs) - KEPT * STRIDE
        folded = [shape, *runs[start:end]]
        del runs[start:end]  # in place, and in one step: another thread of the request may be adding to it
        taken = column(folded, NS)
        self.add(shape.key, [(ns + 500) // 1000 for ns in taken], (0, sum(column(folded, ROWS))))
        if self.more is not None:
            self.more.queries += len(taken)
            self.more.query_ns += sum(taken)
        return folded

    def totals(self, shape: Shape) -> tuple[int, int, int]:
        """Return the executions of a statement so far, their nanoseconds and their rows."""
        runs = self.statements.get(shape, [shape])
        gathered = self.more.series.get(shape.key) if self.more else None
        folded, folded_us, rows = (0, 0, 0) if gathered is None else gathered.totals()
        return folded + calls(runs), folded_us * 1000 + sum(column(runs, NS)), rows + sum(column(runs, ROWS))

    def busy_since(self, alias: str, since_ns: int) -> tuple[int, int]:
        """Return when the first statement of a database began since then, 0 if none, and how long its statements ran.

        Those that were folded count as if all had run since: who waited has to be beyond doubt.
        """
        own = [run for runs in self.statements.values() if runs[SHAPE].alias == alias for run in each(runs)]
        late = [run for run in own if run.started_ns >= since_ns]
        folded_ns = self.more.query_ns if self.more else 0
        return min((run.started_ns for run in late), default=0), folded_ns + sum(run.ns for run in late)

    def let_go(self) -> None:
        """Keep nothing of the request but what its lines in a log are known by."""
        if self.request is not None:
            self.given_id = self.request.META.get("HTTP_X_REQUEST_ID")
            self.request = None

    @property
    def queries(self) -> int:
        """Return the number of database statements so far."""
        return sum(map(calls, self.statements.values())) + (self.more.queries if self.more else 0)

    @property
    def query_ns(self) -> int:
        """Return the time of database statements so far, that of COMMIT and ROLLBACK included."""
        kept = sum(sum(column(runs, NS)) for runs in self.statements.values())
        return kept + (self.more.query_ns if self.more else 0)


class Gathered:
    """Hold the values of one series of a request, and its counters."""

    __slots__ = ("counters", "folded", "values")

    def __init__(self) -> None:
        self.values: list[int] = []
        self.folded: Histogram | None = None
        self.counters: list[int] = []

    def add(self, values: Sequence[int], counters: Sequence[int]) -> None:
        """Add values and counters."""
        self.values += values
        if counters:
            self.counters = add_counters(self.counters, counters)
        if len(self.values) >= FOLD_AT:
            self.folded = self.folded or Histogram()
            self.folded.add_all(self.values)
            self.values.clear()

    def totals(self) -> tuple[int, int, int]:
        """Return the number of values of a statement, their sum, and its rows."""
        count, total = (self.folded.count, self.folded.sum) if self.folded else (0, 0)
        rows = self.counters[1] if len(self.counters) > 1 else 0
        return count + len(self.values), total + sum(self.values), rows


class More:
    """Hold the measurements of a request other than the plain statements that its trace still has.

    `queries` counts those that were folded into it; `query_ns` is their time and that of COMMIT and ROLLBACK.
    """

    def __init__(self) -> None:
        self.series: dict[Key, Gathered] = {}
        self.queries = 0
        self.query_ns = 0

    def add(self, key: Key, values: Sequence[int], counters: Sequence[int]) -> bool:
        """Add to one series; False when there are too many of them."""
        gathered = self.series.get(key)
        if gathered is None:
            if len(self.series) >= MAX_SERIES:
                return False
            gathered = self.series[key] = Gathered()
        gathered.add(values, counters)
        return True


class _Paused(Trace):
    """Swallow measurements: what runs under it is django_perf's own work."""

    is_over = True

    def add(self, key: Key, values: Sequence[int], counters: Sequence[int] = ()) -> None:
        """Forget them."""

    def add_span(self, kind: str, name: str, started_ns: int, elapsed_ns: int) -> None:
        """Forget it."""


PAUSED = _Paused(0)
current: ContextVar[Trace | None] = ContextVar("django_perf_trace", default=None)
