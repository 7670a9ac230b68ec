"""Turn the last reports of the processes that run into gauges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ..reports.cache import process_caches
from ..reports.pool import process_pools
from ..reports.process import Worker, workers
from ..reports.window import Window
from ..store.reader import Snapshot
from .families import HOST, Family, Labels, gauge


class Placed(Protocol):
    """A pool or a cache of one process."""

    worker: Worker
    alias: str

    def level(self, name: str) -> int:
        """Return a level, 0 where it is not known."""


_POOL = (
    ("pool_connections", "size", "", "Open connections of the pool."),
    ("pool_connections_in_use", "in_use", "", "Connections of the pool that are in use."),
    ("pool_connections_max", "max_size", "", "Connections that the pool may open."),
    ("pool_waiting", "waiting", "", "Threads that wait for a connection of the pool."),
)
_CACHE = (
    ("cache_entries", "entries", "", "Entries of a cache in the memory of the processes."),
    ("cache_memory_bytes", "bytes", "bytes", "Bytes of a cache in the memory of the processes."),
)


def gauges(snapshot: Snapshot, window: Window, by_host: bool) -> Iterator[Family]:
    """Yield the gauges: processes by host, pools and caches by alias."""
    yield from _processes([worker for worker in workers(snapshot, window) if worker.state() == "running"])
    for one, read in ((_POOL, process_pools), (_CACHE, process_caches)):
        yield from _levels(one, read(snapshot, window), by_host)
    rows = [((), float(snapshot.unread))]
    yield gauge("export_unread_rows", "Stored rows that another version wrote and this one cannot read.", "", (), rows)


def _processes(running: Sequence[Worker]) -> Iterator[Family]:
    def by_host(name: str, help_: str, unit: str, read: Callable[[Worker], float]) -> Family:
        return gauge(name, help_, unit, (HOST,), [((worker.host,), read(worker)) for worker in running])

    def share(worker: Worker) -> float:
        return _known(worker, "saturation") / sum(one.host == worker.host for one in running)

    yield by_host("processes", "Worker processes that run.", "", lambda worker: 1)
    yield by_host("process_resident_bytes", "Memory of the processes.", "bytes", lambda one: _known(one, "rss_bytes"))
    yield by_host("process_saturation_ratio", "Share of the slots that is busy, all processes.", "ratio", share)


def _known(worker: Worker, name: str) -> float:
    level = worker.level(name)
    return float(level) if isinstance(level, (int, float)) else 0.0


def _levels(declared: Iterable[tuple[str, str, str, str]], placed: Sequence[Placed], by_host: bool) -> Iterator[Family]:
    def labels_of(one: Placed) -> Labels:
        return (one.worker.host, one.alias) if by_host else (one.alias,)

    names = (HOST, "alias") if by_host else ("alias",)
    for name, level, unit, help_ in declared:
        yield gauge(name, help_, unit, names, [(labels_of(one), one.level(level)) for one in placed])
