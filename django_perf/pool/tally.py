"""Count what a pool did, until somebody takes the figures."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

# Between two flushes: some 5,000 checkouts a second. What is beyond is counted as lost.
_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Taken:
    """Hold what happened since the last time: seconds of those who waited, how many did not, seconds of holding."""

    waits: list[float]
    immediate: int
    holds: list[float]
    counts: Counter[str]


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

    def add(self, name: str, count: int = 1) -> None:
        """Count something that happened."""
        self.counts[name] += count
        self.totals[name] += count

    def take(self) -> Taken:
        """Return what happened since the last call."""
        counts, self.counts = self.counts, Counter()
        waits, holds = _drained(self.waits), _drained(self.holds)
        self._balance += len(holds) - len(waits)
        immediate = max(0, self._balance)
        self._balance -= immediate
        return Taken(waits, immediate, holds, counts)


def _drained(values: deque[float]) -> list[float]:
    # A bounded number: other threads go on appending.
    return [values.popleft() for _ in range(len(values))]
