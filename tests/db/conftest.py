"""A trace as a request has one, and what the cursors left in it."""

from __future__ import annotations

import pytest
from django.db import connections

from django_perf.db.instrument import MARK
from django_perf.metrics.catalog import FINDING
from django_perf.metrics.statement import NS, ROWS, calls, column
from django_perf.metrics.trace import Trace, current


@pytest.fixture
def trace():
    own = Trace(0)
    token = current.set(own)
    yield own
    current.reset(token)


@pytest.fixture
def bare(monkeypatch):
    """The connection as Django made it, without anything of ours; as before afterwards."""
    raw = connections["default"]
    raw.ensure_connection()
    for name in (*vars(raw)[MARK], MARK):
        monkeypatch.delitem(vars(raw), name)
    return raw


def statements(trace):
    """Return {(alias, shape): (executions, rows)} of what the trace still has one by one."""
    return {shape.key[1:]: (calls(runs), sum(column(runs, ROWS))) for shape, runs in trace.statements.items()}


def times(trace):
    """Return {shape: nanoseconds}."""
    return {shape.sql: sum(column(runs, NS)) for shape, runs in trace.statements.items()}


def series(trace, kind):
    """Return {labels: (values, counters)} of a kind."""
    found = trace.more.series.items() if trace.more else ()
    return {key[1:]: (gathered.values, gathered.counters) for key, gathered in found if key[0] == kind.name}


def findings(trace):
    """Let the watch conclude; return {finding: [(shape, place, remedy, calls, rows)]}."""
    if trace.watch is not None:
        trace.watch.end(trace)
        trace.watch.conclude(trace)
    found = {}
    for (name, _, sql, place, remedy), (_, counters) in series(trace, FINDING).items():
        found.setdefault(name, []).append((sql, place, remedy, *counters))
    return found
