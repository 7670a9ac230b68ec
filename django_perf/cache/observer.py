"""Hand the figures of the caches to the recorder, once per flush."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from ..metrics.catalog import CACHE, CACHE_EVENT, CACHE_KEY, PROCESS
from ..metrics.recorder import Entry, recorder
from .assembly import all_levels
from .backplane import MODES
from .tally import OPERATIONS

if TYPE_CHECKING:
    from .levels import Levels
    from .shared import Shared

_BREAKER = {"closed": 0, "failing": 1, "open": 2}
_COHERENCE = {"off": 0, **{mode: number for number, mode in enumerate(reversed(MODES), 1)}}
# A level in which anything may be wrong counts as this many dirty keys: no list of them is longer.
_EVERYTHING = 10_000
# Beside counters: a histogram with a zero in it takes a quarter less room than an empty one, whose least value is huge.
_NOTHING = (0,)
# What two caches of one name are together.
_TOGETHER: dict[str, Callable[[Iterable[float]], float]] = {
    **dict.fromkeys(("entries", "bytes", "max_entries", "max_bytes", "dirty"), sum),
    **dict.fromkeys(("redis", "table"), max),
    **dict.fromkeys(("coherence", "linked"), min),
}


def publish(levels: Levels) -> None:
    """Publish what the caches of this name hold and how they are, and let the recorder fetch what they counted.

    To be called before their backplane starts: the coherence that is set now is the one that was asked for.
    """
    recorder.source(read)
    alias, found = levels.tally.name, figures(levels)
    for name in found:
        recorder.gauge(PROCESS, f"cache.{alias}.{name}", partial(_together, alias, name))
    if "linked" in found:
        recorder.gauge(PROCESS, f"cache.{alias}.fallen_back", partial(_has_fallen_back, alias, found["coherence"]))


def read() -> Iterator[Entry]:
    """Yield what every cache of this process has counted since the last call."""
    for levels in all_levels():
        alias, counts = levels.tally.name, levels.tally.take()
        for operation in OPERATIONS:
            keys = sum(getattr(reads, operation) for reads in counts.patterns.values())
            if keys or operation in counts.times:
                yield (CACHE.name, alias, operation), (), (keys,), counts.times.get(operation)
        for pattern, reads in counts.patterns.items():
            counters = [getattr(reads, name) for name in CACHE_KEY.counters]
            yield (CACHE_KEY.name, alias, pattern), _NOTHING, counters, None
        events = counts.events + Counter(levels.memory.take() if levels.memory is not None else {})
        if events:
            yield (CACHE_EVENT.name, alias), _NOTHING, [events[name] for name in CACHE_EVENT.counters], None


def figures(levels: Levels) -> dict[str, float]:
    """Return what a cache holds and how it is, and nothing of a level that it has not. Takes no lock."""
    memory, shared, backplane = levels.memory, levels.shared, levels.backplane
    found: dict[str, float] = {"coherence": _COHERENCE[_coherence(levels)]}
    if memory is not None:
        found |= {"entries": len(memory), "bytes": memory.bytes}
        found |= {"max_entries": memory.max_entries, "max_bytes": memory.max_bytes}
    if shared is not None:
        found["dirty"] = _dirty(shared)
        guards = {"redis": shared.redis, "table": shared.table}
        found |= {name: _BREAKER[guard.breaker.state] for name, guard in guards.items() if guard is not None}
    if backplane is not None and backplane.mode != "ttl":
        found["linked"] = float(backplane.is_linked)
    return found


def _coherence(levels: Levels) -> str:
    if levels.memory is None or levels.shared is None:
        return "off"  # nothing to keep in step
    return levels.backplane.mode if levels.backplane is not None else "ttl"


def _dirty(shared: Shared) -> int:
    both = shared.repairs.redis, shared.repairs.table
    return sum(_EVERYTHING if dirt.is_everything else len(dirt) for dirt in both)


def _together(alias: str, name: str) -> float:
    """Return a figure by name: a gauge lives as long as the process, a cache need not."""
    found = [figures(levels) for levels in all_levels() if levels.tally.name == alias]
    return _TOGETHER[name]([one[name] for one in found if name in one] or [0.0])


def _has_fallen_back(alias: str, wanted: float) -> float:
    return float(_together(alias, "coherence") < wanted)
