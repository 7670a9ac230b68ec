"""Report the connection pools: the fleet by database, and each process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import pgettext

from ..metrics.catalog import POOL, POOL_HOLD
from ..pool.sizing import Usage, judged
from ..store.reader import Snapshot, Sum
from .judgement import Judgement
from .process import Worker, workers
from .report import Column, Report, Value
from .window import Window

_PREFIX = "pool."
_BREAKERS = ("closed", "failing", "open")
_QUANTILES = (0.5, 0.95, 0.99)
_LOST = ("closed_dead", "closed_broken", "closed_owner_died", "closed_cut")


@dataclass(slots=True)
class ProcessPool:
    """Hold the last levels of the pool of one database in one process."""

    worker: Worker
    alias: str
    levels: dict[str, float] = field(default_factory=dict)

    def level(self, name: str) -> int:
        """Return a level, 0 where it is not known."""
        return round(self.levels.get(name, 0))

    def breaker(self) -> str:
        """Return the state of the breaker."""
        return _BREAKERS[min(self.level("breaker"), 2)]


@dataclass(slots=True)
class Fleet:
    """Add up the pools of one database over the processes that run."""

    alias: str
    seconds: float
    wait: Sum = field(default_factory=Sum)
    hold: Sum = field(default_factory=Sum)
    pools: list[ProcessPool] = field(default_factory=list)

    def level(self, name: str) -> int:
        """Return the sum of a level."""
        return sum(pool.level(name) for pool in self.pools)

    def server_max(self) -> int | None:
        """Return the connections that the server has for ordinary roles, None when not known."""
        return max((pool.level("server_max") for pool in self.pools), default=0) or None

    def breaker(self) -> str:
        """Return the worst state of a breaker."""
        return _BREAKERS[max((min(pool.level("breaker"), 2) for pool in self.pools), default=0)]

    def counted(self, *names: str) -> int:
        """Return the sum of some counters."""
        return sum(self.wait.counter(POOL, name) for name in names)

    def wait_ms(self, index: int) -> float:
        """Return p50, p95 or p99 of the waits."""
        return self.wait.quantiles(_QUANTILES)[index] / 1_000

    def hold_ms(self, index: int) -> float:
        """Return p50, p95 or p99 of the time that connections were held."""
        return self.hold.quantiles(_QUANTILES)[index] / 1_000

    def in_use(self) -> float:
        """Return how many connections were held on average (Little's law)."""
        return self.hold.total / 1e6 / self.seconds

    def judged(self) -> Judgement | None:
        """Return what is wrong with the size, None when nothing."""
        usage = Usage(
            processes=len(self.pools),
            max_size=self.level("max_size"),
            server_max=self.server_max(),
            in_use=self.in_use(),
            count=self.hold.count,
            wait_p95_ms=self.wait_ms(1),
            hold_p99_ms=self.hold_ms(2),
            failures=self.counted("timeouts", "refused"),
            leaks=self.counted("leaks"),
        )
        found = judged(usage)
        return found and Judgement(found.rule, "", pgettext("django_perf", found.text) % found.figures)

    def advice(self) -> str:
        """Return what to do about the size, "" when nothing."""
        found = self.judged()
        return found.remedy if found else ""


def process_pools(snapshot: Snapshot, window: Window) -> list[ProcessPool]:
    """Return the pools of the processes that run."""
    return [pool for worker in workers(snapshot, window) if worker.state() == "running" for pool in _pools_of(worker)]


def _pools_of(worker: Worker) -> Iterator[ProcessPool]:
    found: dict[str, ProcessPool] = {}
    for name, level in worker.levels.items():
        if name.startswith(_PREFIX):
            alias, _, what = name.removeprefix(_PREFIX).rpartition(".")
            found.setdefault(alias, ProcessPool(worker, alias)).levels[what] = level
    yield from found.values()


def fleets(snapshot: Snapshot, window: Window) -> list[Fleet]:
    """Return one row per database that a pool served in the window, or serves now."""
    found: dict[str, Fleet] = {}

    def of(alias: str) -> Fleet:
        return found.setdefault(alias, Fleet(alias, window.seconds))

    for (alias,), sum_ in snapshot.sums(POOL, window.span).items():
        of(alias).wait = sum_
    for (alias,), sum_ in snapshot.sums(POOL_HOLD, window.span).items():
        of(alias).hold = sum_
    for pool in process_pools(snapshot, window):
        of(pool.alias).pools.append(pool)
    return list(found.values())


def _totals(snapshot: Snapshot, window: Window, rows: Sequence[Fleet]) -> Mapping[str, Value]:
    names = ("max_size", "size", "in_use", "idle", "waiting")
    totals: dict[str, Value] = defaultdict(int)
    totals.update({name: sum(row.level(name) for row in rows) for name in names})
    totals["count"] = sum(row.wait.count for row in rows)
    totals["timeouts"] = sum(row.counted("timeouts") for row in rows)
    totals["refused"] = sum(row.counted("refused") for row in rows)
    return totals


POOLS = Report[Fleet](
    name="pool",
    title="Connection pools",
    order="count",
    rows=fleets,
    totals=_totals,
    columns=(
        Column("alias", "Database", "text", lambda row: row.alias),
        Column("processes", "Processes", "count", lambda row: len(row.pools)),
        Column("max_size", "Max size", "count", lambda row: row.level("max_size")),
        Column("server_max", "Server takes", "count", Fleet.server_max),
        Column("size", "Open", "count", lambda row: row.level("size")),
        Column("in_use", "In use", "count", lambda row: row.level("in_use")),
        Column("waiting", "Waiting", "count", lambda row: row.level("waiting")),
        Column("breaker", "Breaker", "text", Fleet.breaker),
        Column("count", "Checkouts", "count", lambda row: row.wait.count),
        Column("mean_in_use", "Mean in use", "number", Fleet.in_use, is_detail=True),
        Column("wait_p95_ms", "Wait p95", "ms", lambda row: row.wait_ms(1)),
        Column("wait_p99_ms", "Wait p99", "ms", lambda row: row.wait_ms(2), is_detail=True),
        Column("wait_max_ms", "Wait max", "ms", lambda row: row.wait.max / 1_000),
        Column("hold_p50_ms", "Hold p50", "ms", lambda row: row.hold_ms(0), is_detail=True),
        Column("hold_p95_ms", "Hold p95", "ms", lambda row: row.hold_ms(1)),
        Column("opened", "Opened", "count", lambda row: row.counted("opened")),
        Column("lost", "Lost", "count", lambda row: row.counted(*_LOST)),
        Column("failed", "Failed opens", "count", lambda row: row.counted("failed"), is_detail=True),
        Column("timeouts", "Timeouts", "count", lambda row: row.counted("timeouts")),
        Column("refused", "Refused", "count", lambda row: row.counted("refused")),
        Column("leaks", "Leaks", "count", lambda row: row.counted("leaks")),
        Column("advice", "Advice", "text", Fleet.advice),
    ),
)

POOL_PROCESSES = Report[ProcessPool](
    name="pool_processes",
    title="Connection pools by process",
    order="in_use",
    rows=process_pools,
    columns=(
        Column("host", "Host", "text", lambda row: row.worker.host),
        Column("pid", "Pid", "id", lambda row: row.worker.pid),
        Column("alias", "Database", "text", lambda row: row.alias),
        Column("max_size", "Max size", "count", lambda row: row.level("max_size")),
        Column("size", "Open", "count", lambda row: row.level("size")),
        Column("in_use", "In use", "count", lambda row: row.level("in_use")),
        Column("idle", "Idle", "count", lambda row: row.level("idle")),
        Column("waiting", "Waiting", "count", lambda row: row.level("waiting")),
        Column("breaker", "Breaker", "text", ProcessPool.breaker),
    ),
)
