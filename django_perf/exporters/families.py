"""Turn what was counted into metric families, the one source of every export."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..metrics.catalog import Kind
from ..metrics.histogram import last_bucket
from ..metrics.names import clean

PREFIX = "django_perf_"
HOST = "host"
# Bounds one answer: the largest series stay, and how many do not is exported itself.
MAX_SERIES = 5_000

Labels = tuple[str, ...]
# (host, labels); the host is "" where the hosts are not told apart.
Named = tuple[str, Labels]


class Counted(Protocol):
    """What is known of one series since the store began."""

    @property
    def count(self) -> int:
        """Return how many values there are."""

    @property
    def total(self) -> int:
        """Return their sum."""

    def counter(self, kind: Kind, name: str) -> int:
        """Return a counter by name."""

    def cumulative(self, lasts: Sequence[int]) -> list[int]:
        """Return how many values lie in the buckets up to each of `lasts`."""


Rows = Mapping[Named, Counted]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Hold one histogram: how many values are below each bound, how many there are, and their sum."""

    below: tuple[int, ...]
    count: int
    sum: float

    def __add__(self, other: Distribution) -> Distribution:
        """Add another one with the same bounds."""
        below = tuple(map(sum, zip(self.below, other.below, strict=True)))
        return Distribution(below, self.count + other.count, self.sum + other.sum)


Value = float | Distribution
# What one series gives: the values of labels that it does not have itself, and the value.
Read = Callable[[Counted], Iterable[tuple[Labels, Value]]]


@dataclass(frozen=True, slots=True)
class Family:
    """Hold one metric with all its series. A counter's name lacks its `_total`; `bounds` are those of a histogram."""

    name: str
    type: str
    help: str
    unit: str
    labels: Labels
    points: dict[Labels, Value]
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """Declare what is exported of a kind: `labels` are those of its own that stay, `more` those that `read` adds."""

    name: str
    type: str
    help: str
    kind: Kind
    read: Read
    unit: str = ""
    labels: Labels | None = None
    more: Labels = ()
    bounds: tuple[float, ...] = ()

    @property
    def kept(self) -> Labels:
        """Return the labels of the kind that stay."""
        return self.kind.labels if self.labels is None else self.labels

    def family(self, rows: Rows, by_host: bool) -> Family:
        """Return the family that the rows of its kind make; series whose labels become the same are added up."""
        points: dict[Labels, Value] = {}
        for labels, value in self._values(rows, by_host):
            points[labels] = points[labels] + value if labels in points else value  # type: ignore[operator]
        labels = (*([HOST] if by_host else []), *self.kept, *self.more)
        return Family(PREFIX + self.name, self.type, self.help, self.unit, labels, points, self.bounds)

    def _values(self, rows: Rows, by_host: bool) -> Iterator[tuple[Labels, Value]]:
        places = [self.kind.labels.index(label) for label in self.kept]
        for (host, labels), counted in rows.items():
            own = (clean(host),) * by_host + tuple(clean(labels[place]) for place in places)
            for more, value in self.read(counted):
                yield own + more, value


def histogram(name: str, kind: Kind, bounds: Sequence[float], help_: str) -> Exported:
    """Declare the histogram of a kind that measures time; `bounds` in seconds."""
    per_second = _PER_SECOND[kind.unit]
    lasts = [last_bucket(round(bound * per_second)) for bound in bounds]

    def read(counted: Counted) -> Iterable[tuple[Labels, Value]]:
        yield (), Distribution(tuple(counted.cumulative(lasts)), counted.count, counted.total / per_second)

    return Exported(name, "histogram", help_, kind, read, "seconds", bounds=tuple(map(float, bounds)))


def counter(name: str, kind: Kind, source: str, help_: str, unit: str = "", labels: Labels | None = None) -> Exported:
    """Declare a counter: `source` is a counter of the kind, or `count` or `total` of its histogram."""
    read = _number(kind, source)
    return Exported(name, "counter", help_, kind, lambda counted: [((), read(counted))], unit, labels)


def split(name: str, kind: Kind, sources: Mapping[str, str], label: str, help_: str) -> Exported:
    """Declare several counters of a kind as one, which `label` tells apart: `sources` gives its value for each."""
    reads = [((value,), _number(kind, source)) for source, value in sources.items()]

    def read(counted: Counted) -> Iterable[tuple[Labels, Value]]:
        return [(more, one(counted)) for more, one in reads]

    return Exported(name, "counter", help_, kind, read, more=(label,))


_PER_SECOND = {"us": 1_000_000, "ns": 1_000_000_000}


def _number(kind: Kind, source: str) -> Callable[[Counted], float]:
    """Return what reads a number, in seconds where it is a time."""
    if source == "count":
        return lambda counted: counted.count
    if source == "total":
        per_second = _PER_SECOND.get(kind.unit, 0)
        return lambda counted: counted.total / per_second if per_second else counted.total
    if source.endswith("_us"):
        return lambda counted: counted.counter(kind, source) / 1_000_000
    return lambda counted: counted.counter(kind, source)


def largest(rows: Rows) -> tuple[Rows, int]:
    """Return the series with the highest counts, and how many are left out.

    One that is overtaken is missing from then on, and falls not: no counter goes backwards.
    """
    if len(rows) <= MAX_SERIES:
        return rows, 0
    kept = heapq.nlargest(MAX_SERIES, rows, key=lambda named: (rows[named].count, named))
    return {named: rows[named] for named in kept}, len(rows) - MAX_SERIES


def families(exported: Iterable[Exported], rows_of: Callable[[Kind], Rows], by_host: bool) -> Iterator[Family]:
    """Yield the family of each of `exported`, and at last how many series were left out."""
    known: dict[str, tuple[Rows, Rows, int]] = {}
    for one in exported:
        if one.kind.name not in known:
            rows = rows_of(one.kind)
            known[one.kind.name] = (rows, *largest(rows))
        all_rows, kept, _ = known[one.kind.name]
        # What is summed over labels needs every row, and gives few.
        yield one.family(kept if one.kept == one.kind.labels else all_rows, by_host)
    omitted = sum(number for _, _, number in known.values())
    yield gauge("export_omitted_series", "Series beyond the bound of one answer.", "", (), [((), omitted)])


def gauge(name: str, help_: str, unit: str, labels: Labels, points: Iterable[tuple[Labels, float]]) -> Family:
    """Return a gauge; values with the same labels are added up."""
    summed: dict[Labels, Value] = {}
    for own, value in points:
        cleaned = tuple(map(clean, own))
        summed[cleaned] = summed.get(cleaned, 0) + value  # type: ignore[operator]
    return Family(PREFIX + name, "gauge", help_, unit, labels, summed)
