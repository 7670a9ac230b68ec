"""Hand the figures of the pools to the recorder, once per flush."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..metrics.catalog import POOL, POOL_HOLD, PROCESS
from ..metrics.histogram import Histogram
from ..metrics.recorder import Entry, recorder
from .keeper import keeper

if TYPE_CHECKING:
    from .pool import ConnectionPool
    from .state import Level

LEVELS = ("max_size", "size", "in_use", "idle", "waiting")
_BREAKER = {"closed": 0, "failing": 1, "open": 2}


def publish(pool: ConnectionPool) -> None:
    """Publish the levels of the pools of this name, and let the recorder fetch what they counted."""
    recorder.source(read)
    for level in LEVELS:
        recorder.gauge(PROCESS, f"pool.{pool.name}.{level}", _summed(pool.name, level))
    recorder.gauge(PROCESS, f"pool.{pool.name}.breaker", _worst(pool.name))
    recorder.gauge(PROCESS, f"pool.{pool.name}.server_max", _server_max(pool.name))


def read() -> Iterator[Entry]:
    """Yield what every pool of this process has counted since the last call."""
    for pool in keeper.pools():
        taken = pool.take()
        if taken.lost:
            recorder.lost("dropped", "a pool: more checkouts between two flushes than are kept", taken.lost)
        waits = Histogram()
        waits.merge_parts(({0: taken.immediate}, taken.immediate, 0, 0, 0))
        counters = [taken.counts[name] for name in POOL.counters]
        if taken.waits or taken.holds or any(counters):
            yield (POOL.name, pool.name), _in_us(taken.waits), counters, waits if taken.immediate else None
            yield (POOL_HOLD.name, pool.name), _in_us(taken.holds), (), None


def _in_us(seconds: list[float]) -> list[int]:
    return [round(value * 1e6) for value in seconds]


def _levels(name: str) -> list[Level]:
    return [pool.level() for pool in keeper.pools() if pool.name == name and not pool.is_closed]


def _summed(name: str, level: str) -> Callable[[], float]:
    return lambda: sum(getattr(one, level) for one in _levels(name))


def _worst(name: str) -> Callable[[], float]:
    return lambda: max((_BREAKER[one.breaker] for one in _levels(name)), default=0)


def _server_max(name: str) -> Callable[[], float]:
    return lambda: max((pool.server_max or 0 for pool in keeper.pools() if pool.name == name), default=0)
