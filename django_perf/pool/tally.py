"""Count what a pool did, until somebody takes the figures."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

# Between two flushes: some 5,000 checkouts a second.
_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Taken:
    """Hold what happened since the last time: seconds of those who waited, how many did not, seconds of holding.

    `lost` were returned too, more than are kept.
    """

    waits: list[float]
    immediate: int
    holds: list[float]
    counts: Counter[str]
    lost: int


class Tally:
    """Hold waits and holds in seconds, and counts by name.

    `waits` and `holds` are appended to without a lock; `add` is called under the pool's lock.
    """

    def __init__(self) -> None:
        self.waits: deque[float] = deque(maxlen=_KEPT)
        self.holds: deque[float] = deque(maxlen=_KEPT)
        self.counts: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        # Returned connections whose wait has not been reported yet: below zero while many are out.
        self._balance = 0
        self._returned = 0

    def add(self, name: str) -> None:
        """Count something that happened."""
        self.counts[name] += 1
        self.totals[name] += 1

    def take_counts(self) -> Counter[str]:
        """Return the counts since the last call; called under the pool's lock."""
        counts, self.counts = self.counts, Counter()
        return counts

    def take(self, counts: Counter[str], returned: int) -> Taken:
        """Return all that happened since the last call; `returned` counts since the process began."""
        waits, holds = _drained(self.waits), _drained(self.holds)
        # Asked only of a full queue: the two numbers are not read at the same moment.
        lost = max(0, returned - self._returned - len(holds)) if len(holds) >= _KEPT else 0
        self._returned += len(holds) + lost
        self._balance += len(holds) - len(waits)
        immediate = max(0, self._balance)
        self._balance -= immediate
        return Taken(waits, immediate, holds, counts, lost)

    def stats(self) -> dict[str, int]:
        """Return the counts since the process began, by psycopg_pool's names and our own."""
        totals = self.totals
        return {
            "requests_queued": totals["queued"],
            "requests_errors": totals["timeouts"] + totals["refused"],
            "connections_num": totals["opened"] + totals["failed"],
            "connections_errors": totals["failed"],
            "connections_lost": totals["closed_dead"],
            "returns_bad": totals["closed_broken"],
            **{name: count for name, count in totals.items() if name.startswith(("closed_", "cut_", "leaks"))},
        }


def _drained(values: deque[float]) -> list[float]:
    # A bounded number: other threads go on appending.
    return [values.popleft() for _ in range(len(values))]
