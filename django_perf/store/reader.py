"""Answer the three questions of every reader: the total, the top, and the series over time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from django.db.models import Q

from ..exceptions import DamagedPayload, StoreBusy, UnknownPayload
from ..metrics.aggregate import Key, add_counters, rolled_key, take_counters
from ..metrics.batch import split
from ..metrics.catalog import Kind
from ..metrics.histogram import Histogram, read_header
from .lease import NAME
from .models import Delta, Lease, Rollup, Series
from .series import key_of
from .tiers import TIERS, Segment, floor, segments

Answer = TypeVar("Answer")
Labels = tuple[str, ...]
Wanted = Callable[[Labels], bool]

_ATTEMPTS = 8
_BUCKETS_BY_NAME = 250


@dataclass(frozen=True, slots=True)
class Range:
    """Bound what is read: minutes since 1970 (UTC), half open."""

    start: int
    end: int

    @property
    def seconds(self) -> int:
        """Return its length in seconds."""
        return (self.end - self.start) * 60


@dataclass(slots=True)
class Sum:
    """Add up one series without unpacking a histogram until a quantile is asked for."""

    count: int = 0
    total: int = 0
    max: int = 0
    counters: list[int] = field(default_factory=list)
    _packed: list[bytes] = field(default_factory=list)
    _histogram: Histogram | None = None

    def add_packed(self, data: bytes) -> None:
        """Add a packed aggregate."""
        counters, position = take_counters(data)
        histogram = data[position:]
        header, _ = read_header(histogram)
        if header:
            self.count += header[0]
            self.total += header[1]
            self.max = max(self.max, header[3])
        self.counters = add_counters(self.counters, counters)
        self._packed.append(histogram)

    def merge(self, other: Sum) -> None:
        """Add another sum."""
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)
        self.counters = add_counters(self.counters, other.counters)
        self._packed += other._packed

    @property
    def mean(self) -> float:
        """Return the exact mean, 0.0 when empty."""
        return self.total / self.count if self.count else 0.0

    def quantiles(self, wanted: Sequence[float]) -> list[float]:
        """Return quantiles, given in ascending order."""
        if self._histogram is None:
            self._histogram = _merged(self._packed)
        return self._histogram.quantiles(wanted)

    def counter(self, kind: Kind, name: str) -> int:
        """Return a counter by name; 0 where no row had it yet."""
        index = kind.counters.index(name)
        return self.counters[index] if index < len(self.counters) else 0


def _merged(payloads: list[bytes]) -> Histogram:
    """Merge what can be read: a row whose counts are damaged costs the report its own values only."""
    histogram = Histogram()
    for data in payloads:
        with suppress(DamagedPayload):
            histogram.merge_bytes((data,))
    return histogram


class Snapshot:
    """Read one consistent state: rollups plus the deltas that are not merged yet; made by consistent() only."""

    def __init__(self, alias: str, rolled: dict[str, int]) -> None:
        self.alias = alias
        self.unread = 0
        self._rolled = {int(tier): int(minute) for tier, minute in rolled.items()}

    @cached_property
    def waiting(self) -> list[Delta]:
        """Return the deltas that are not merged yet, oldest first."""
        return list(Delta.objects.using(self.alias).filter(state=Delta.State.WAITING).order_by("taken"))

    @cached_property
    def _fresh(self) -> dict[str, list[tuple[int, Key, bytes]]]:
        """Return (minute, key, packed aggregate) by kind of what waits, with what it rolls into."""
        fresh: dict[str, list[tuple[int, Key, bytes]]] = defaultdict(list)
        for delta in self.waiting:
            for key, data in self._split(delta):
                fresh[key[0]].append((delta.minute, key, data))
                if (rolled := rolled_key(key)) is not None:
                    fresh[rolled[0]].append((delta.minute, rolled, data))
        return fresh

    def _split(self, delta: Delta) -> list[tuple[Key, bytes]]:
        try:
            return split(bytes(delta.payload))
        except (UnknownPayload, DamagedPayload):
            self.unread += 1
            return []

    def sums(self, kind: Kind, span: Range, wanted: Wanted | None = None) -> dict[Labels, Sum]:
        """Return the sum over `span` of each series of `kind`; `wanted` narrows it to a few series by their labels."""
        found: dict[Labels, Sum] = defaultdict(Sum)
        for labels, _, data in self._read(kind, span, wanted):
            self._add(found[labels], data)
        return found

    def points(self, kind: Kind, span: Range, step: int, wanted: Wanted | None = None) -> list[tuple[int, Sum]]:
        """Return (first minute, sum over the series) for every `step` minutes of `span`, empty ones too."""
        found: dict[int, Sum] = {minute: Sum() for minute in range(floor(span.start, step), span.end, step)}
        for _, minute, data in self._read(kind, span, wanted, step):
            self._add(found[floor(minute, step)], data)
        return list(found.items())

    def _read(
        self, kind: Kind, span: Range, wanted: Wanted | None, step: int = TIERS[-1].size
    ) -> Iterator[tuple[Labels, int, bytes]]:
        """Yield (labels, minute, packed aggregate) of rollups, in buckets that fit into `step`, and of what waits."""
        names = {id_: labels for id_, labels in self._names(kind) if wanted is None or wanted(labels)}
        coarsest = max(tier.number for tier in TIERS if step % tier.size == 0)
        parts = segments(span.start, span.end, self._rolled, coarsest)
        for id_, bucket, data in self._rows(kind, parts, None if wanted is None else list(names)):
            if id_ in names:
                yield names[id_], bucket, data
        for minute, key, data in self._fresh[kind.name]:
            if span.start <= minute < span.end and (wanted is None or wanted(key[1:])):
                yield key[1:], minute, data

    def _add(self, target: Sum, data: bytes) -> None:
        try:
            target.add_packed(data)
        except (UnknownPayload, DamagedPayload):
            self.unread += 1

    def _names(self, kind: Kind) -> Iterator[tuple[int, Labels]]:
        """Yield the id and the labels of each series of `kind`."""
        for row in Series.objects.using(self.alias).filter(kind=kind.name):
            yield row.id, key_of(row)[1:]

    def _rows(self, kind: Kind, parts: Iterable[Segment], ids: list[int] | None) -> Iterator[tuple[int, int, bytes]]:
        """Yield (series id, bucket, packed aggregate); `ids` narrows it to a few series."""
        rows = Rollup.objects.using(self.alias).filter(kind=kind.number)
        if ids is not None:
            rows = rows.filter(series_id__in=ids)
        for segment in parts:
            wanted = _by_name(segment) if ids is not None else _by_range(segment)
            found = rows.filter(wanted).values_list("series_id", "bucket", "data")
            for id_, bucket, data in found.iterator(chunk_size=5_000):
                yield id_, bucket, bytes(data)


def consistent(alias: str, read: Callable[[Snapshot], Answer]) -> Answer:
    """Return what `read` makes of a state that no compactor changed meanwhile.

    Raises StoreBusy when the rollups changed under it at every attempt, which takes a compactor with a long backlog.
    """
    for attempt in range(_ATTEMPTS):
        generation, rolled = _state(alias)
        answer = read(Snapshot(alias, rolled))
        if _state(alias)[0] == generation:
            return answer
        time.sleep(0.01 * 2**attempt)
    raise StoreBusy(f"store {alias!r}: rollups changed during each of {_ATTEMPTS} readings; try again in a minute")


def _state(alias: str) -> tuple[int, dict[str, int]]:
    lease = Lease.objects.using(alias).filter(name=NAME).first()
    return (lease.generation, lease.rolled) if lease else (0, {})


def _by_range(segment: Segment) -> Q:
    return Q(tier=segment.tier, bucket__gte=segment.start, bucket__lt=segment.end)


def _by_name(segment: Segment) -> Q:
    """Name the buckets one by one: an index probe each, instead of a walk over every other series in the range."""
    buckets = range(segment.start, segment.end, TIERS[segment.tier].size)
    if len(buckets) > _BUCKETS_BY_NAME:
        return _by_range(segment)
    return Q(tier=segment.tier, bucket__in=list(buckets))
