"""Sort the deltas that wait by series, once per snapshot, as if they were merged already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..exceptions import DamagedPayload
from ..metrics.aggregate import Key, rolled_key
from ..metrics.batch import key_of, split
from ..metrics.catalog import KINDS, Kind
from ..metrics.frame import Stack

Labels = tuple[str, ...]
# (minute, stack of one frame, index in it) of one series in one delta.
Entry = tuple[int, Stack, int]


class Fresh:
    """Hold what waits, by series; a key is parsed once, however many deltas name it."""

    def __init__(self) -> None:
        self._by_kind: dict[str, dict[Labels, list[Entry]]] = defaultdict(lambda: defaultdict(list))
        self._places: dict[bytes, list[list[Entry]]] = {}

    def add(self, minute: int, payload: bytes) -> None:
        """Add the payload of one delta, or nothing of it: errors as in split()."""
        lines, frame = split(payload)
        places = [self._places.get(line) or self._open(line) for line in lines]
        stack = Stack(frame)
        for index, own in enumerate(places):
            entry = minute, stack, index
            for place in own:
                place.append(entry)

    def series(self, kind: Kind, start: int, end: int) -> Iterator[tuple[Labels, list[Entry]]]:
        """Yield labels and entries of each series of `kind`, also of what rolls into it, with start <= minute < end."""
        for labels, entries in self._by_kind[kind.name].items():
            if inside := [entry for entry in entries if start <= entry[0] < end]:
                yield labels, inside

    def _open(self, line: bytes) -> list[list[Entry]]:
        """Return the lists of the series of a key, and of the one that it rolls into."""
        key = _known(key_of(line))
        own = [key, rolled_key(key)]
        places = self._places[line] = [self._by_kind[one[0]][one[1:]] for one in own if one is not None]
        return places


def _known(key: Key) -> Key:
    """Refuse what no kind has as labels; what a newer version calls a kind is never asked for, and does no harm."""
    kind = KINDS.get(key[0])
    if kind is not None and len(key) != len(kind.labels) + 1:
        raise DamagedPayload(f"kind {key[0]!r} has no such labels: {len(key) - 1} of them")
    return key
