"""Time transactions: how long each is held open, and what its COMMIT or ROLLBACK takes.

Neither passes a cursor, so the methods of the connection are wrapped. Savepoints are statements like others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from ..metrics.callsite import find_site, place_of
from ..metrics.catalog import ENDPOINT_QUERY, QUERY_ERROR, TRANSACTION
from ..metrics.guard import count_fault
from ..metrics.recorder import recorder
from ..metrics.trace import PAUSED, Trace, current
from . import findings
from .errors import code_of
from .findings import Tally
from .shapes import Shapes
from .watch import add_finding

# A transaction that is shorter holds nobody up, and what it waits for is not looked for.
_LONG_NS = 50_000_000


class TransactionTimer:
    """Stand before set_autocommit(), commit() and rollback() of one connection."""

    def __init__(self, connection: BaseDatabaseWrapper, shapes: Shapes) -> None:
        self._shapes = shapes
        self._began_ns = 0
        # SQLite's BEGIN does nothing unless it is told to lock.
        self._locks_at_once = getattr(connection, "transaction_mode", None) in ("IMMEDIATE", "EXCLUSIVE")
        self._set_autocommit = connection.set_autocommit
        self._commit, self._rollback = connection.commit, connection.rollback

    def set_autocommit(self, autocommit: bool, *args: Any, **kwargs: Any) -> Any:
        """Begin to time with the end of autocommit, as Django's."""
        result = self._set_autocommit(autocommit, *args, **kwargs)
        self._began_ns = 0 if autocommit else perf_counter_ns()
        return result

    def commit(self) -> None:
        """Commit, as Django's."""
        self._timed("COMMIT", self._commit)

    def rollback(self) -> None:
        """Roll back, as Django's."""
        self._timed("ROLLBACK", self._rollback)

    def _timed(self, name: str, end: Callable[[], None]) -> None:
        started_ns = perf_counter_ns()
        error: Exception | None = None
        try:
            end()
        except Exception as raised:
            error = raised
            raise
        finally:
            self._note(name, started_ns, error)

    def _note(self, name: str, started_ns: int, error: Exception | None) -> None:
        try:
            trace, ended_ns, began_ns = current.get(), perf_counter_ns(), self._began_ns
            if began_ns:  # without autocommit altogether, the next transaction begins here
                self._began_ns = ended_ns
            if trace is None or (trace.is_over and trace is not PAUSED):
                self._note_outside(name, ended_ns - started_ns, error)
            elif trace is not PAUSED:
                self._note_end(trace, name, ended_ns - started_ns, error)
                if began_ns:
                    self._note_held(trace, name, began_ns, ended_ns)
        except Exception as fault:
            count_fault("transaction", fault)

    def _note_end(self, trace: Trace, name: str, elapsed_ns: int, error: Exception | None) -> None:
        key = self._shapes.named(name).key
        trace.add_statement(key, elapsed_ns, errors=int(error is not None), queries=0)
        if error is not None:
            trace.add((QUERY_ERROR.name, *key[1:], code_of(error)), (1,))

    def _note_held(self, trace: Trace, name: str, began_ns: int, ended_ns: int) -> None:
        """Add the time for which the transaction was open: on the server it begins with its first statement."""
        held_ns, waiting_ns = ended_ns - began_ns, 0
        if held_ns >= _LONG_NS:
            first_ns, busy_ns = trace.busy_since(self._shapes.alias, began_ns)
            if not first_ns:
                return  # the server has heard of no transaction
            if not self._locks_at_once:
                held_ns = ended_ns - first_ns
            waiting_ns = max(0, held_ns - busy_ns)
        key = (TRANSACTION.name, self._shapes.alias)
        trace.add(key, (held_ns // 1000,), (int(name == "ROLLBACK"), waiting_ns // 1000))
        if findings.is_held_open(held_ns, waiting_ns):
            sent = self._shapes.named(""), place_of(find_site(sys._getframe(1)))
            add_finding(trace, findings.OPEN_TRANSACTION, sent, Tally(1, waiting_ns))

    def _note_outside(self, name: str, elapsed_ns: int, error: Exception | None) -> None:
        key = self._shapes.named(name).key
        recorder.record(ENDPOINT_QUERY, key[1:], (elapsed_ns + 500) // 1000, (int(error is not None), 0))
        if error is not None:
            recorder.record(QUERY_ERROR, (*key[1:], code_of(error)), 1)
