"""Turn a queue of finished requests into entries for the recorder, many at a time.

Requests of one endpoint share their look-ups and are summed column by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.urls import ResolverMatch

from ..metrics.aggregate import Key
from ..metrics.catalog import EXCEPTION, KINDS, LOSS, REQUEST
from ..metrics.endpoints import method_of, route_of, status_class
from ..metrics.recorder import Entry
from ..metrics.trace import Trace

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
    for (minute, *_), group in groups.items():
        first = Finished(*group[0])
        scope = route_of(first.match), method_of(first.method)
        for entry in _entries(group, (REQUEST.name, *scope, status_class(first.status)), scope):
            yield minute, entry


def _entries(group: list[Row], key: Key, scope: Scope) -> Iterator[Entry]:
    _, traces, _, _, statuses, elapsed_ns, cpu_ns, received, sent_bytes, aborted = zip(*group, strict=True)
    statements: dict[Key, list[int]] = {}
    queries = query_ns = errors = 0
    for trace, status, is_aborted in zip(traces, statuses, aborted, strict=True):
        for statement, taken_ns in trace.statements:
            statements.setdefault(statement, []).append(taken_ns)
        if trace.more is not None or trace.error is not None or trace.dropped:
            queries, query_ns = queries + trace.queries - len(trace.statements), query_ns + _folded_ns(trace)
            yield from _more(trace, scope)
        errors += trace.error is not None or (status >= 500 and not is_aborted)
    known = [taken_ns for taken_ns in cpu_ns if taken_ns >= 0]
    queries += sum(map(len, statements.values()))
    query_ns += sum(map(sum, statements.values()))
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
    for statement, taken in statements.items():
        yield (statement[0], *scope, *statement[1:]), [(one + 500) // 1000 for one in taken], (), None


def _cache(traces: Iterable[Trace]) -> tuple[int, int, int]:
    """Return the keys that caches had and had not, and the microseconds of their calls; most requests have none."""
    used = [trace for trace in traces if trace.cache_ns]
    if not used:
        return 0, 0, 0
    hits, misses = sum([trace.cache_hits for trace in used]), sum([trace.cache_misses for trace in used])
    return hits, misses, sum([trace.cache_ns for trace in used]) // 1000


def _folded_ns(trace: Trace) -> int:
    return trace.more.query_ns if trace.more else 0


def _more(trace: Trace, scope: Scope) -> Iterator[Entry]:
    """Yield what only few requests have: exceptions, blocks, failed statements, drops."""
    if trace.error is not None:
        yield (EXCEPTION.name, *scope, trace.error), (1,), (), None
    if trace.dropped:
        yield (LOSS.name, "dropped", "series in one request"), (trace.dropped,), (), None
    for key, values, failures, folded in trace.more.measurements() if trace.more else ():
        full = (key[0], *scope, *key[1:]) if KINDS[key[0]].scoped else key
        yield full, values, (failures,) if failures else (), folded


def _number(length: object) -> int:
    """Read a Content-Length; a proxy may pass any text on, a middleware an int, and 18 digits fit every counter."""
    text = str(length)
    return int(text) if len(text) < 18 and text.isascii() and text.isdecimal() else 0
