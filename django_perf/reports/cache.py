"""Report the caches: the fleet by alias, the patterns of keys, and each process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..metrics.catalog import CACHE, CACHE_EVENT, CACHE_KEY
from ..store.reader import Snapshot, Sum
from .cache_advice import KeysUsage, Usage, judged, judged_keys
from .judgement import Judgement
from .process import Worker, workers
from .report import Column, Report, Value
from .window import Window

HITS = ("l1", "l2", "l3")
QUANTILES = (0.5, 0.95)
_PREFIX = "cache."
# A column "Redis" that says "closed" would read as if it were shut.
_STATES = ("up", "failing", "away")
_COHERENCE = ("off", "ttl", "pubsub", "tracking")
_SHARED = ("redis", "table")
_FAILED, _SKIPPED = ("redis_failed", "table_failed"), ("redis_skipped", "table_skipped")
# Calls of a level below that did not come to pass.
TROUBLES = (*_FAILED, *_SKIPPED)


@dataclass(slots=True)
class ProcessCache:
    """Hold the last levels of one cache in one process."""

    worker: Worker
    alias: str
    levels: dict[str, float] = field(default_factory=dict)

    def level(self, name: str) -> int:
        """Return a level, 0 where it is not known."""
        return round(self.levels.get(name, 0))

    def known(self, name: str) -> int | None:
        """Return a level, None where the cache has no such level."""
        return self.level(name) if name in self.levels else None

    def state(self, name: str) -> str | None:
        """Return how a level is, None where the cache has no such level."""
        return _STATES[min(self.level(name), 2)] if name in self.levels else None

    def coherence(self) -> str:
        """Return who tells of writes."""
        return _COHERENCE[min(self.level("coherence"), 3)]

    def linked(self) -> str | None:
        """Tell whether it listens, None where there is nobody to listen to."""
        return ("no", "yes")[self.level("linked") > 0] if self.coherence() in ("pubsub", "tracking") else None


@dataclass(slots=True)
class Fleet:
    """Add up the caches of one alias; `operations` are calls by how they ended, over the window."""

    alias: str
    operations: dict[str, Sum] = field(default_factory=dict)
    events: Sum = field(default_factory=Sum)
    caches: list[ProcessCache] = field(default_factory=list)

    def keys(self, *operations: str) -> int:
        """Return how many keys were read or written in some operations."""
        return sum(self.operations[name].counter(CACHE, "keys") for name in operations if name in self.operations)

    def reads(self) -> int:
        """Return how many keys were asked for."""
        return self.keys(*HITS, "miss")

    def ratio(self, *levels: str) -> float | None:
        """Return the part of the reads that some levels answered, None without reads."""
        reads = self.reads()
        return self.keys(*levels) / reads if reads else None

    def latency_us(self, operation: str, index: int) -> float | None:
        """Return p50 or p95 of the calls that ended so, None where there was none."""
        sum_ = self.operations.get(operation)
        return sum_.quantiles(QUANTILES)[index] / 1_000 if sum_ is not None and sum_.count else None

    def counted(self, *names: str) -> int:
        """Return the sum of some events."""
        return sum(self.events.counter(CACHE_EVENT, name) for name in names)

    def level(self, name: str) -> int:
        """Return the sum of a level."""
        return sum(cache.level(name) for cache in self.caches)

    def state(self, name: str) -> str | None:
        """Return how a level is where it is worst, None where no cache has it."""
        found = [state for cache in self.caches if (state := cache.state(name)) is not None]
        return max(found, key=_STATES.index, default=None)

    def coherence(self) -> str | None:
        """Return the worst coherence, None where nothing runs."""
        return min((cache.coherence() for cache in self.caches), key=_COHERENCE.index, default=None)

    def judged(self) -> list[Judgement]:
        """Return what is wrong and what to do."""
        fallen = [cache.coherence() for cache in self.caches if cache.level("fallen_back")]
        opened = {name: sum(cache.state(name) == "away" for cache in self.caches) for name in _SHARED}
        usage = Usage(
            processes=len(self.caches),
            reads=self.reads(),
            l1=self.keys("l1"),
            from_below=self.keys("l2", "l3"),
            evicted=self.counted("evicted_entries"),
            ghost_hits=self.counted("ghost_hits"),
            waited=self.counted("stampede_avoided"),
            refused=self.counted("refused"),
            too_big=self.counted("too_big"),
            foreign=self.counted("foreign"),
            store_refused=self.counted("store_refused"),
            bytes=self.level("bytes"),
            max_entries=self.level("max_entries"),
            max_bytes=self.level("max_bytes"),
            open={name: count for name, count in opened.items() if count},
            fallen_back=min(fallen, key=_COHERENCE.index, default=""),
        )
        return judged(usage)


@dataclass(slots=True)
class Keys:
    """Add up the keys of one pattern."""

    alias: str
    pattern: str
    sum: Sum

    def counted(self, *names: str) -> int:
        """Return the sum of some counters."""
        return sum(self.sum.counter(CACHE_KEY, name) for name in names)

    def reads(self) -> int:
        """Return how many keys were asked for."""
        return self.counted(*HITS, "miss")

    def hit_ratio(self) -> float | None:
        """Return the part of the reads that some level answered, None without reads."""
        reads = self.reads()
        return self.counted(*HITS) / reads if reads else None

    def judged(self) -> Judgement | None:
        """Return what is wrong and what to do, None when nothing."""
        usage = KeysUsage(self.counted(*HITS), self.reads(), self.counted("set"), self.counted("again"))
        return judged_keys(usage)

    def advice(self) -> str:
        """Return the same as a sentence, "" when nothing."""
        found = self.judged()
        return found.text if found else ""


def process_caches(snapshot: Snapshot, window: Window) -> list[ProcessCache]:
    """Return the caches of the processes that run."""
    running = [worker for worker in workers(snapshot, window) if worker.state() == "running"]
    return [cache for worker in running for cache in _caches_of(worker)]


def _caches_of(worker: Worker) -> Iterator[ProcessCache]:
    found: dict[str, ProcessCache] = {}
    for name, level in worker.levels.items():
        if name.startswith(_PREFIX):
            alias, _, what = name.removeprefix(_PREFIX).rpartition(".")
            found.setdefault(alias, ProcessCache(worker, alias)).levels[what] = level
    yield from found.values()


def fleets(snapshot: Snapshot, window: Window) -> list[Fleet]:
    """Return one row per alias that was used in the window, or is there now."""
    found: dict[str, Fleet] = {}

    def of(alias: str) -> Fleet:
        return found.setdefault(alias, Fleet(alias))

    for (alias, operation), sum_ in snapshot.sums(CACHE, window.span).items():
        of(alias).operations[operation] = sum_
    for (alias,), sum_ in snapshot.sums(CACHE_EVENT, window.span).items():
        of(alias).events = sum_
    for cache in process_caches(snapshot, window):
        of(cache.alias).caches.append(cache)
    return list(found.values())


def keys(snapshot: Snapshot, window: Window) -> list[Keys]:
    """Return every pattern that was read or written in the window."""
    found = snapshot.sums(CACHE_KEY, window.span)
    return [Keys(alias, pattern, sum_) for (alias, pattern), sum_ in found.items()]


def _totals(snapshot: Snapshot, window: Window, rows: Sequence[Fleet]) -> Mapping[str, Value]:
    return {
        "reads": sum(row.reads() for row in rows),
        "sets": sum(row.keys("set") for row in rows),
        "deletes": sum(row.keys("delete") for row in rows),
        "entries": sum(row.level("entries") for row in rows),
        "bytes": sum(row.level("bytes") for row in rows),
        "failed": sum(row.counted(*_FAILED) for row in rows),
        "skipped": sum(row.counted(*_SKIPPED) for row in rows),
    }


CACHES = Report[Fleet](
    name="cache",
    title="Caches",
    order="reads",
    rows=fleets,
    totals=_totals,
    columns=(
        Column("alias", "Cache", "text", lambda row: row.alias),
        Column("processes", "Processes", "count", lambda row: len(row.caches), is_detail=True),
        Column("redis", "Redis", "text", lambda row: row.state("redis")),
        Column("table", "Table", "text", lambda row: row.state("table")),
        Column("coherence", "Coherence", "text", Fleet.coherence),
        Column("reads", "Reads", "count", Fleet.reads),
        Column("hit_ratio", "Hits", "ratio", lambda row: row.ratio(*HITS)),
        Column("l1_ratio", "From L1", "ratio", lambda row: row.ratio("l1")),
        Column("l2_ratio", "From L2", "ratio", lambda row: row.ratio("l2")),
        Column("l3_ratio", "From L3", "ratio", lambda row: row.ratio("l3")),
        Column("l1_p50_us", "L1 p50", "us", lambda row: row.latency_us("l1", 0), is_detail=True),
        Column("l1_p95_us", "L1 p95", "us", lambda row: row.latency_us("l1", 1)),
        Column("l2_p50_us", "L2 p50", "us", lambda row: row.latency_us("l2", 0), is_detail=True),
        Column("l2_p95_us", "L2 p95", "us", lambda row: row.latency_us("l2", 1)),
        Column("l3_p50_us", "L3 p50", "us", lambda row: row.latency_us("l3", 0), is_detail=True),
        Column("l3_p95_us", "L3 p95", "us", lambda row: row.latency_us("l3", 1), is_detail=True),
        Column("sets", "Sets", "count", lambda row: row.keys("set")),
        Column("deletes", "Deletes", "count", lambda row: row.keys("delete"), is_detail=True),
        Column("entries", "Entries", "count", lambda row: row.level("entries")),
        Column("bytes", "Memory", "bytes", lambda row: row.level("bytes")),
        Column("evicted", "Evicted", "count", lambda row: row.counted("evicted_entries")),
        Column("invalidations", "Invalidations", "count", lambda row: row.counted("invalidations"), is_detail=True),
        Column("fills_refused", "Fills refused", "count", lambda row: row.counted("fills_refused"), is_detail=True),
        Column(
            "stale_served",
            "Stale served",
            "count",
            lambda row: row.counted("stale_served", "fail_safe_served"),
            is_detail=True,
        ),
        Column(
            "stampedes_avoided",
            "Stampedes avoided",
            "count",
            lambda row: row.counted("stampede_avoided"),
            is_detail=True,
        ),
        Column("failed", "Failed", "count", lambda row: row.counted(*_FAILED)),
        Column("skipped", "Skipped", "count", lambda row: row.counted(*_SKIPPED), is_detail=True),
        Column("advice", "Advice", "text", lambda row: ". ".join(one.text for one in row.judged())),
    ),
)

CACHE_KEYS = Report[Keys](
    name="cache_keys",
    title="Keys by pattern",
    order="reads",
    rows=keys,
    keys=("alias", "pattern"),
    columns=(
        Column("alias", "Cache", "text", lambda row: row.alias, is_detail=True),
        Column("pattern", "Pattern", "text", lambda row: row.pattern),
        Column("reads", "Reads", "count", Keys.reads),
        Column("hit_ratio", "Hits", "ratio", Keys.hit_ratio),
        Column("l1", "From L1", "count", lambda row: row.counted("l1")),
        Column("l2", "From L2", "count", lambda row: row.counted("l2")),
        Column("l3", "From L3", "count", lambda row: row.counted("l3")),
        Column("misses", "Misses", "count", lambda row: row.counted("miss")),
        Column("sets", "Sets", "count", lambda row: row.counted("set")),
        Column("deletes", "Deletes", "count", lambda row: row.counted("delete")),
        Column("advice", "Advice", "text", Keys.advice),
    ),
)

CACHE_PROCESSES = Report[ProcessCache](
    name="cache_processes",
    title="Caches by process",
    order="bytes",
    rows=process_caches,
    columns=(
        Column("host", "Host", "text", lambda row: row.worker.host),
        Column("pid", "Pid", "id", lambda row: row.worker.pid),
        Column("alias", "Cache", "text", lambda row: row.alias),
        Column("entries", "Entries", "count", lambda row: row.known("entries")),
        Column("max_entries", "Max entries", "count", lambda row: row.known("max_entries"), is_detail=True),
        Column("bytes", "Memory", "bytes", lambda row: row.known("bytes")),
        Column("max_bytes", "Max memory", "bytes", lambda row: row.known("max_bytes"), is_detail=True),
        Column("redis", "Redis", "text", lambda row: row.state("redis")),
        Column("table", "Table", "text", lambda row: row.state("table")),
        Column("coherence", "Coherence", "text", ProcessCache.coherence),
        Column("linked", "Linked", "text", ProcessCache.linked),
        Column("dirty", "Dirty keys", "count", lambda row: row.known("dirty")),
    ),
)
