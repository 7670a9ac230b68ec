"""List every kind of measurement: the one place to look up what is recorded, in which unit and under which bound."""

from __future__ import annotations

from dataclasses import dataclass

OTHER = "(other)"
UNRESOLVED = "(unresolved)"
NO_REQUEST = "(no request)"


@dataclass(frozen=True, slots=True)
class Cap:
    """Bound how many different values of `labels` are kept; a surplus one has its `replaced` labels set to (other)."""

    labels: tuple[str, ...]
    limit: int
    replaced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """Describe one sort of measurement: the unit of its histogram, its labels, its counters, its bounds.

    A new kind raises batch.VERSION, so that an older compactor leaves its rows to a newer one. `number` stands for the
    kind in stored rows and is never used again for another one. `counters` only grow at their
    end, so that old and new versions read each other.

    `scoped` kinds have (route, method) as first labels, filled in when the request ends. `rolls_into` names the kind
    that gets the sum over all labels it does not have itself; it is derived when deltas are merged, never recorded.
    Of kinds with `is_total` the sum over all time is kept besides, which no retention lets fall: what is exported.
    """

    number: int
    name: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    caps: tuple[Cap, ...] = ()
    scoped: bool = False
    rolls_into: Kind | None = None
    is_total: bool = False


_REQUEST_COUNTERS = (
    "errors",
    "aborted",
    "cpu_us",
    "cpu_count",
    "bytes_in",
    "bytes_out",
    "queries",
    "db_us",
    # Keys that a cache had and had not, and the time of its calls.
    "cache_hits",
    "cache_misses",
    "cache_us",
)
_ROUTES = Cap(("route",), 500, ("route",))
_SHAPES = Cap(("sql",), 2_000, ("sql",))
_PAIRS = Cap(("route", "method", "alias", "sql"), 5_000, ("route", "method"))

SITE = Kind(1, "site", "us", "All requests of the site together.", counters=_REQUEST_COUNTERS)
REQUEST = Kind(
    2,
    "request",
    "us",
    "Requests, from the first middleware to the last byte handed to the server.",
    labels=("route", "method", "status"),
    counters=_REQUEST_COUNTERS,
    caps=(_ROUTES,),
    rolls_into=SITE,
    is_total=True,
)
_ALIASES = Cap(("alias",), 50, ("alias",))
DATABASE = Kind(
    19,
    "database",
    "us",
    "All database statements, by alias.",
    labels=("alias",),
    counters=("errors", "rows"),
    caps=(_ALIASES,),
    is_total=True,
)
QUERY = Kind(
    3,
    "query",
    "us",
    "Database statements by shape: the SQL without literals.",
    labels=("alias", "sql"),
    counters=("errors", "rows"),
    caps=(_SHAPES,),
    rolls_into=DATABASE,
)
ENDPOINT_QUERY = Kind(
    4,
    "endpoint_query",
    "us",
    "Database statements by endpoint and shape.",
    labels=("route", "method", "alias", "sql"),
    counters=("errors", "rows"),
    caps=(_ROUTES, _SHAPES, _PAIRS),
    scoped=True,
    rolls_into=QUERY,
)
EXCEPTION = Kind(
    5,
    "exception",
    "",
    "Unhandled exceptions by class; their text is never kept.",
    labels=("route", "method", "class"),
    caps=(_ROUTES, Cap(("class",), 200, ("class",))),
    scoped=True,
    is_total=True,
)
BLOCK = Kind(
    6,
    "block",
    "us",
    "Blocks of code measured with timed().",
    labels=("name",),
    counters=("errors",),
    caps=(Cap(("name",), 200, ("name",)),),
    is_total=True,
)
PROCESS = Kind(
    7,
    "process",
    "0.01",
    "Levels of the worker processes, sampled at every flush, by host; in hundredths of their unit.",
    labels=("gauge", "host"),
    caps=(Cap(("gauge", "host"), 200, ("host",)),),
)
LOSS = Kind(
    8,
    "loss",
    "",
    "Measurements that were lost and faults of django_perf itself; the value says how many at once.",
    labels=("what", "detail"),
    caps=(Cap(("what", "detail"), 200, ("detail",)),),
    is_total=True,
)

