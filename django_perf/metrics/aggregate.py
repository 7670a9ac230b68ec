"""Keep the histogram and the counters of one series together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import zip_longest

from . import frame
from .catalog import KINDS
from .histogram import Histogram

# (kind name, *labels), labels in the order of Kind.labels.
Key = tuple[str, ...]
Table = dict[Key, "Aggregate"]


class Aggregate:
    """Hold what was measured of one series in one stretch of time; not thread-safe."""

    __slots__ = ("counters", "histogram")

    def __init__(self, counters: int = 0) -> None:
        self.histogram = Histogram()
        self.counters = [0] * counters

    def add_all(self, values: Sequence[int], counters: Sequence[int] = ()) -> None:
        """Count each of `values` and add `counters`, which are sums over all of them."""
        self.histogram.add_all(values)
        if counters:
            self.counters = add_counters(self.counters, counters)

    def merge(self, other: Aggregate) -> None:
        """Add `other`; counters that only a newer version knows are kept behind ours."""
        self.histogram.merge(other.histogram)
        self.counters = add_counters(self.counters, other.counters)


def hash_of(key: Key) -> str:
    """Return the stable 128-bit name of a key; JSON delimits the labels, so no two keys share a text."""
    return blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()


def new_aggregate(key: Key) -> Aggregate:
    """Return an empty aggregate with the counters of the key's kind; none for a kind that only a newer version has."""
    kind = KINDS.get(key[0])
    return Aggregate(len(kind.counters) if kind else 0)


def pack_aggregates(aggregates: Iterable[Aggregate]) -> bytes:
    """Pack aggregates into one frame, in their order."""
    own = list(aggregates)
    return frame.pack([one.histogram.parts() for one in own], [one.counters for one in own])


def unpack_aggregate(packed: frame.Frame, index: int) -> Aggregate:
    """Return one aggregate of a frame; errors as in Frame."""
    aggregate = Aggregate()
    aggregate.histogram.merge_parts(packed.parts(index))
    aggregate.counters = packed.counters(index)
    return aggregate


def add_counters(own: list[int], other: Sequence[int]) -> list[int]:
    """Return the sums position by position; the shorter list is filled with zeros."""
    return list(map(sum, zip_longest(own, other, fillvalue=0)))


def merge_table(target: Table, source: Table) -> None:
    """Add every series of `source` to `target`, which may then share objects with it."""
    for key, aggregate in source.items():
        known = target.get(key)
        if known is None:
            target[key] = aggregate
        else:
            known.merge(aggregate)


def rolled_keys(key: Key) -> Iterator[Key]:
    """Yield the series that `key` rolls into: the site for a request; the shape of a query, and then its database."""
    kind = KINDS.get(key[0])
    while kind is not None and kind.rolls_into is not None:
        key = kind.rolls_into.name, *[key[kind.labels.index(label) + 1] for label in kind.rolls_into.labels]
        yield key
        kind = kind.rolls_into


def add_rolled(table: Table) -> None:
    """Add to `table` the series that its series roll into."""
    for key, aggregate in list(table.items()):
        for target in rolled_keys(key):
            if target not in table:
                table[target] = new_aggregate(target)
            table[target].merge(aggregate)
