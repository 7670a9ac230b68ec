"""Make something of every kind that is exported, and read an exposition with prometheus_client's own parsers."""

from __future__ import annotations

import io
from collections import Counter

from prometheus_client.openmetrics.parser import text_fd_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_fd_to_metric_families as parse_text

from django_perf.exporters.prometheus import OPENMETRICS, TEXT, exposition
from django_perf.exporters.reading import read_families
from django_perf.metrics.aggregate import new_aggregate
from django_perf.metrics.catalog import KINDS

PARSERS = {OPENMETRICS: parse_openmetrics, TEXT: parse_text}
LABELS = {
    "route": "products/<int:pk>",
    "method": "GET",
    "status": "2xx",
    "alias": "default",
    "class": "ValueError",
    "name": "block",
    "what": "dropped",
    "detail": "a series",
    "operation": "l1",
    "outcome": "br",
    "sql": "SELECT ?",
}
LEVELS = {
    "rss_bytes": 50_000_000.0,
    "saturation": 0.5,
    "pool.default.size": 3.0,
    "pool.default.in_use": 2.0,
    "pool.default.waiting": 1.0,
    "pool.default.max_size": 8.0,
    "cache.default.entries": 100.0,
    "cache.default.bytes": 4_096.0,
}


def everything(values=(800, 20_000, 3_000_000), label=None):
    """Return a table with one series of every kind, or of hostile ones, and the levels of a process."""
    table = {}
    for kind in KINDS.values():
        labels = [label or LABELS.get(name, name) for name in kind.labels]
        key = (kind.name, *labels)
        table[key] = new_aggregate(key)
        table[key].add_all(values, [7 + number for number in range(len(kind.counters))])
    return table, LEVELS


def scrape(content_type=OPENMETRICS):
    """Return what a scrape would answer."""
    return exposition(read_families(), content_type).decode()


def samples(text, content_type=OPENMETRICS):
    """Return the value of each series as the parser reads it; a series that comes twice fails."""
    found = [
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in PARSERS[content_type](io.StringIO(text))
        for sample in family.samples
    ]
    assert not [key for key, count in Counter(one[:2] for one in found).items() if count > 1]
    return {(name, labels): value for name, labels, value in found}


def value(text, name, **labels):
    """Return the value of one series."""
    return samples(text)[name, tuple(sorted(labels.items()))]