POOL = Kind(
    9,
    "pool",
    "us",
    "Waits for a connection of the pool, by database; 0 for those that did not wait.",
    labels=("alias",),
    counters=(
        "opened",
        "failed",
        "timeouts",
        "refused",
        "leaks",
        "cut_overdue",
        "cut_silence",
        "cut_lost",
        "closed_dead",
        "closed_broken",
        "closed_cut",
        "closed_lifetime",
        "closed_idle",
        "closed_uses",
        "closed_owner_died",
        "closed_evicted",
        "closed_surplus",
        "closed_closed",
    ),
    caps=(_ALIASES,),
    is_total=True,
)
POOL_HOLD = Kind(
    10,
    "pool_hold",
    "us",
    "How long connections of the pool were held, by database.",
    labels=("alias",),
    caps=(_ALIASES,),
    is_total=True,
)
CACHE = Kind(
    11,
    "cache",
    "ns",
    "Calls of a cache, by alias and by how they ended: l1, l2, l3 (the level that had the value), miss, set, delete.",
    labels=("alias", "operation"),
    counters=("keys",),
    # There are six operations.
    caps=(_ALIASES,),
    is_total=True,
)
CACHE_KEY = Kind(
    12,
    "cache_key",
    "",
    "Keys of a cache, by pattern: what the levels had, what none had, what was written. The value is always 0.",
    labels=("alias", "pattern"),
    # again: those of the writes that another thread was faster with, both having missed the key before.
    counters=("l1", "l2", "l3", "miss", "set", "delete", "again"),
    caps=(_ALIASES, Cap(("alias", "pattern"), 500, ("pattern",))),
)
CACHE_EVENT = Kind(
    13,
    "cache_event",
    "",
    "What else happened in a cache. The value is always 0: one series for each alias, whatever happens.",
    labels=("alias",),
    counters=(
        # Memory: what left it and why, what it did not take.
        "evicted_entries",
        "evicted_bytes",
        "expired",
        "too_big",
        "refused",
        "broken",
        "reentered",
        "fills_refused",
        "invalidations",
        # The levels below.
        "redis_failed",
        "redis_skipped",
        "table_failed",
        "table_skipped",
        "not_written",
        "not_told",
        "not_carried",
        "foreign",
        # Computing and tags.
        "stampede_avoided",
        "stale_served",
        "fail_safe_served",
        "early_left_to_another",
        "store_refused",
        "tags_invalidated",
        # Memory again: what was read from below, or computed, and would have been there with twice the room.
        "ghost_hits",
    ),
    caps=(_ALIASES,),
    is_total=True,
)

COMPRESSION = Kind(
    14,
    "compression",
    "us",
    "Responses by endpoint and by what became of them: the coding they left in, or why they were left alone; CPU time.",
    labels=("route", "method", "outcome"),
    counters=("bytes_in", "bytes_out"),
    # There are some twenty outcomes.
    caps=(_ROUTES,),
    is_total=True,
)
QUERY_ERROR = Kind(
    15,
    "query_error",
    "",
    "Failed database statements by shape and by SQLSTATE, or what the driver calls it; their text is never kept.",
    labels=("alias", "sql", "code"),
    caps=(_SHAPES, Cap(("alias", "sql", "code"), 1_000, ("code",))),
)
TRANSACTION = Kind(
    16,
    "transaction",
    "us",
    "Transactions by endpoint and database: the time for which each was held open, whatever was waited for.",
    labels=("route", "method", "alias"),
    # waiting_us: the time in which no statement of it ran, of those that were held for long.
    counters=("rollbacks", "waiting_us"),
    caps=(_ROUTES, _ALIASES),
    scoped=True,
)
FINDING = Kind(
    17,
    "finding",
    "us",
    "What was wrong with the statements of requests, by endpoint, line of code and remedy: the time that it cost each.",
    labels=("route", "method", "finding", "alias", "sql", "place", "remedy"),
    counters=("calls", "rows"),
    caps=(_ROUTES, _SHAPES, Cap(("finding", "route", "method", "sql", "place"), 1_000, ("route", "place", "remedy"))),
    scoped=True,
)
CALL_SITE = Kind(
    18,
    "call_site",
    "us",
    "Database statements that take long or come often, by the line that sends them: what they took in each request.",
    labels=("route", "method", "alias", "sql", "place"),
    counters=("calls", "rows"),
    caps=(_ROUTES, _SHAPES, Cap(("route", "method", "sql", "place"), 2_000, ("route", "method", "place"))),
    scoped=True,
)

_ALL = (
    SITE,
    REQUEST,
    DATABASE,
    QUERY,
    ENDPOINT_QUERY,
    EXCEPTION,
    BLOCK,
    PROCESS,
    LOSS,
    POOL,
    POOL_HOLD,
    CACHE,
    CACHE_KEY,
    CACHE_EVENT,
    COMPRESSION,
    QUERY_ERROR,
    TRANSACTION,
    FINDING,
    CALL_SITE,
)
KINDS = {kind.name: kind for kind in _ALL}
