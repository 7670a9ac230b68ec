"""Answer the three questions of every reader: the total, the top, and the series over time."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db.models import Q

from ..exceptions import DamagedPayload, StoreBusy, UnknownPayload
from ..metrics.aggregate import hash_of
from ..metrics.catalog import Kind
from ..metrics.frame import COUNT, COUNTERS, MAX, SUM, Frame, Stack, column
from ..metrics.histogram import Histogram
from .copying import fetch
from .fresh import Fresh, Labels, Parts
from .lease import NAME
from .models import Delta, Lease, Rollup, Series
from .rows import shard_of, split_row
from .series import chunked
from .tiers import TIERS, Segment, floor, segments

Answer = TypeVar("Answer")
P = ParamSpec("P")
Wanted = Callable[[Labels], bool]
# What is stored of one series in one stretch of time: labels, minute, where it stands.
Found = tuple[Labels, int, Parts]

_ATTEMPTS = 8
# Bounds the memory of one answer, and the parameters of one query: SQLite takes 999.
_BUCKETS_AT_ONCE = 200


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
    """Add up one series; quantiles unpack its histograms, everything else reads the heads of the frames alone.

    A page makes thousands, of which most have one part: there is nothing to add up then, and nothing to remember.
    """

    __slots__ = ("_histogram", "_known", "_parts")

    def __init__(self) -> None:
        self._parts: Parts = []
        # Columns by number, and the quantiles of several ranks by these.
        self._known: dict[Any, Any] | None = None
        self._histogram: Histogram | None = None

    def add(self, parts: Parts) -> None:
        """Add series of stacks."""
        self._parts += parts

    def merge(self, other: Sum) -> None:
        """Add another sum."""
        self._parts += other._parts
        self._known = self._histogram = None

    def _column(self, number: int, add: Callable[[Iterable[int]], int] = sum) -> int:
        if len(self._parts) == 1:
            stack, index = self._parts[0]
            return stack.value(number, index)
        return self._remembered(number, lambda: add(column(self._parts, number) or [0]))

    def _remembered(self, what: Any, find: Callable[[], Answer]) -> Answer:
        if self._known is None:
            self._known = {}
        if what not in self._known:
            self._known[what] = find()
        found: Answer = self._known[what]
        return found

    @property
    def count(self) -> int:
        """Return how many values there are."""
        return self._column(COUNT)

    @property
    def total(self) -> int:
        """Return their sum."""
        return self._column(SUM)

    @property
    def max(self) -> int:
        """Return the largest."""
        return self._column(MAX, max)

    @property
    def mean(self) -> float:
        """Return the exact mean, 0.0 when empty."""
        return self.total / self.count if self.count else 0.0

    def quantiles(self, wanted: Sequence[float]) -> list[float]:
        """Return quantiles, given in ascending order."""
        ranks = tuple(wanted)
        return self._remembered(ranks, lambda: self.histogram().quantiles(ranks))

    def cumulative(self, lasts: Sequence[int]) -> list[int]:
        """Return how many values lie in the buckets up to each of `lasts`."""
        return self.histogram().cumulative(lasts)

    def histogram(self) -> Histogram:
        """Return all values as one histogram, which is not to be changed."""
        if self._histogram is None:
            self._histogram = Histogram.merged((frame, index) for stack, index in self._parts for frame in stack.frames)
        return self._histogram

    def counter(self, kind: Kind, name: str) -> int:
        """Return a counter by name; 0 where no row had it yet."""
        return self._column(COUNTERS + kind.counters.index(name))


class Snapshot:
    """Read one consistent state: rollups plus the deltas that are not merged yet; made by consistent() only.

    It remembers what it has read: the parts of a page ask for the same series.
    """

    def __init__(self, alias: str, rolled: dict[str, int]) -> None:
        self.alias = alias
        self.unread = 0
        self._found: dict[Any, Any] = {}
        self._rolled = {int(tier): int(minute) for tier, minute in rolled.items()}
        self._sums: dict[tuple[str, Range], dict[Labels, Sum]] = {}
        self._known_names: dict[str, dict[int, Labels]] = {}

    @cached_property
    def waiting(self) -> list[Delta]:
        """Return the deltas that are not merged yet, oldest first."""
        return list(Delta.objects.using(self.alias).filter(state=Delta.State.WAITING).order_by("taken"))

    @cached_property
    def _fresh(self) -> Fresh:
        fresh = Fresh()
        for delta in self.waiting:
            try:
                fresh.add(delta.minute, bytes(delta.payload))
            except (UnknownPayload, DamagedPayload):
                self.unread += 1
        return fresh

    def once(self, read: Callable[Concatenate[Snapshot, P], Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Return what `read` makes of this state: the same to all who ask. What it is called with must be hashable.

        Nobody may add to it, or change its order; a report may complete its rows.
        """
        key = read, args, *kwargs.items()
        if key not in self._found:
            self._found[key] = read(self, *args, **kwargs)
        found: Answer = self._found[key]
        return found

    def sums(self, kind: Kind, span: Range, wanted: Wanted | None = None) -> dict[Labels, Sum]:
        """Return the sum over `span` of each series of `kind`; `wanted` narrows it to a few series by their labels.

        The sums are not to be merged into: others may be given the same.
        """
        known = self._sums.get((kind.name, span))
        if known is None:
            known = self._find_sums(kind, span, wanted)
            if wanted is None:
                self._sums[kind.name, span] = known
        return {labels: sum_ for labels, sum_ in known.items() if wanted is None or wanted(labels)}

    def _find_sums(self, kind: Kind, span: Range, wanted: Wanted | None) -> dict[Labels, Sum]:
        found: dict[Labels, Sum] = defaultdict(Sum)
        for labels, _, parts in self._read(kind, span, wanted):
            found[labels].add(parts)
        return found

    def points(self, kind: Kind, span: Range, step: int, wanted: Wanted | None = None) -> list[tuple[int, Sum]]:
        """Return (first minute, sum over the series) for every `step` minutes of `span`, empty ones too."""
        found: dict[int, Sum] = {minute: Sum() for minute in range(floor(span.start, step), span.end, step)}
        for _, minute, parts in self._read(kind, span, wanted, step):
            found[floor(minute, step)].add(parts)
        return list(found.items())

    def find(self, kind: Kind, prefix: str) -> Labels | None:
        """Return the labels of the series of `kind` whose hash begins with `prefix`, None when there is none."""
        rows = Series.objects.using(self.alias).filter(kind=kind.name, key_hash__startswith=prefix)
        labels = rows.values_list("labels", flat=True).first()
        if labels is not None:
            return tuple(json.loads(labels))
        fresh = (labels for labels, _, _ in self._fresh.series(kind, 0, 2**31))
        return next((labels for labels in fresh if hash_of((kind.name, *labels)).startswith(prefix)), None)

    def seen(self, kind: Kind, wanted: Iterable[Labels]) -> dict[Labels, tuple[int, int]]:
        """Return the first and the last minute of some series, of all time; the last is exact to an hour.

        0 for the first of a series that is older than the knowledge of it.
        """
        found: dict[Labels, tuple[int, int]] = {}
        hashes = {hash_of((kind.name, *labels)): labels for labels in wanted}
        for chunk in chunked(hashes, _BUCKETS_AT_ONCE):
            rows = Series.objects.using(self.alias).filter(key_hash__in=chunk)
            for key_hash, first, last in rows.values_list("key_hash", "first_seen", "last_seen"):
                found[hashes[key_hash]] = first, last
        own = set(hashes.values())
        for labels, minute, _ in self._fresh.series(kind, 0, 2**31):
            if labels in own:
                first, last = found.get(labels, (minute, minute))
                found[labels] = min(first, minute), max(last, minute)
        return found

    def _read(self, kind: Kind, span: Range, wanted: Wanted | None, step: int | None = None) -> Iterator[Found]:
        """Yield rollups, in buckets that fit into `step`, then what waits."""
        yield from self._read_rollups(kind, span, wanted, step)
        for labels, minute, parts in self._fresh.series(kind, span.start, span.end):
            if wanted is None or wanted(labels):
                yield labels, minute, parts

    def _read_rollups(self, kind: Kind, span: Range, wanted: Wanted | None, step: int | None) -> Iterator[Found]:
        """Yield stacks of the buckets of each `step`, or of all: those of one shard hold the same series as a rule."""
        names = {id_: labels for id_, labels in self.names(kind).items() if wanted is None or wanted(labels)}
        if not names:
            return
        shards = None if wanted is None else sorted({shard_of(id_) for id_ in names})
        parts = list(segments(span.start, span.end, self._rolled, _coarsest(step)))
        stacks: dict[tuple[int, tuple[int, ...]], Stack] = defaultdict(Stack)
        for bucket, ids, frame in self._rows(kind, parts, shards):
            stacks[floor(bucket, step) if step else span.start, ids].frames.append(frame)
        for (minute, ids), stack in stacks.items():
            for index, id_ in enumerate(ids):
                if id_ in names:
                    yield names[id_], minute, [(stack, index)]

    def names(self, kind: Kind) -> dict[int, Labels]:
        """Return the labels of each series of `kind`, by id."""
        if kind.name not in self._known_names:
            rows = Series.objects.using(self.alias).filter(kind=kind.name).values_list("id", "labels")
            ids, labels = zip(*rows, strict=True) if rows else ((), ())
            # One text: a call for each of thousands takes longer than what it does.
            named = map(tuple, json.loads(f"[{','.join(labels)}]"))
            self._known_names[kind.name] = dict(zip(ids, named, strict=True))
        return self._known_names[kind.name]

    def _rows(
        self, kind: Kind, parts: Sequence[Segment], shards: list[int] | None
    ) -> Iterator[tuple[int, tuple[int, ...], Frame]]:
        """Yield (bucket, series ids, frame); `shards` narrows it to a few."""
        rows = Rollup.objects.using(self.alias)
        for wanted in _queries(kind, parts, shards):
            for bucket, data in fetch(rows.filter(wanted)):
                try:
                    ids, frame = split_row(data)
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


def _coarsest(step: int | None) -> int:
    """Return the coarsest tier whose buckets fit into `step`; of all, without one."""
    return max(tier.number for tier in TIERS if step is None or step % tier.size == 0)


def _queries(kind: Kind, parts: Sequence[Segment], shards: list[int] | None) -> Iterator[Q]:
    """Yield what the rows of `kind` are asked for with: a bounded number of buckets at a time, in as few queries."""
    for segment in parts:
        size = TIERS[segment.tier].size * _BUCKETS_AT_ONCE
        for start in range(segment.start, segment.end, size):
            cut = Segment(segment.tier, start, min(start + size, segment.end))
            yield Q(kind=kind.number) & (_by_range(cut) if shards is None else _by_name(cut, shards))


def _by_range(segment: Segment) -> Q:
    return Q(tier=segment.tier, bucket__gte=segment.start, bucket__lt=segment.end)


def _by_name(segment: Segment, shards: list[int]) -> Q:
    """Name the buckets one by one: an index probe each, instead of a walk over every other series in the range."""
    buckets = range(segment.start, segment.end, TIERS[segment.tier].size)
    return Q(tier=segment.tier, bucket__in=list(buckets), shard__in=shards)
