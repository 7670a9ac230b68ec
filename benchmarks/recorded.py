"""Ask each configuration of worker.py how many statements it has recorded: one that records none is no rival.

And have it do what it has put off, so that this is not charged to the next view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from django.db import connection

# Spans that OpenTelemetry has exported, by kind: a client's is a statement.
exported: Counter[str] = Counter()


def _settle_django_perf() -> None:
    from django_perf.metrics.recorder import recorder

    recorder.fold()


def _settle_opentelemetry() -> None:
    from opentelemetry import trace

    trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]


def _by_django_perf() -> int:
    from django_perf.metrics.catalog import ENDPOINT_QUERY
    from django_perf.metrics.recorder import recorder

    series = [one for table in recorder._tables.values() for one in table.items()]
    return sum(aggregate.histogram.count for key, aggregate in series if key[0] == ENDPOINT_QUERY.name)


def _by_prometheus() -> int:
    from prometheus_client import REGISTRY

    return int(REGISTRY.get_sample_value("django_db_execute_total", {"alias": "default", "vendor": "sqlite"}) or 0)


def _by_opentelemetry() -> int:
    return exported["CLIENT"]


def _by_silk() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM silk_sqlquery")
        return int(cursor.fetchone()[0])


def _by_debug_toolbar() -> int:
    from debug_toolbar.store import get_store

    store = get_store()
    return sum(len(store.panel(request_id, "SQLPanel")["queries"]) for request_id in store.request_ids())


# Work on finished requests that a configuration leaves for later: ours folds 128 of them at once, which takes 1 us a
# query, and OpenTelemetry exports each five seconds.
SETTLE: dict[str, Callable[[], None]] = {"django_perf": _settle_django_perf, "OpenTelemetry": _settle_opentelemetry}
# How many statements of finished requests each configuration knows of, in this process.
RECORDED: dict[str, Callable[[], int]] = {
    "django_perf": _by_django_perf,
    "django-prometheus": _by_prometheus,
    "OpenTelemetry": _by_opentelemetry,
    "django-silk": _by_silk,
    "django-debug-toolbar": _by_debug_toolbar,
}
