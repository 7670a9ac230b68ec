"""Describe one request as its timeline: what it did when, for how long, and from which line of code.

Names, shapes and places only: no path, no parameter, no key, no text of an exception.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..metrics.callsite import place_of
from ..metrics.catalog import FINDING
from ..metrics.names import clean
from ..metrics.samples import MOST_BYTES
from ..metrics.statement import SHAPE, Runs, each
from ..metrics.trace import Trace

_MOST_ROWS = 100
_MOST_FINDINGS = 10
_MOST_SQL = 500

Row = dict[str, Any]


def describe(trace: Trace, elapsed_ns: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the example of a request as plain JSON: `facts`, its findings, and its spans in microseconds."""
    rows = sorted(_rows(trace), key=lambda row: row["start_us"])
    found = sorted(_findings(trace), key=lambda row: -row["us"])[:_MOST_FINDINGS]
    doc = {**facts, "duration_us": elapsed_ns // 1000, "findings": found, "left_out": 0, "spans": rows}
    _shorten(doc)
    return doc


def _shorten(doc: dict[str, Any]) -> None:
    """Leave out the shortest spans, until there are few enough of them and the whole is small enough."""
    keep = _MOST_ROWS
    while len(doc["spans"]) > keep or len(json.dumps(doc)) > MOST_BYTES:
        keep = min(keep, max(0, len(doc["spans"]) * 3 // 4))
        longest = sorted(doc["spans"], key=lambda row: -int(row["us"]))[:keep]
        doc["left_out"] += len(doc["spans"]) - len(longest)
        doc["spans"] = sorted(longest, key=lambda row: row["start_us"])
        if not longest:
            return


def _rows(trace: Trace) -> Iterator[Row]:
    for runs in trace.statements.values():
        yield from _statements(trace, runs)
    for span in trace.spans or ():
        yield _row(trace, span.kind, span.name, span.started_ns, span.elapsed_ns, place=span.place)


def _statements(trace: Trace, runs: Runs) -> Iterator[Row]:
    """Yield a row for each execution, or one for all where a statement repeats."""
    shape, own = runs[SHAPE], each(runs)
    alias, sql = shape.alias, shape.sql
    calls, total_ns, rows = trace.totals(shape)
    if calls < 5:
        for run in own:
            yield _row(
                trace, "database", sql, run.started_ns, run.ns, place=place_of(run.site), alias=alias, rows=run.rows
            )
        return
    began_ns, ended_ns = own[0].started_ns, max(run.started_ns + run.ns for run in own)
    place = place_of(next((run.site for run in own if run.site), None))
    row = _row(trace, "database", sql, began_ns, ended_ns - began_ns, place=place, alias=alias, rows=rows)
    yield {**row, "calls": calls, "busy_us": total_ns // 1000}


def _row(trace: Trace, kind: str, name: str, started_ns: int, elapsed_ns: int, **more: Any) -> Row:
    start_us = max(0, started_ns - trace.started_ns) // 1000
    given = {name: clean(value) if isinstance(value, str) else value for name, value in more.items() if value}
    return {"kind": kind, "name": clean(name, _MOST_SQL), "start_us": start_us, "us": elapsed_ns // 1000, **given}


def _findings(trace: Trace) -> Iterator[Row]:
    for key, gathered in (trace.more.series if trace.more else {}).items():
        if key[0] == FINDING.name:
            _, name, alias, sql, place, remedy = key
            calls = gathered.counters[0] if gathered.counters else 0
            row = {"finding": name, "alias": alias, "sql": clean(sql, _MOST_SQL), "place": clean(place)}
            yield {**row, "remedy": clean(remedy), "calls": calls, "us": sum(gathered.values)}
