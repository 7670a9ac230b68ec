"""Turn a queue of finished requests into entries for the recorder, many at a time.

Requests of one endpoint share their look-ups and are summed column by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.urls import ResolverMatch

from ..conf import get_settings
from ..metrics.aggregate import Key
from ..metrics.catalog import EXCEPTION, KINDS, LOSS, REQUEST
from ..metrics.endpoints import method_of, route_of, status_class
from ..metrics.names import clean
from ..metrics.recorder import Entry
from ..metrics.statement import NS, ROWS, Runs, Shape, column
from ..metrics.trace import CONCLUDED, Trace
from .remarkable import offer

Scope = tuple[str, str]


class Finished(NamedTuple):
    """Hold what is known at the end of a request; made as a plain tuple in the hot path, in this order.

    `at` is in seconds since 1970, `cpu_ns` -1 where it is not known, `received` the header Content-Length.
    """

    at: float
    trace: Trace
    match: ResolverMatch | None
    method: str | None
    status: int
    elapsed_ns: int
    cpu_ns: int
    received: str | None
    sent_bytes: int
    is_aborted: bool


Row = tuple[float, Trace, ResolverMatch | None, str | None, int, int, int, str | None, int, bool]


def fold(rows: Iterable[Row]) -> Iterator[tuple[int, Entry]]:
    """Yield (minute, entry) for each series that the requests touched."""
    groups: dict[tuple[int, str | None, str | None, int], list[Row]] = {}
    for row in rows:
        match = row[2]
        route = None if match is None else match.route
        groups.setdefault((int(row[0]) // 60, route, row[3], row[4]), []).append(row)
    slow_ns = get_settings().slow_request_seconds * 1e9
    for (minute, *_), group in groups.items():
        first = Finished(*group[0])
        scope = route_of(first.match), method_of(first.method)
        for entry in _entries(group, (REQUEST.name, *scope, status_class(first.status)), scope):
            yield minute, entry
        for entry in _keep(group, (clean(scope[0]), scope[1]), slow_ns):
            yield minute, entry


def _entries(group: list[Row], key: Key, scope: Scope) -> Iterator[Entry]:
    _, traces, _, _, statuses, elapsed_ns, cpu_ns, received, sent_bytes, aborted = zip(*group, strict=True)
    statements: dict[Shape, Runs] = {}
    queries = query_ns = errors = 0
    for trace, status, is_aborted in zip(traces, statuses, aborted, strict=True):
        for shape, runs in trace.statements.items():
            if shape in statements:
                statements[shape] += runs[1:]
            else:
                statements[shape] = runs.copy()
        if trace.watch is not None:
            yield from _concluded(trace)
        if trace.more is not None or trace.error is not None or trace.dropped:
            queries, query_ns = queries + _folded(trace), query_ns + _folded_ns(trace)
            yield from _more(trace, scope)
        errors += trace.error is not None or (status >= 500 and not is_aborted)
    known = [taken_ns for taken_ns in cpu_ns if taken_ns >= 0]
    for shape, runs in statements.items():
        taken, rows = column(runs, NS), sum(column(runs, ROWS))
        queries, query_ns = queries + len(taken), query_ns + sum(taken)
        yield (shape.key[0], *scope, *shape.key[1:]), [(one + 500) // 1000 for one in taken], (0, rows), None
    # In the order of catalog.REQUEST.counters.
    counters = (
        errors,
        sum(aborted),
        sum(known) // 1000,
        len(known),
        sum(map(_number, filter(None, received))),
        sum(sent_bytes),
        queries,
        query_ns // 1000,
        *_cache(traces),
    )
    yield key, [(taken_ns + 500) // 1000 for taken_ns in elapsed_ns], counters, None


def _concluded(trace: Trace) -> Iterator[Entry]:
    """Let the watch add what it found; where it fails, the request counts all the same.

    The failure is an entry like others: the recorder's lock is held, so nobody may be told. Once only: the recorder
    tries again what it cannot fold.
    """
    watch, trace.watch = trace.watch, CONCLUDED
    try:
        if watch is not None:
            watch.conclude(trace)
    except Exception as error:
        yield (LOSS.name, "error", f"conclusion: {type(error).__name__}"), (1,), (), None


def _keep(group: list[Row], scope: Scope, slow_ns: float) -> Iterator[Entry]:
    """Offer those that were remarkable as examples."""
    for row in group:
        trace, elapsed_ns = row[1], row[5]
        is_slow = elapsed_ns >= slow_ns
        if not trace.is_offered and (is_slow or trace.watch is not None or trace.error is not None):
            trace.is_offered = True
            try:
                offer(scope, trace, row[4], elapsed_ns, is_slow)
            except Exception as error:
                yield (LOSS.name, "error", f"example: {type(error).__name__}"), (1,), (), None


def _cache(traces: Iterable[Trace]) -> tuple[int, int, int]:
    """Return the keys that caches had and had not, and the microseconds of their calls; most requests have none."""
    used = [trace for trace in traces if trace.cache_ns]
    if not used:
        return 0, 0, 0
    hits, misses = sum([trace.cache_hits for trace in used]), sum([trace.cache_misses for trace in used])
    return hits, misses, sum([trace.cache_ns for trace in used]) // 1000


def _folded(trace: Trace) -> int:
    return trace.more.queries if trace.more else 0


def _folded_ns(trace: Trace) -> int:
    return trace.more.query_ns if trace.more else 0


def _more(trace: Trace, scope: Scope) -> Iterator[Entry]:
    """Yield what only few requests have: exceptions, blocks, failed statements, drops."""
    if trace.error is not None:
        yield (EXCEPTION.name, *scope, trace.error), (1,), (), None
    if trace.dropped:
        yield (LOSS.name, "dropped", "series in one request"), (trace.dropped,), (), None
    for key, gathered in trace.more.series.items() if trace.more else ():
        full = (key[0], *scope, *key[1:]) if KINDS[key[0]].scoped else key
        yield full, gathered.values, gathered.counters, gathered.folded


def _number(length: object) -> int:
    """Read a Content-Length; a proxy may pass any text on, a middleware an int, and 18 digits fit every counter."""
    text = str(length)
    return int(text) if len(text) < 18 and text.isascii() and text.isdecimal() else 0
