"""Make measurements by hand, put them into a store, and read back what it holds."""

from __future__ import annotations

from django_perf.metrics.aggregate import new_aggregate
from django_perf.metrics.batch import Batch, Origin
from django_perf.metrics.catalog import REQUEST, SITE
from django_perf.store import writer
from django_perf.store.compactor import GRACE_S, compact
from django_perf.store.lease import Holder
from django_perf.store.models import Delta, Rollup, Series
from django_perf.store.reader import Range, consistent
from django_perf.store.rows import shard_of, unpack_row

# A UTC midnight (2024-10-04), so that every tier begins a bucket here.
MIDNIGHT = 20_000 * 1_440
HOUR, DAY = 60, 1_440


def counted(key, count=1, us=1_000, **counters):
    """Return the aggregate of `count` values of `us` each."""
    aggregate = new_aggregate(key)
    names = REQUEST.counters if key[0] in {REQUEST.name, SITE.name} else ("errors",)
    aggregate.add_all([us] * count, [counters.get(name, 0) for name in names][: len(aggregate.counters)])
    return aggregate


def requests(count=1, route="/", method="GET", status="2xx", us=1_000, **counters):
    """Return a table with one series of requests."""
    key = (REQUEST.name, route, method, status)
    return {key: counted(key, count, us, **counters)}


def batch(tables, taken=None, pid=1, started=0.0, host="web", final=False, levels=None, **fields):
    """Return one flush; it was taken when its last minute ended, unless told otherwise."""
    taken = (max(tables) + 1) * 60.0 if taken is None else taken
    return Batch(Origin(host, pid, started), taken, tables, levels or {}, final, **fields)


def put(alias, tables, **fields):
    """Log one flush as the writer does, on this test's own connection."""
    return Delta.objects.using(alias).bulk_create(writer._rows(batch(tables, **fields)))


def holder_of(alias, owner="tests"):
    """Return a holder that has the lease."""
    holder = Holder(alias, owner)
    assert holder.acquire()
    return holder


def compact_at(alias, minute):
    """Compact when `minute` is the first that has not closed; returns the deltas merged."""
    return compact(holder_of(alias), minute * 60 + GRACE_S)


def stored(alias, kind=REQUEST):
    """Return the count over all rollups of each tier."""
    sums = dict.fromkeys(range(4), 0)
    for row in Rollup.objects.using(alias).filter(kind=kind.number):
        sums[row.tier] += sum(one.histogram.count for one in unpack_row(bytes(row.data)).values())
    return sums


def row_of(alias, route):
    """Return the rollups of requests that hold `route`, as a queryset."""
    (series,) = Series.objects.using(alias).filter(kind=REQUEST.name, labels__contains=route)
    return Rollup.objects.using(alias).filter(kind=REQUEST.number, shard=shard_of(series.id))


def everywhere(count):
    """Return what stored() gives when every tier holds `count`."""
    return dict.fromkeys(range(4), count)


def read(alias, start, end, kind=SITE):
    """Return the count that a reader sees in [start, end)."""
    return consistent(alias, lambda snapshot: sum(one.count for one in snapshot.sums(kind, Range(start, end)).values()))


def drained(recorder):
    """Return the keys that a recorder holds, of whichever minutes; it is empty afterwards."""
    return [key for table in recorder.drain().values() for key in table]
