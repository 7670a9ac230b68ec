"""Judge a cache by what was measured: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# Fewer of something say nothing yet.
_FEW, _MANY = 100, 1_000
_LOW, _HIGH = 0.5, 0.8
# Of the values that were read from below, so many may come too late for memory.
_REFUSED = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold the figures of one cache over a window, all processes together, and its levels and states now.

    `reads` and `l1` count keys, `from_below` those that memory had not and another level had. `open` names the levels
    that a process leaves alone; `fallen_back` is the coherence that took the place of a better one, "" when none did.
    """

    processes: int = 0
    reads: int = 0
    l1: int = 0
    from_below: int = 0
    evicted: int = 0
    refused: int = 0
    too_big: int = 0
    foreign: int = 0
    store_refused: int = 0
    bytes: int = 0
    max_entries: int = 0
    max_bytes: int = 0
    open: dict[str, int] = field(default_factory=dict)
    fallen_back: str = ""


_FALLEN_BACK = {
    "pubsub": "Redis refuses CLIENT TRACKING, so the processes tell each other of writes (pubsub): "
    "let its ACL allow the user +client|tracking",
    "ttl": "Redis refuses CLIENT TRACKING and SUBSCRIBE, so nobody tells of writes (ttl), and memory lags by seconds: "
    "let its ACL allow the user +client|tracking, or +subscribe +publish and the channels &*",
}


def advice(usage: Usage) -> list[str]:
    """Return what to do about a cache, the most urgent first; nothing when all is well."""
    return [*_outages(usage), *_coherence(usage), *_room(usage), *_waste(usage)]


def _outages(usage: Usage) -> Iterator[str]:
    for level, count in usage.open.items():
        yield (
            f"Level {level} does not answer {count} of {usage.processes} processes, and they do without it: "
            "the log names the error; it is asked again in the background"
        )


def _coherence(usage: Usage) -> Iterator[str]:
    if usage.fallen_back:
        yield _FALLEN_BACK[usage.fallen_back]
    if usage.foreign:
        yield (
            f"{usage.foreign:,} values were sealed by nobody we know: SECRET_KEY differs between the workers "
            "(SECRET_KEY_FALLBACKS holds the old one while it changes), or somebody else writes under this KEY_PREFIX"
        )


def _room(usage: Usage) -> Iterator[str]:
    is_low = usage.l1 < _HIGH * (usage.l1 + usage.from_below)
    if usage.evicted > max(_FEW, usage.from_below / 2) and is_low:
        each = max(1, usage.processes)
        what = f"max_entries, now {usage.max_entries // each:,}"
        if usage.bytes > _HIGH * usage.max_bytes:
            what = f"max_bytes, now {usage.max_bytes // each:,}"
        share = usage.l1 / usage.reads if usage.reads else 0.0
        yield f"Memory evicts {usage.evicted:,} entries and answers only {share:.0%} of the reads: raise L1's {what}"
    if usage.too_big > _FEW:
        yield (
            f"{usage.too_big:,} times a value was larger than a quarter of L1's max_bytes and not kept in memory: "
            "raise max_bytes, or name the keys in l1_exclude"
        )


def _waste(usage: Usage) -> Iterator[str]:
    if usage.refused > max(_FEW, _REFUSED * usage.from_below):
        yield (
            f"{usage.refused:,} values changed while memory was filled with them: "
            "name the keys that are written all the time in l1_exclude"
        )
    if usage.store_refused > _FEW:
        yield (
            f"{usage.store_refused:,} computed values were not stored, because they were invalidated meanwhile or no "
            "level took them: invalidate less, or compute faster"
        )


def advice_on_keys(hits: int, reads: int, sets: int) -> str:
    """Return what to do about the keys of one pattern, "" when nothing."""
    if reads > _MANY and hits < _LOW * reads and sets > hits:
        return f"Only {hits:,} of {reads:,} reads hit, and more is stored than found: it is not worth caching"
    return ""
