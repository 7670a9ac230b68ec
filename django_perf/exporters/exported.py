"""List every metric that is exported of what was counted; docs/exports.md says the same in words."""

from __future__ import annotations

from ..metrics.catalog import (
    BLOCK,
    CACHE,
    CACHE_EVENT,
    COMPRESSION,
    DATABASE,
    EXCEPTION,
    LOSS,
    POOL,
    POOL_HOLD,
    REQUEST,
)
from .families import Exported, counter, histogram, split

# Few, for each is a line per series; in seconds.
REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DATABASE_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
CACHE_BOUNDS = (0.000_005, 0.000_025, 0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.1, 1)

_CUT = {"cut_overdue": "overdue", "cut_silence": "silence", "cut_lost": "lost"}
_CLOSED = {name: name.removeprefix("closed_") for name in POOL.counters if name.startswith("closed_")}
_EVENTS = {name: name for name in CACHE_EVENT.counters if name != "evicted_bytes"}
_OUTCOME = ("outcome",)

EXPORTED: tuple[Exported, ...] = (
    histogram("request_duration_seconds", REQUEST, REQUEST_BOUNDS, "Time from the first middleware to the last byte."),
    counter("request_errors", REQUEST, "errors", "Requests that ended in a 5xx or in an unhandled exception."),
    counter("request_aborts", REQUEST, "aborted", "Requests whose client went away."),
    counter("request_cpu_seconds", REQUEST, "cpu_us", "CPU time of requests.", "seconds"),
    counter("request_body_bytes", REQUEST, "bytes_in", "Bytes of the bodies of requests.", "bytes"),
    counter("response_body_bytes", REQUEST, "bytes_out", "Bytes of the bodies of responses.", "bytes"),
    counter("request_queries", REQUEST, "queries", "Database statements of requests."),
    counter("request_database_seconds", REQUEST, "db_us", "Time of the database statements of requests.", "seconds"),
    counter("request_cache_hits", REQUEST, "cache_hits", "Keys that requests asked a cache for and got."),
    counter("request_cache_misses", REQUEST, "cache_misses", "Keys that requests asked a cache for and did not get."),
    counter("request_cache_seconds", REQUEST, "cache_us", "Time of the cache calls of requests.", "seconds"),
    histogram("database_statement_duration_seconds", DATABASE, DATABASE_BOUNDS, "Time of database statements."),
    counter("database_statement_errors", DATABASE, "errors", "Database statements that failed."),
    counter("database_rows", DATABASE, "rows", "Rows that database statements returned or changed."),
    counter("exceptions", EXCEPTION, "count", "Unhandled exceptions, by class."),
    histogram("block_duration_seconds", BLOCK, REQUEST_BOUNDS, "Time of blocks of code measured with timed()."),
    counter("block_errors", BLOCK, "errors", "Blocks of code that ended in an exception."),
    histogram("pool_wait_seconds", POOL, DATABASE_BOUNDS, "Time that was waited for a connection of the pool."),
    histogram("pool_hold_seconds", POOL_HOLD, REQUEST_BOUNDS, "Time that connections of the pool were held."),
    counter("pool_opened_connections", POOL, "opened", "Connections that the pool has opened."),
    counter("pool_failed_opens", POOL, "failed", "Connections that the pool could not open."),
    counter("pool_timeouts", POOL, "timeouts", "Requests for a connection that got none in time."),
    counter("pool_refusals", POOL, "refused", "Requests for a connection that were refused, for enough waited."),
    counter("pool_leaks", POOL, "leaks", "Connections that were held for suspiciously long."),
    split("pool_cut_connections", POOL, _CUT, "reason", "Connections that were cut while they were in use."),
    split("pool_closed_connections", POOL, _CLOSED, "reason", "Connections that the pool has closed."),
    histogram("cache_call_duration_seconds", CACHE, CACHE_BOUNDS, "Time of cache calls, by how they ended."),
    counter("cache_keys", CACHE, "keys", "Keys of cache calls, by how those ended."),
    split("cache_events", CACHE_EVENT, _EVENTS, "event", "What else happened in a cache."),
    counter("cache_evicted_bytes", CACHE_EVENT, "evicted_bytes", "Bytes that left memory for want of room.", "bytes"),
    counter("compression_responses", COMPRESSION, "count", "Responses by what became of them.", "", _OUTCOME),
    counter("compression_cpu_seconds", COMPRESSION, "total", "CPU time of compressing.", "seconds", _OUTCOME),
    counter("compression_input_bytes", COMPRESSION, "bytes_in", "Bytes before compressing.", "bytes", _OUTCOME),
    counter("compression_output_bytes", COMPRESSION, "bytes_out", "Bytes after compressing.", "bytes", _OUTCOME),
    counter("losses", LOSS, "total", "Measurements that were lost, and faults of django_perf itself."),
)
