"""Judge what was measured: each rule is one function over the rows of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...reports.window import Window
from ...store.reader import Snapshot
from ..advice import Advice
from . import cache, compression, pool, processes, requests, sql

Rule = Callable[[Snapshot, Window], Iterator[Advice]]

# What the store knows, and what the databases have to be asked. Of two that are as severe and as dear, the first leads.
STORED: tuple[Rule, ...] = (
    sql.n_plus_one,
    sql.unbounded_result,
    sql.open_transaction,
    sql.duplicate_query,
    sql.slow_query,
    sql.chatty_endpoint,
    requests.error_spike,
    requests.failing_endpoint,
    requests.regression,
    # The cause before what it does: a pool whose connections are held is starved.
    pool.pool_held,
    pool.pool_size,
    cache.cache_level,
    cache.cache_keys,
    compression.compression,
    processes.saturated,
    processes.memory_growth,
    processes.lost_processes,
)
LIVE: tuple[Rule, ...] = (sql.database,)
# Every name that a piece of advice can have; docs/advice.md has a row for each.
NAMES: tuple[str, ...] = (
    *sql.NAMES,
    *requests.NAMES,
    *pool.NAMES,
    *cache.NAMES,
    *compression.NAMES,
    *processes.NAMES,
)
