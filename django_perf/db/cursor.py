"""Time every statement from execute() to the last row, by a cursor class of our own in the place of Django's.

An execute wrapper sees neither the rows nor the time of fetching them. Taking over the fetching costs nothing: Django
makes two new functions for each call of it, which is as dear as all that is measured here. The SQL is never touched.
"""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from ..metrics.catalog import ENDPOINT_QUERY, QUERY_ERROR
from ..metrics.guard import count_fault
from ..metrics.recorder import recorder
from ..metrics.statement import NS, ROWS, SHAPE, SITE, Run
from ..metrics.trace import DEAR_NS, FOLD_AT, PAUSED, current
from .errors import code_of
from .shapes import Shapes, shapes_of
from .slow_log import log_outside
from .watch import MANY_ROWS, REPEATED, watch_of

if TYPE_CHECKING:
    _Base = CursorWrapper
else:
    _Base = object  # a mixin, whose other half is whatever class the connection makes its cursors of

# What some drivers say where they do not know the number of rows: -1, None, 2**64 - 1.
_MOST_ROWS = 2**62
# Stands for the parameters of what is never a duplicate.
_MANY: Any = object()


class Executing(_Base):
    """Mix into a cursor wrapper: times execute(), executemany() and callproc(), and looks closer where it is worth it.

    What is measured belongs to the request of this context; outside of one, to the recorder. Never raises by itself.
    """

    shapes: Shapes
    # Of the statement whose rows can be fetched now; None outside a request.
    run: Run | None = None
    # The driver does not know how many rows there are, so they are counted as they come.
    counts_rows = False

    def execute(self, sql: Any, params: Any = None) -> Any:
        """Execute, as Django's."""
        started_ns = perf_counter_ns()
        try:
            result = super().execute(sql, params)
        except Exception as error:
            self._note_failed(sql, started_ns, error)
            raise
        self._note(sql, params, started_ns)
        return result

    def executemany(self, sql: Any, param_list: Any) -> Any:
        """Execute for each, as Django's; all together are one statement."""
        started_ns = perf_counter_ns()
        try:
            result = super().executemany(sql, param_list)
        except Exception as error:
            self._note_failed(sql, started_ns, error)
            raise
        self._note(sql, _MANY, started_ns)
        return result

    def callproc(self, procname: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a stored procedure, as Django's."""
        sql, started_ns = f"CALL {procname}", perf_counter_ns()
        try:
            result = super().callproc(procname, *args, **kwargs)
        except Exception as error:
            self._note_failed(sql, started_ns, error)
            raise
        self._note(sql, _MANY, started_ns)
        return result

    def _note(self, sql: Any, params: Any, started_ns: int) -> None:
        """Add the execution to the trace: the hot path, where a call costs more than a line."""
        try:
            elapsed_ns = perf_counter_ns() - started_ns
            trace = current.get()
            if trace is None or trace is PAUSED:
                self.run = None
                if trace is None and recorder.enabled:
                    self._note_outside(sql, elapsed_ns)
                return
            rows = self.cursor.rowcount
            # An unknown number or none: there are drivers that say 0 until the first row is fetched.
            self.counts_rows = is_unknown = not (rows and 0 < rows < _MOST_ROWS)
            shape = (self.shapes.known.get(sql) if type(sql) is str else None) or self.shapes.find(sql)
            try:
                mark = hash((sql, params if type(params) is tuple else _hashable(params)))
            except TypeError:  # a list for an array, a dict for JSON: never the same as another
                mark = None
            last = self.run
            if last is not None:  # a cursor that is used again
                _finish(last)
            run = self.run = [shape, started_ns, elapsed_ns, 0 if is_unknown else rows, None, mark]
            if elapsed_ns >= DEAR_NS or run[ROWS] > MANY_ROWS or trace.template is not None:
                watch_of(trace).look(trace, run)
            runs = trace.statements.get(shape)
            if runs is None:
                trace.begin_statement(shape, run)
                return
            runs.append(run)
            if run[SITE] is None:
                run[SITE] = shape.site()
            if trace.watch is None or len(runs) == REPEATED or len(runs) >= FOLD_AT:
                watch_of(trace).repeat(trace, shape, runs)
        except Exception as fault:
            count_fault("query", fault)

    def _note_failed(self, sql: Any, started_ns: int, error: Exception) -> None:
        try:
            self.run = None
            elapsed_ns = perf_counter_ns() - started_ns
            trace, key = current.get(), self.shapes.find(sql).key
            failure = (*key[1:], code_of(error))
            if trace is None:
                recorder.record(ENDPOINT_QUERY, key[1:], (elapsed_ns + 500) // 1000, (1, 0))
                recorder.record(QUERY_ERROR, failure, 1)
            else:
                trace.add_statement(key, elapsed_ns, errors=1)
                trace.add((QUERY_ERROR.name, *failure), (1,))
        except Exception as fault:
            count_fault("query", fault)

    def _note_outside(self, sql: Any, elapsed_ns: int) -> None:
        """Record what no request has asked for: a command, a thread. Of its rows only a known number counts."""
        rows, key = self.cursor.rowcount, self.shapes.find(sql).key
        known = rows if rows and 0 < rows < _MOST_ROWS else 0
        recorder.record(ENDPOINT_QUERY, key[1:], (elapsed_ns + 500) // 1000, (0, known))
        if elapsed_ns >= DEAR_NS:
            log_outside(key, elapsed_ns, known)


class Fetching(Executing):
    """Mix into Django's own cursor wrapper: times the fetching of rows too, and counts them."""

    def fetchone(self) -> Any:
        """Fetch, as Django's."""
        started_ns = perf_counter_ns()
        try:
            with self.db.wrap_database_errors:
                row = self.cursor.fetchone()
        except Exception as error:
            self._note_fetch_failed(started_ns, error)
            raise
        self._note_fetched(started_ns, row is not None)
        return row

    def fetchmany(self, size: int | None = None) -> Any:
        """Fetch, as Django's."""
        started_ns = perf_counter_ns()
        try:
            with self.db.wrap_database_errors:
                rows = self.cursor.fetchmany() if size is None else self.cursor.fetchmany(size)
        except Exception as error:
            self._note_fetch_failed(started_ns, error)
            raise
        # As in _note_fetched(): the ORM calls this twice a query, and a call costs more than a line.
        run = self.run
        if run is not None:
            run[NS] += perf_counter_ns() - started_ns
            if self.counts_rows and rows:
                run[ROWS] += len(rows)
        return rows

    def fetchall(self) -> Any:
        """Fetch, as Django's."""
        started_ns = perf_counter_ns()
        try:
            with self.db.wrap_database_errors:
                rows = self.cursor.fetchall()
        except Exception as error:
            self._note_fetch_failed(started_ns, error)
            raise
        self._note_fetched(started_ns, len(rows) if rows else 0)
        return rows

    def close(self) -> None:
        """Close, as the driver's cursor."""
        run = self.run
        if run is not None and (run[NS] >= DEAR_NS or run[ROWS] > MANY_ROWS):
            _finish(run)
        self.cursor.close()

    def _note_fetched(self, started_ns: int, rows: int) -> None:
        run = self.run
        if run is not None:
            run[NS] += perf_counter_ns() - started_ns
            if self.counts_rows:
                run[ROWS] += rows

    def _note_fetch_failed(self, started_ns: int, error: Exception) -> None:
        """Count the failure of a statement that seemed to succeed: a server-side cursor, a time limit."""
        try:
            run, trace = self.run, current.get()
            if run is not None and trace is not None:
                run[NS] += perf_counter_ns() - started_ns
                key = run[SHAPE].key
                trace.add(key, (), (1, 0))
                trace.add((QUERY_ERROR.name, *key[1:], code_of(error)), (1,))
        except Exception as fault:
            count_fault("fetch", fault)


def _hashable(params: Any) -> Any:
    """Return parameters in a form that has a hash, if their values have one; what is never a duplicate has none."""
    if params is _MANY:
        raise TypeError
    return tuple(params) if type(params) is list else params


def _finish(run: Run) -> None:
    """Judge a statement that took long or returned much, unless its request is over and has done so."""
    if run[NS] < DEAR_NS and run[ROWS] <= MANY_ROWS:
        return
    try:
        trace = current.get()
        if trace is not None and any(run is one for one in trace.statements.get(run[SHAPE], ())):
            watch_of(trace).finish(trace, run)
    except Exception as fault:
        count_fault("query", fault)


@lru_cache(maxsize=256)
def measured(base: type, alias: str, vendor: str) -> type:
    """Return the class that measures what `base`, a class of cursor wrappers, does on one alias."""
    mixin = Fetching if base in (CursorWrapper, CursorDebugWrapper) else Executing
    names = {"shapes": shapes_of(alias, vendor), "__module__": __name__}
    return type(f"Measured{base.__name__}", (mixin, base), names)
