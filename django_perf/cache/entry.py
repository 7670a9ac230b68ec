"""Hold one stored value, and tell which values everybody may share."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from sys import getsizeof
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

# What nobody can change may be handed to everybody. Exact types: a subclass can carry anything.
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, Decimal, date, timedelta, UUID})
_IN_ZONES = frozenset({datetime, time})
_ZONES = frozenset({type(None), timezone, ZoneInfo})
_NESTS = frozenset({tuple, frozenset})
# What can be changed, but holds only what cannot, is copied for every reader.
_COPIED = frozenset({dict, list, set})
# Looking through 64 items takes 3 us; beyond that, pickling is the lesser surprise.
_MOST_ITEMS = 64
# What an entry takes besides key and value: for itself, its numbers, its places in the dictionaries, the policy and the
# heap of deadlines. By tracemalloc, at 1,000 and at 20,000 entries after three times as many: 455 and 563 bytes with
# ttl, 670 and 762 with s3fifo, which also remembers as many that have left.
OVERHEAD_BYTES = 700


class Kept(NamedTuple):
    """Show an entry: `fresh_for` is in seconds, below zero when only its grace has not passed."""

    value: Any
    fresh_for: float
    meta: Any


@dataclass(slots=True, eq=False)
class Entry:
    """Hold one stored value; another value, or another time, is another entry. Times are the store's clock.

    Readers look at it without a lock, so only two things ever change: `hits`, where threads may lose counts to one
    another, and `fresh_until`, to the past.
    """

    key: str
    value: Any
    make: Callable[[], Any] | None  # makes the value for each reader anew, where one could change what others get
    fresh_until: float
    grace: float
    meta: Any
    size: int = 0
    hits: int = 0

    @property
    def gone_at(self) -> float:
        """Return when the entry is of no use any more, stale or not."""
        return self.fresh_until + self.grace


def dumps_highest(value: Any) -> bytes:
    """Pickle by the latest protocol."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def frozen_bytes(value: Any) -> int | None:
    """Return what a value takes that nobody can change; None for one that somebody could, or that is too wide."""
    return _bytes_of([value])


def copied_bytes(value: Any) -> int | None:
    """Return what a dict, list or set takes that holds only what nobody can change; None for anything else."""
    if type(value) not in _COPIED or len(value) > _MOST_ITEMS:
        return None
    size = _bytes_of([*value, *value.values()] if type(value) is dict else list(value))
    return None if size is None else size + getsizeof(value)


def _bytes_of(items: list[Any]) -> int | None:
    size = 0
    for item in items:  # which grows meanwhile
        kind = type(item)
        if kind in _NESTS and len(items) + len(item) <= _MOST_ITEMS:
            items.extend(item)
        elif not (kind in _ATOMS or (kind in _IN_ZONES and type(item.tzinfo) in _ZONES)):
            return None
        size += getsizeof(item)
    return size
