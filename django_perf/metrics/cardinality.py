"""Bound the number of series, whatever names arrive, without losing a count."""

from __future__ import annotations

from .aggregate import Key
from .catalog import KINDS, OTHER, Cap, Kind
from .names import clean

# SQL shapes are the only long labels; they are cut by their own rule before they get here.
_LABEL_LIMITS = {"sql": 4_000}
_LABEL_LIMIT = 200


class Cardinality:
    """Remember which names have been admitted; the same rules hold in a process and, in the compactor, for a cluster.

    Not thread-safe: the recorder calls it under its lock.
    """

    def __init__(self) -> None:
        self._seen: dict[Cap, set[tuple[str, ...]]] = {}

    def admit(self, key: Key) -> Key:
        """Return `key` cleaned, with the labels that exceed a cap replaced by (other).

        Labels that no cap names (method, status class) are kept, so totals and error rates stay exact.
        """
        kind = KINDS.get(key[0])
        if kind is None or len(key) != len(kind.labels) + 1:
            return key
        given = zip(kind.labels, key[1:], strict=True)
        labels = {name: clean(value, _LABEL_LIMITS.get(name, _LABEL_LIMIT)) for name, value in given}
        self._apply_caps(kind, labels)
        return (kind.name, *labels.values())

    def _apply_caps(self, kind: Kind, labels: dict[str, str]) -> None:
        for cap in kind.caps:
            if any(labels[name] == OTHER for name in cap.replaced):
                continue
            seen = self._seen.setdefault(cap, set())
            names = tuple(labels[name] for name in cap.labels)
            if names in seen:
                continue
            if len(seen) < cap.limit:
                seen.add(names)
            else:
                labels.update(dict.fromkeys(cap.replaced, OTHER))
