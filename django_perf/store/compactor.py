"""Merge the delta log into rollups: exactly once, one process at a time, killable anywhere.

Each step is one fenced transaction. A delta is added to every tier whose bucket is already made, so the sum over a tier
is right however late it comes; younger tiers follow when their bucket closes (roll()).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from django.db.models import Min, QuerySet

from ..exceptions import DamagedPayload, UnknownPayload
from ..metrics.aggregate import Aggregate, Table, add_rolled, merge_table
from ..metrics.batch import VERSION, unpack
from ..metrics.catalog import KINDS
from ..metrics.recorder import recorder
from .lease import NAME, Holder
from .models import Delta, Lease, Process, Rollup, Total
from .rows import pack_row, shard_of, unpack_row
from .series import numbered
from .tiers import TIERS, floor

# A minute is taken up when the flushes that hold it have had time to arrive; later ones are merged all the same.
GRACE_S = 20.0
_DELTAS_AT_ONCE = 200
_TOTALS = {kind.number for kind in KINDS.values() if kind.is_total}


class Place(Protocol):
    """Say where the rows of one kind are that something is added to: each holds a shard of the series."""

    def rows(self, alias: str) -> QuerySet[Any]:
        """Return the rows."""

    def put(self, alias: str, data: dict[int, bytes]) -> None:
        """Insert or replace rows, by shard."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Name the rows of one kind in one bucket of one tier."""

    tier: int
    kind: int
    start: int

    def rows(self, alias: str) -> QuerySet[Rollup]:
        """Return the rows."""
        return Rollup.objects.using(alias).filter(tier=self.tier, kind=self.kind, bucket=self.start)

    def put(self, alias: str, data: dict[int, bytes]) -> None:
        """Insert or replace rows, by shard."""
        names = {"tier": self.tier, "kind": self.kind, "bucket": self.start}
        rows = [Rollup(**names, shard=shard, data=packed) for shard, packed in data.items()]
        unique = ["tier", "kind", "bucket", "shard"]
        Rollup.objects.using(alias).bulk_create(
            rows, update_conflicts=True, unique_fields=unique, update_fields=["data"]
        )


@dataclass(frozen=True, slots=True)
class AllTime:
    """Name the rows of the totals of one kind, on one host or ("") on all together."""

    kind: int
    host: str

    def rows(self, alias: str) -> QuerySet[Total]:
        """Return the rows."""
        return Total.objects.using(alias).filter(host=self.host, kind=self.kind)

    def put(self, alias: str, data: dict[int, bytes]) -> None:
        """Insert or replace rows, by shard."""
        rows = [Total(host=self.host, kind=self.kind, shard=shard, data=packed) for shard, packed in data.items()]
        unique = ["host", "kind", "shard"]
        Total.objects.using(alias).bulk_create(
            rows, update_conflicts=True, unique_fields=unique, update_fields=["data"]
        )


def compact(holder: Holder, now: float | None = None, *, by_host: bool = False) -> int:
    """Merge all deltas of closed minutes and make the buckets that have closed; returns the deltas merged.

    `by_host` keeps the totals of each host apart.

    Raises LeaseLost when another process has taken over, UnknownPayload when a rollup was written by a newer version:
    in both cases nothing is changed by the step that noticed.
    """
    closed = int((time.time() if now is None else now) - GRACE_S) // 60
    merged = 0
    while count := _merge_some(holder, closed, by_host):
        merged += count
    for tier in TIERS[1:]:
        while _roll_one(holder, tier.number, closed):
            pass
    return merged


def _merge_some(holder: Holder, closed: int, by_host: bool) -> int:
    waiting = Delta.objects.using(holder.alias).filter(
        state=Delta.State.WAITING, minute__lt=closed, version__lte=VERSION
    )
    if not waiting.exists():
        return 0
    with holder.change() as lease:
        deltas = list(waiting.order_by("minute", "id")[:_DELTAS_AT_ONCE])
        tables, readable, damaged = _unpacked(deltas, by_host)
        for (minute, host), table in sorted(tables.items()):
            _add(holder.alias, lease, minute, host, table)
        _note_processes(holder.alias, deltas)
        _mark(holder.alias, readable, Delta.State.MERGED)
        _mark(holder.alias, damaged, Delta.State.UNREADABLE)
    return len(deltas)


def _unpacked(deltas: list[Delta], by_host: bool) -> tuple[dict[tuple[int, str], Table], list[int], list[int]]:
    """Return the tables by minute and host, and the ids of readable and of damaged deltas: one bad row costs no other.

    The host is "" where the hosts are not told apart: then a minute is one table, and merging it is one step.
    """
    tables: dict[tuple[int, str], Table] = defaultdict(dict)
    readable, damaged = [], []
    for delta in deltas:
        try:
            table = _checked(unpack(bytes(delta.payload)))
        except (DamagedPayload, UnknownPayload) as error:
            recorder.lost("dropped", f"a delta cannot be read: {type(error).__name__}")
            damaged.append(delta.id)
        else:
            merge_table(tables[delta.minute, delta.host if by_host else ""], table)
            readable.append(delta.id)
    return tables, readable, damaged


