"""Time every statement by one permanent execute wrapper per connection.

A wrapper sees execute() and executemany(), their preparation and their first answer; it sees neither COMMIT nor the
fetching of rows. The SQL that is sent stays byte-identical.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..metrics.aggregate import Key
from ..metrics.catalog import ENDPOINT_QUERY
from ..metrics.guard import count_fault
from ..metrics.recorder import recorder
from ..metrics.trace import FOLD_AT, PAUSED, Trace, current
from .fingerprint import MAX_SQL, normalise

_MAX_REMEMBERED = 2_000


class QueryTimer:
    """Measure the statements of one connection; used as its execute wrapper.

    `_keys` remembers the shape of each SQL text seen, for all connections of an alias: normalising takes 30 us, a
    look-up 0.3. It is dropped whole when full (SQL with literals in it never repeats), so a stranger's texts cost time,
    not memory. Safe between threads: single dict operations.
    """

    def __init__(self, alias: str, vendor: str) -> None:
        self._alias = alias
        self._vendor = vendor
        self._keys = _remembered.setdefault(alias, {})

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        started_ns = perf_counter_ns()
        try:
            result = execute(sql, params, many, context)
        except Exception:
            self._note_failed(sql, perf_counter_ns() - started_ns)
            raise
        try:
            elapsed_ns = perf_counter_ns() - started_ns
            trace = current.get()
            if trace is None or trace is PAUSED:
                self._note_outside(trace, sql, elapsed_ns, 0)
            else:
                key = self._keys.get(sql) if type(sql) is str else None
                trace.statements.append((key or self._key(sql), elapsed_ns))
                if len(trace.statements) >= FOLD_AT:
                    trace.fold_statements()
        except Exception as fault:
            count_fault("query", fault)
        return result

    def _note_failed(self, sql: Any, elapsed_ns: int) -> None:
        try:
            trace = current.get()
            if trace is None or trace is PAUSED:
                self._note_outside(trace, sql, elapsed_ns, 1)
            else:
                trace.statements.append((self._key(sql), elapsed_ns))
                trace.fail(self._key(sql))
        except Exception as fault:
            count_fault("query", fault)

    def _note_outside(self, trace: Trace | None, sql: Any, elapsed_ns: int, errors: int) -> None:
        if trace is None and recorder.enabled:
            recorder.record(ENDPOINT_QUERY, self._key(sql)[1:], (elapsed_ns + 500) // 1000, (errors,))

    def _key(self, sql: Any) -> Key:
        """Return the key of a statement; psycopg's SQL objects and bytes are named by their type."""
        if not isinstance(sql, str):
            return ENDPOINT_QUERY.name, self._alias, f"({type(sql).__name__})"
        # A long text is remembered by its (salted, 64 bit) hash: 2,000 texts of a megabyte must not stay in memory.
        known_as = sql if len(sql) <= MAX_SQL else (len(sql), hash(sql))
        return self._keys.get(known_as) or self._learn(known_as, sql)

    def _learn(self, known_as: str | tuple[int, int], sql: str) -> Key:
        if len(self._keys) >= _MAX_REMEMBERED:
            self._keys.clear()
        key = self._keys[known_as] = (ENDPOINT_QUERY.name, self._alias, normalise(sql, self._vendor))
        return key


_remembered: dict[str, dict[str | tuple[int, int], Key]] = {}


def install(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Put a timer on `connection`, once; receiver of connection_created.

    At the front of the list: Django's own `with connection.execute_wrapper(...)` pops the last one, which would take
    ours off and leave the host's on for ever.
    """
    try:
        if not any(isinstance(wrapper, QueryTimer) for wrapper in connection.execute_wrappers):
            connection.execute_wrappers.insert(0, QueryTimer(connection.alias, connection.vendor))
    except Exception as fault:
        count_fault("new connection", fault)
