"""Hand the figures of the caches to the recorder, once per flush."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from ..metrics.catalog import CACHE, CACHE_EVENT, CACHE_KEY, PROCESS
from ..metrics.recorder import Entry, recorder
from .assembly import all_levels
from .backplane import MODES

if TYPE_CHECKING:
    from .guard import Guard
    from .levels import Levels
    from .tally import Reads

_BREAKER = {"closed": 0, "failing": 1, "open": 2}
# 0 is off: there is nothing to keep in step.
_COHERENCE = {mode: len(MODES) - index for index, mode in enumerate(MODES)}
# A level of which nobody knows what is wrong there counts as this many dirty keys: no list is longer.
_EVERYTHING = 10_000


def publish(levels: Levels) -> None:
    """Publish what the caches of this name hold and how they are, and let the recorder fetch what they counted.

    To be called before their backplane starts: what is set now is what was asked for.
    """
    recorder.source(read)
    for name, read_one in _gauges(levels):
        recorder.gauge(PROCESS, f"cache.{levels.tally.name}.{name}", read_one)


def read() -> Iterator[Entry]:
    """Yield what every cache of this process has counted since the last call."""
    for levels in all_levels():
        alias, counts = levels.tally.name, levels.tally.take()
        for operation, times in counts.times.items():
            keys = sum(getattr(reads, operation, 0) for reads in counts.patterns.values())
            yield (CACHE.name, alias, operation), (), (keys,), times
        for pattern, reads in counts.patterns.items():
            yield (CACHE_KEY.name, alias, pattern), (), _counters(reads), None
        events = counts.events + Counter(levels.memory.take() if levels.memory is not None else {})
        if events:
            yield (CACHE_EVENT.name, alias), (), [events[name] for name in CACHE_EVENT.counters], None


def _counters(reads: Reads) -> list[int]:
    return [getattr(reads, name) for name in CACHE_KEY.counters]


def _gauges(levels: Levels) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield those that a cache of these levels has: the store keeps 200 pairs of gauge and host."""
    name, shared = levels.tally.name, levels.shared
    if levels.memory is not None:
        for what, amount in _AMOUNTS.items():
            yield what, partial(_summed, name, amount)
    if shared is not None:
        yield "dirty", partial(_summed, name, _dirty)
        yield "coherence", partial(_worst_coherence, name)
    if shared is not None and shared.redis is not None:
        yield "redis", partial(_worst, name, _redis)
    if shared is not None and shared.table is not None:
        yield "table", partial(_worst, name, _table)
    if levels.backplane is not None and levels.backplane.mode != "ttl":
        yield "linked", partial(_linked, name)
        yield "fallen_back", partial(_has_fallen_back, name, _coherence(levels))


# All of them look the levels up by name at each reading: a gauge lives as long as the process, a cache need not.


def _named(name: str) -> list[Levels]:
    return [levels for levels in all_levels() if levels.tally.name == name]


def _summed(name: str, amount: Callable[[Levels], float]) -> float:
    return sum(map(amount, _named(name)))


def _worst(name: str, state: Callable[[Levels], float]) -> float:
    return max(map(state, _named(name)), default=0)


def _worst_coherence(name: str) -> float:
    return min(map(_coherence, _named(name)), default=0)


def _linked(name: str) -> float:
    return min((levels.backplane.is_linked for levels in _named(name) if levels.backplane is not None), default=False)


def _has_fallen_back(name: str, wanted: int) -> float:
    return _worst_coherence(name) < wanted


def _dirty(levels: Levels) -> int:
    if levels.shared is None:
        return 0
    both = levels.shared.repairs.redis, levels.shared.repairs.table
    return sum(_EVERYTHING if dirt.is_everything else len(dirt) for dirt in both)


def _coherence(levels: Levels) -> int:
    if levels.memory is None or levels.shared is None:
        return 0
    # A table alone tells nobody.
    return _COHERENCE["ttl" if levels.backplane is None else levels.backplane.mode]


def _redis(levels: Levels) -> int:
    return _state(levels.shared.redis) if levels.shared is not None else 0


def _table(levels: Levels) -> int:
    return _state(levels.shared.table) if levels.shared is not None else 0


def _state(guard: Guard[object] | None) -> int:
    return _BREAKER[guard.breaker.state] if guard is not None else 0


_AMOUNTS: dict[str, Callable[[Levels], float]] = {
    "entries": lambda levels: len(levels.memory) if levels.memory is not None else 0,
    "bytes": lambda levels: levels.memory.bytes if levels.memory is not None else 0,
    "max_entries": lambda levels: levels.memory.max_entries if levels.memory is not None else 0,
    "max_bytes": lambda levels: levels.memory.max_bytes if levels.memory is not None else 0,
}
