"""Answer the three questions of every reader: the total, the top, and the series over time."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from django.db.models import Q

from ..exceptions import DamagedPayload, StoreBusy, UnknownPayload
from ..metrics.aggregate import Key, rolled_key
from ..metrics.batch import split
from ..metrics.catalog import KINDS, Kind
from ..metrics.frame import Added, Frame, add_rows, pack
from ..metrics.histogram import Histogram
from .lease import NAME
from .models import Delta, Lease, Rollup, Series
from .rows import shard_of, split_row
from .tiers import TIERS, Segment, floor, segments

Answer = TypeVar("Answer")
Labels = tuple[str, ...]
Wanted = Callable[[Labels], bool]

_ATTEMPTS = 8
_BUCKETS_BY_NAME = 250
_NOTHING = Frame(pack([]))


@dataclass(frozen=True, slots=True)
class Range:
    """Bound what is read: minutes since 1970 (UTC), half open."""

    start: int
    end: int

    @property
    def seconds(self) -> int:
        """Return its length in seconds."""
        return (self.end - self.start) * 60


class Sum:
    """Add up one series; quantiles unpack its histograms, everything else reads the heads of the frames alone."""

    __slots__ = ("_added", "_histogram", "_parts")

    def __init__(self) -> None:
        self._parts: list[tuple[Frame, int]] = []
        self._added: Added | None = None
        self._histogram: Histogram | None = None

    def add(self, frame: Frame, index: int) -> None:
        """Add one aggregate of a frame."""
        self._parts.append((frame, index))

    def merge(self, other: Sum) -> None:
        """Add another sum."""
        self._parts += other._parts
        self._added = self._histogram = None

    def _settled(self) -> Added:
        if self._added is None:
            self._added = add_rows(frame.rows[index] for frame, index in self._parts)
        return self._added

    @property
    def count(self) -> int:
        """Return how many values there are."""
        return self._settled()[0]

    @property
    def total(self) -> int:
        """Return their sum."""
        return self._settled()[1]

    @property
    def max(self) -> int:
        """Return the largest."""
        return self._settled()[2]

    @property
    def counters(self) -> list[int]:
        """Return the counters, in the order of the kind."""
        return self._settled()[3]

    @property
    def mean(self) -> float:
        """Return the exact mean, 0.0 when empty."""
        return self.total / self.count if self.count else 0.0

    def quantiles(self, wanted: Sequence[float]) -> list[float]:
        """Return quantiles, given in ascending order."""
        if self._histogram is None:
            self._histogram = Histogram.merged(self._parts)
        return self._histogram.quantiles(wanted)

    def counter(self, kind: Kind, name: str) -> int:
        """Return a counter by name; 0 where no row had it yet."""
        index = kind.counters.index(name)
        return self.counters[index] if index < len(self.counters) else 0


class Snapshot:
    """Read one consistent state: rollups plus the deltas that are not merged yet; made by consistent() only."""

    def __init__(self, alias: str, rolled: dict[str, int]) -> None:
        self.alias = alias
        self.unread = 0
        self._rolled = {int(tier): int(minute) for tier, minute in rolled.items()}
        self._fresh_by_kind: dict[str, list[tuple[Labels, int, Frame, int]]] = {}

    @cached_property
    def waiting(self) -> list[Delta]:
        """Return the deltas that are not merged yet, oldest first."""
        return list(Delta.objects.using(self.alias).filter(state=Delta.State.WAITING).order_by("taken"))

    @cached_property
    def _fresh(self) -> list[tuple[int, list[Key], Frame]]:
        """Return (minute, keys, frame) of each delta that waits."""
        return [(delta.minute, *self._split(delta)) for delta in self.waiting]

    def _fresh_of(self, kind: Kind) -> list[tuple[Labels, int, Frame, int]]:
        """Return (labels, minute, frame, index) of what waits of `kind`, and of what rolls into it."""
        if kind.name not in self._fresh_by_kind:
            self._fresh_by_kind[kind.name] = list(self._find_fresh(kind))
        return self._fresh_by_kind[kind.name]

    def _find_fresh(self, kind: Kind) -> Iterator[tuple[Labels, int, Frame, int]]:
        sources = {source.name for source in KINDS.values() if source.rolls_into is kind}
        for minute, keys, frame in self._fresh:
            for index, key in enumerate(keys):
                if key[0] == kind.name:
                    yield key[1:], minute, frame, index
                elif key[0] in sources and (rolled := rolled_key(key)) is not None:
                    yield rolled[1:], minute, frame, index

    def _split(self, delta: Delta) -> tuple[list[Key], Frame]:
        try:
            return split(bytes(delta.payload))
        except (UnknownPayload, DamagedPayload):
            self.unread += 1
            return [], _NOTHING

    def sums(self, kind: Kind, span: Range, wanted: Wanted | None = None) -> dict[Labels, Sum]:
        """Return the sum over `span` of each series of `kind`; `wanted` narrows it to a few series by their labels."""
        found: dict[Labels, Sum] = defaultdict(Sum)
        for labels, _, frame, index in self._read(kind, span, wanted):
            found[labels].add(frame, index)
        return found

    def points(self, kind: Kind, span: Range, step: int, wanted: Wanted | None = None) -> list[tuple[int, Sum]]:
        """Return (first minute, sum over the series) for every `step` minutes of `span`, empty ones too."""
        found: dict[int, Sum] = {minute: Sum() for minute in range(floor(span.start, step), span.end, step)}
        for _, minute, frame, index in self._read(kind, span, wanted, step):
            found[floor(minute, step)].add(frame, index)
        return list(found.items())

    def _read(
        self, kind: Kind, span: Range, wanted: Wanted | None, step: int = TIERS[-1].size
    ) -> Iterator[tuple[Labels, int, Frame, int]]:
        """Yield (labels, minute, frame, index) of rollups, in buckets that fit into `step`, and of what waits."""
        names = {id_: labels for id_, labels in self._names(kind) if wanted is None or wanted(labels)}
        coarsest = max(tier.number for tier in TIERS if step % tier.size == 0)
        parts = segments(span.start, span.end, self._rolled, coarsest)
        shards = None if wanted is None else sorted({shard_of(id_) for id_ in names})
        for bucket, ids, frame in self._rows(kind, parts, shards):
            for index, id_ in enumerate(ids):
                if id_ in names:
                    yield names[id_], bucket, frame, index
        for labels, minute, frame, index in self._fresh_of(kind):
            if span.start <= minute < span.end and (wanted is None or wanted(labels)):
                yield labels, minute, frame, index

    def _names(self, kind: Kind) -> Iterator[tuple[int, Labels]]:
        """Yield the id and the labels of each series of `kind`."""
        rows = Series.objects.using(self.alias).filter(kind=kind.name)
        for id_, labels in rows.values_list("id", "labels").iterator(chunk_size=2_000):
            yield id_, tuple(json.loads(labels))

    def _rows(
        self, kind: Kind, parts: Iterable[Segment], shards: list[int] | None
    ) -> Iterator[tuple[int, Sequence[int], Frame]]:
        """Yield (bucket, series ids, frame); `shards` narrows it to a few."""
        rows = Rollup.objects.using(self.alias).filter(kind=kind.number)
        if shards is not None:
            rows = rows.filter(shard__in=shards)
        for segment in parts:
            wanted = _by_range(segment) if shards is None else _by_name(segment)
            for bucket, data in rows.filter(wanted).values_list("bucket", "data").iterator(chunk_size=1_000):
                try:
                    ids, frame = split_row(bytes(data))
                except (UnknownPayload, DamagedPayload):
                    self.unread += 1
                else:
                    yield bucket, ids, frame


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