def _checked(table: Table) -> Table:
    """Refuse keys that this code cannot store; a version that adds a kind raises batch.VERSION, so it writes none."""
    for key in table:
        kind = KINDS.get(key[0])
        if kind is None or len(key) != len(kind.labels) + 1:
            raise UnknownPayload(f"no kind has the key {key!r}")
    return table


def _mark(alias: str, ids: list[int], state: Delta.State) -> None:
    """Set the state; a merged delta keeps its flush id, against a late repetition, but not its payload."""
    changes = {"payload": b""} if state == Delta.State.MERGED else {}
    Delta.objects.using(alias).filter(id__in=ids).update(state=state, **changes)


def _add(alias: str, lease: Lease, minute: int, host: str, table: Table) -> None:
    add_rolled(table)
    by_id = numbered(alias, table, minute)
    for kind, added in by_id.items():
        if kind in _TOTALS:
            _merge_rows(alias, AllTime(kind, host), added)
    for tier in TIERS:
        start = _rolled_until(lease, tier.number, minute)
        if tier.number == 0 or minute < start:
            for kind, added in by_id.items():
                _merge_rows(alias, Bucket(tier.number, kind, floor(minute, tier.size)), added)


def _rolled_until(lease: Lease, tier: int, minute: int) -> int:
    """Return the minute up to which the buckets of `tier` are made; the first data ever sets it."""
    return int(lease.rolled.setdefault(str(tier), floor(minute, TIERS[tier].size)))


def _merge_rows(alias: str, place: Place, added: dict[int, Aggregate]) -> None:
    """Add aggregates, by series id, to the rows of one place."""
    shards: dict[int, dict[int, Aggregate]] = defaultdict(dict)
    for id_, aggregate in added.items():
        shards[shard_of(id_)][id_] = aggregate
    known = place.rows(alias).filter(shard__in=list(shards)).values_list("shard", "data")
    stored = {shard: _read(data) for shard, data in known}
    for shard, series in shards.items():
        _merge(stored.setdefault(shard, {}), series)
    _store(alias, place, stored)


def _merge(target: dict[int, Aggregate], added: dict[int, Aggregate]) -> None:
    """Add to objects of the target's own: the added ones may be wanted for the next tier as they are."""
    for id_, aggregate in added.items():
        target.setdefault(id_, Aggregate()).merge(aggregate)


def _read(data: bytes | memoryview[int]) -> dict[int, Aggregate]:
    """Read a stored row; a damaged one counts as empty and is counted, one of a newer version stops the step."""
    try:
        return unpack_row(bytes(data))
    except DamagedPayload:
        recorder.lost("dropped", "a rollup cannot be read")
        return {}


def _store(alias: str, place: Place, shards: dict[int, dict[int, Aggregate]]) -> None:
    place.put(alias, {shard: pack_row(series) for shard, series in sorted(shards.items())})


def _note_processes(alias: str, deltas: Iterable[Delta]) -> None:
    """Keep the last report of each process."""
    latest = {(delta.host, delta.pid, delta.started): delta for delta in sorted(deltas, key=lambda one: one.taken)}
    for (host, pid, started), delta in latest.items():
        row, is_new = Process.objects.using(alias).get_or_create(
            host=host, pid=pid, started=started, defaults={"last_seen": 0.0}
        )
        if is_new or row.last_seen < delta.taken:
            row.last_seen, row.levels = delta.taken, delta.levels
            row.is_final = row.is_final or delta.is_final
            row.save(using=alias)


def _roll_one(holder: Holder, tier: int, closed: int) -> bool:
    """Make the next bucket of `tier` out of the finer tier; False when none has closed."""
    size = TIERS[tier].size
    lease = Lease.objects.using(holder.alias).get(name=NAME)
    if str(tier) not in lease.rolled:
        return False
    start = int(lease.rolled[str(tier)])
    limit = closed if tier == 1 else int(lease.rolled[str(tier - 1)])
    if start + size > limit:
        return False
    with holder.change() as lease:
        first = _first_bucket(holder.alias, tier - 1, start, limit)
        bucket = floor(limit if first is None else first, size)
        if bucket + size <= limit:
            _make(holder.alias, tier, bucket)
            bucket += size
        lease.rolled[str(tier)] = bucket
    return bucket > start


def _first_bucket(alias: str, tier: int, start: int, end: int) -> int | None:
    """Return the first bucket with data in [start, end), by a look at each kind's range of the index."""
    firsts = (
        Rollup.objects.using(alias)
        .filter(tier=tier, kind=kind.number, bucket__gte=start, bucket__lt=end)
        .aggregate(first=Min("bucket"))["first"]
        for kind in KINDS.values()
    )
    return min((first for first in firsts if first is not None), default=None)


def _make(alias: str, tier: int, start: int) -> None:
    for kind in KINDS.values():
        shards: dict[int, dict[int, Aggregate]] = defaultdict(dict)
        finer = Rollup.objects.using(alias).filter(
            tier=tier - 1, kind=kind.number, bucket__gte=start, bucket__lt=start + TIERS[tier].size
        )
        for shard, data in finer.values_list("shard", "data").iterator(chunk_size=500):
            _merge(shards[shard], _read(data))
        _store(alias, Bucket(tier, kind.number, start), shards)
