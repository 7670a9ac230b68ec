"""Judge caches: levels that are away, keys that miss, values computed twice, memory that is too small."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import pgettext

from ...reports.cache import Fleet, Keys, fleets, keys
from ...reports.cache_advice import (
    BIG_VALUES,
    BUSY_KEYS,
    FOREIGN_VALUES,
    LEVEL_AWAY,
    LOW_HIT_RATE,
    SMALL_MEMORY,
    STAMPEDE,
    STORE_REFUSED,
    WAITING_READERS,
    WEAK_COHERENCE,
)
from ...reports.window import Window
from ...store.reader import Snapshot
from ..advice import HIGH, LOW, MEDIUM, Advice

# What readers wait for, or get wrong, comes before what only costs more than it could.
SEVERITY = {
    LEVEL_AWAY: HIGH,
    STAMPEDE: HIGH,
    WEAK_COHERENCE: MEDIUM,
    FOREIGN_VALUES: MEDIUM,
    LOW_HIT_RATE: MEDIUM,
    SMALL_MEMORY: MEDIUM,
    STORE_REFUSED: MEDIUM,
    BIG_VALUES: LOW,
    BUSY_KEYS: LOW,
    WAITING_READERS: LOW,
}
NAMES = tuple(SEVERITY)
# Of the misses.
_BLAMED = 0.5
_BELOW = ("l2", "l3", "miss")


def cache_level(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find what is wrong with a cache as a whole; a low hit rate only where no pattern of keys is to blame."""
    blamed = {row.alias for row in snapshot.once(keys, window) if _is(row, LOW_HIT_RATE)}
    for row in snapshot.once(fleets, window):
        for found in row.judged():
            if found.rule != LOW_HIT_RATE or row.alias not in blamed:
                text = pgettext("django_perf", "Cache %(cache)s: %(evidence)s")
                evidence = text % {"cache": row.alias, "evidence": found.evidence}
                cost_ms = _cost_ms(row, found.rule)
                yield Advice(SEVERITY[found.rule], found.rule, evidence, found.remedy, "cache", cost_ms=cost_ms)


def cache_keys(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find patterns of keys that miss more than they hit, and those that several threads compute at once."""
    caches = {row.alias: row for row in snapshot.once(fleets, window)}
    for row in snapshot.once(keys, window):
        found, cache = row.judged(), caches.get(row.alias)
        if found is not None and not (found.rule == LOW_HIT_RATE and _lacks_room(row, cache)):
            text = pgettext("django_perf", "Cache %(cache)s, keys %(pattern)s: %(evidence)s")
            evidence = text % {"cache": row.alias, "pattern": row.pattern, "evidence": found.evidence}
            cost_ms = _missed_ms(row, cache)
            yield Advice(SEVERITY[found.rule], found.rule, evidence, found.remedy, "cache", cost_ms=cost_ms)


def _lacks_room(row: Keys, cache: Fleet | None) -> bool:
    """Tell whether the room of the memory is to blame for misses; it knows of no patterns."""
    return cache is not None and cache.counted("ghost_hits") >= _BLAMED * row.counted("miss")


def _is(row: Keys, rule: str) -> bool:
    found = row.judged()
    return found is not None and found.rule == rule


def _cost_ms(row: Fleet, rule: str) -> float:
    """Return what misses cost, or what the reads cost that memory had no room for; of the rest nobody knows it."""
    if rule == LOW_HIT_RATE:
        return _ms(row, "miss")
    asked = row.keys(*_BELOW)
    each_ms = sum(_ms(row, name) for name in _BELOW) / asked if asked else 0.0
    return each_ms * row.counted("ghost_hits") if rule == SMALL_MEMORY else 0.0


def _missed_ms(row: Keys, cache: Fleet | None) -> float:
    """Return the part of the cache's time for misses that these keys have."""
    missed = cache.keys("miss") if cache is not None else 0
    return _ms(cache, "miss") * row.counted("miss") / missed if cache is not None and missed else 0.0


def _ms(row: Fleet, operation: str) -> float:
    found = row.operations.get(operation)
    return found.total / 1e6 if found is not None else 0.0
