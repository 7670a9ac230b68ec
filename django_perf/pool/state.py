"""Say in words what a pool looks like at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..metrics.callsite import current_place
from ..metrics.names import clean
from .slot import Slot


@dataclass(frozen=True, slots=True)
class Level:
    """Hold the figures of one moment."""

    max_size: int
    size: int
    in_use: int
    idle: int
    waiting: int
    breaker: str


def describe(level: Level, taken: Iterable[Slot], now: float) -> str:
    """Return the figures, and who has held a connection for longest, for an error."""
    return f"max {level.max_size}, in use {level.in_use}, waiting {level.waiting}{_oldest(taken, now)}"


def _oldest(taken: Iterable[Slot], now: float) -> str:
    held = [(slot.taken_at, slot.owner) for slot in taken]
    owned = [(since, owner) for since, owner in held if owner is not None]
    if not owned:
        return ""
    since, owner = min(owned, key=lambda one: one[0])
    place = current_place(owner)
    return f", oldest held {now - since:.1f} s by thread {owner.name}{place and f' at {place}'}"


def first_line(error: BaseException | None) -> str:
    """Return ": " and the first line of an error, cleaned; "" for none."""
    lines = str(error or "").strip().splitlines()
    return f": {clean(lines[0])}" if lines else ""
