"""Keep a few real examples of what was remarkable: per series and hour the slowest, and some taken by lot.

The lot is a number drawn for each example; the highest numbers win. So the winners of many processes together are
those of all their examples, as if one had held the draw (Efraimidis and Spirakis, "Weighted random sampling with a
reservoir", with equal weights).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from .aggregate import Key

SLOWEST, BY_LOT = 3, 2
# Examples that wait for a flush, and bytes of one: a store that does not answer must not fill the memory.
MOST_WAITING = 200
MOST_BYTES = 16_000
_MOST_SERIES = 5_000
_HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold one example: `key` is (reason, *labels), `at` seconds since 1970, `value` microseconds, `doc` plain JSON."""

    key: Key
    endpoint: tuple[str, str]
    at: float
    value: int
    lot: float
    doc: dict[str, Any]


class Samples:
    """Decide which examples are kept, and hold them until the flusher takes them. Thread-safe; a fork starts empty."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start empty: also in a forked child, where the lock may be held by nobody."""
        self._lock = Lock()
        self._hour = 0
        # The values and lots that have won this hour so far, smallest first.
        self._won: dict[Key, tuple[list[int], list[float]]] = {}
        self._waiting: list[Sample] = []
        self._dropped = 0

    def offer(self, key: Key, endpoint: tuple[str, str], value: int, describe: Callable[[], dict[str, Any]]) -> None:
        """Offer an example; `describe` is called for one that is kept."""
        lot = random.random()  # noqa: S311 - no secret
        if self._wins(key, value, lot):
            sample = Sample(key, endpoint, self._clock(), value, lot, describe())
            with self._lock:  # critical section: guards the list against take()
                if len(self._waiting) >= MOST_WAITING:
                    self._dropped += 1
                else:
                    self._waiting.append(sample)

    def _wins(self, key: Key, value: int, lot: float) -> bool:
        hour = int(self._clock() // _HOUR_S)
        with self._lock:  # critical section: guards the winners
            if hour != self._hour or len(self._won) > _MOST_SERIES:
                self._hour, self._won = hour, {}
            values, lots = self._won.setdefault(key, ([], []))
            # Both, not either: what wins one way must be remembered the other way too.
            return any([_enter(values, value, SLOWEST), _enter(lots, lot, BY_LOT)])

    def take(self) -> list[Sample]:
        """Hand over what waits."""
        with self._lock:  # critical section: the list changes owner
            taken, self._waiting = self._waiting, []
        return taken

    def dropped(self) -> int:
        """Return how many found no room since the last call."""
        with self._lock:  # critical section: no one may be counted twice
            dropped, self._dropped = self._dropped, 0
        return dropped


def _enter(winners: list[Any], value: Any, places: int) -> bool:
    """Take `value` in if it is among the largest `places`."""
    if len(winners) >= places and value <= winners[0]:
        return False
    winners.append(value)
    winners.sort()
    del winners[:-places]
    return True
