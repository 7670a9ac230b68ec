"""Put hand-made measurements into the store as of now, and read a report of them."""

from __future__ import annotations

from django_perf.metrics.aggregate import new_aggregate
from django_perf.metrics.recorder import Recorder
from django_perf.reports.answer import REPORTS
from django_perf.reports.window import Window
from django_perf.store.reader import Range, consistent
from tests.store.data import MIDNIGHT, put

HERE = Window(Range(MIDNIGHT, MIDNIGHT + 5), MIDNIGHT * 60.0 + 240)


def series(kind, labels, values, **counters):
    """Return a table with one series of the given values."""
    key = (kind.name, *labels)
    aggregate = new_aggregate(key)
    aggregate.add_all(values, [counters.get(name, 0) for name in kind.counters])
    return {key: aggregate}


def store(*tables, minute=MIDNIGHT, **fields):
    """Log tables of one minute as one flush."""
    merged = {}
    for table in tables:
        merged |= table
    return put("default", {minute: merged}, **fields)


def table_of(name, window=HERE, **options):
    """Return a report's table."""
    return consistent("default", lambda snapshot: REPORTS[name].table(snapshot, window, **options))


def recorded(now, *records):
    """Log what a recorder makes of (kind, labels, value), cleaned and bounded as in a real process."""
    recorder = Recorder(clock=lambda: now)
    recorder.enabled = True
    for kind, labels, value in records:
        recorder.record(kind, labels, value)
    return put("default", recorder.drain(), taken=now)
