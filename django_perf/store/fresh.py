"""Sort the deltas that wait by series, once per snapshot, as if they were merged already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..exceptions import DamagedPayload
from ..metrics.aggregate import Key, rolled_keys
from ..metrics.batch import key_of, split
from ..metrics.catalog import KINDS, Kind
from ..metrics.frame import Stack

Labels = tuple[str, ...]
# (stack of one frame, index in it) of one series in each delta of one minute.
Parts = list[tuple[Stack, int]]


class Fresh:
    """Hold what waits, by series; a key is parsed once a minute, however many deltas name it."""

    def __init__(self) -> None:
        self._by_kind: dict[str, dict[tuple[int, Labels], Parts]] = defaultdict(lambda: defaultdict(list))
        self._places: dict[tuple[int, bytes], list[Parts]] = {}

    def add(self, minute: int, payload: bytes) -> None:
        """Add the payload of one delta, or nothing of it: errors as in split()."""
        lines, frame = split(payload)
        places = [self._places.get((minute, line)) or self._open(minute, line) for line in lines]
        stack = Stack(frame)
        for index, own in enumerate(places):
            part = stack, index
            for place in own:
                place.append(part)

    def series(self, kind: Kind, start: int, end: int) -> Iterator[tuple[Labels, int, Parts]]:
        """Yield labels, minute (start <= minute < end) and parts of the series of `kind`, and of what rolls into it."""
        for (minute, labels), parts in self._by_kind[kind.name].items():
            if start <= minute < end and parts:
                yield labels, minute, parts

    def _open(self, minute: int, line: bytes) -> list[Parts]:
        """Return the parts of the series of a key, and of those that it rolls into."""
        key = _known(key_of(line))
        places = [self._by_kind[one[0]][minute, one[1:]] for one in (key, *rolled_keys(key))]
        self._places[minute, line] = places
        return places


def _known(key: Key) -> Key:
    """Refuse what no kind has as labels; what a newer version calls a kind is never asked for, and does no harm."""
    kind = KINDS.get(key[0])
    if kind is not None and len(key) != len(kind.labels) + 1:
        raise DamagedPayload(f"kind {key[0]!r} has no such labels: {len(key) - 1} of them")
    return key
