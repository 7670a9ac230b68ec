"""Time every statement from execute() to the last row, by a cursor class of our own in the place of Django's.

An execute wrapper sees neither the rows nor the time of fetching them. Taking over the fetching costs nothing: Django
makes two new functions for each call of it, which is as dear as all that is measured here. The SQL is never touched.
"""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import accumulate
from time import perf_counter_ns
from types import FunctionType
from typing import TYPE_CHECKING, Any

from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from ..metrics.catalog import ENDPOINT_QUERY, QUERY_ERROR
from ..metrics.guard import count_fault
from ..metrics.recorder import recorder
from ..metrics.statement import MARK, NS, ROWS, SHAPE, STRIDE, Run, Runs, Shape
from ..metrics.trace import DEAR_NS, FOLD_AT, MAX_SERIES, PAUSED, Trace, current
from .errors import code_of
from .shapes import Shapes, shapes_of
from .slow_log import log_failed, log_outside
from .watch import MANY_ROWS, REPEATED, look_at_repetition, watch_of

if TYPE_CHECKING:
    _Base = CursorWrapper
else:
    _Base = object  # a mixin, whose other half is whatever class the connection makes its cursors of

# What some drivers say where they do not know the number of rows: -1, None, 2**64 - 1.
_MOST_ROWS = 2**62
# What Django's execute() and the method that it calls speak of.
_NAMES_IN_EXECUTE = (
    ("_execute_with_wrappers", "_execute"),
    ("db", "reversed", "execute_wrappers", "functools", "partial"),
)
_EXECUTE, _WITH_WRAPPERS = CursorWrapper.execute, CursorWrapper._execute_with_wrappers  # type: ignore[attr-defined]
# To look where a statement comes from is as dear as all the rest. It is done where the statement took so long that this
# does not matter, where it has been asked before, and otherwise at about every seventh execution: thrice in the first
# twenty, which are an N+1 whatever they take, and at uneven steps, for lines may send the same in turn.
_WORTH_NS = 500_000
_OFTEN = (REPEATED - 1) * STRIDE
_STEPS = accumulate([4, 6, 7, *random.Random(7).choices(range(4, 11), k=FOLD_AT // 4)])  # noqa: S311 - no secret
_LOOKED_AT = frozenset(step * STRIDE for step in _STEPS)
# Django's cursors have none of these themselves, so whoever has put one there wants it to be called.
_FETCHING = {"fetchone", "fetchmany", "fetchall", "close"}
# Stands for the parameters of what is never a duplicate; it has no hash either.
_MANY: Any = []


class Executing(_Base):
    """Mix into a cursor wrapper: times execute(), executemany() and callproc(), and looks closer where it is worth it.

    What is measured belongs to the request of this context; outside of one, to the recorder. Never raises by itself.
    """

    shapes: Shapes
    known: dict[Any, Shape]
    # That execute() may be left out which would only call _execute(): its two frames are half as dear as all of this.
    is_direct = False
    # Where the statement stands whose rows can be fetched now; None outside a request, and when they are fetched.
    runs: Runs | None = None
    at = 0
    # The driver does not know how many rows there are, so they are counted as they come.
    counts_rows = False

    def execute(self, sql: Any, params: Any = None) -> Any:
        """Execute, as Django's."""
        started_ns = perf_counter_ns()
        try:
            if (
                self.is_direct
                and not self.db.execute_wrappers
                and CursorWrapper.execute is _EXECUTE
                and CursorWrapper._execute_with_wrappers is _WITH_WRAPPERS  # type: ignore[attr-defined]
            ):
                result = self._execute(sql, params)
            else:
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
            if self.runs is not None:  # a cursor that is used again
                self._finish()
            trace = current.get()
            if trace is None or trace.is_over:
                return self._note_outside(trace, sql, elapsed_ns)
            rows = self.cursor.rowcount
            # An unknown number or none: there are drivers that say 0 until the first row is fetched.
            self.counts_rows = is_unknown = not (rows and 0 < rows < _MOST_ROWS)
            rows = 0 if is_unknown else rows
            try:
                shape, mark = self.known[sql], hash((sql, params))
            except Exception:  # a text that is new; a parameter without a hash, which may say so in any way
                shape = self.shapes.find(sql)
                mark = _mark(shape, sql, params)
            runs, at, is_again = trace.statements.get(shape), 0, False
            if runs is not None:
                at = len(runs) - 1
                is_again = at < _OFTEN and mark in (runs[-1], runs[MARK]) and not _is_opaque(shape, params)
                runs += (started_ns, elapsed_ns, rows, None, mark)
            elif len(trace.statements) < MAX_SERIES:
                own = [shape, started_ns, elapsed_ns, rows, None, mark]
                runs = trace.statements.setdefault(shape, own)
                if runs is not own:  # another thread of the request was faster
                    runs += own[1:]
            else:
                trace.dropped += 1
                return None
            if elapsed_ns >= DEAR_NS or rows > MANY_ROWS or trace.template is not None:
                watch_of(trace).look(trace, Run(runs, at))
            if at and (elapsed_ns >= _WORTH_NS or is_again or at in _LOOKED_AT):
                at = look_at_repetition(trace, runs, at)
            self.runs, self.at = runs, at
        except Exception as fault:
            count_fault("query", fault)

    def _finish(self) -> None:
        """Judge the last statement if it took long or returned much, unless its request is over and has done so."""
        runs, at, trace = self.runs, self.at, current.get()
        self.runs = None
        try:
            if runs is None or trace is None or (runs[at + NS] < DEAR_NS and runs[at + ROWS] <= MANY_ROWS):
                return
            if trace.statements.get(runs[SHAPE]) is runs:
                watch_of(trace).finish(trace, Run(runs, at))
        except IndexError:
            pass  # folded
        except Exception as fault:
            count_fault("query", fault)

    def _note_failed(self, sql: Any, started_ns: int, error: Exception) -> None:
        try:
            elapsed_ns = perf_counter_ns() - started_ns
            self._finish()
            trace, key = current.get(), self.shapes.find(sql).key
            failure = (*key[1:], code_of(error))
            if elapsed_ns >= DEAR_NS and trace is not PAUSED:
                log_failed(key, elapsed_ns, failure[-1], trace)
            if trace is None or (trace.is_over and trace is not PAUSED):
                recorder.record(ENDPOINT_QUERY, key[1:], (elapsed_ns + 500) // 1000, (1, 0))
                recorder.record(QUERY_ERROR, failure, 1)
            else:
                trace.add_statement(key, elapsed_ns, errors=1)
                trace.add((QUERY_ERROR.name, *failure), (1,))
        except Exception as fault:
            count_fault("query", fault)

    def _note_outside(self, trace: Trace | None, sql: Any, elapsed_ns: int) -> None:
        """Record what no request has asked for: a command, a thread. Of its rows only a known number counts."""
        if trace is PAUSED or not recorder.enabled:
            return
        rows, key = self.cursor.rowcount, self.shapes.find(sql).key
        known = rows if rows and 0 < rows < _MOST_ROWS else 0
        recorder.record(ENDPOINT_QUERY, key[1:], (elapsed_ns + 500) // 1000, (0, known))
        if elapsed_ns >= DEAR_NS:
            log_outside(key, elapsed_ns, known)


class Fetching(Executing):
    """Mix into Django's own cursor wrapper: times the fetching of rows too, and counts them.

    The execution that is fetched from may have been folded meanwhile. It is not there any more then, or another one of
    the same statement stands in its place, to which the time is added just as well.
    """

    def fetchone(self) -> Any:
        """Fetch, as Django's."""
        started_ns = perf_counter_ns()
        try:
            with self.db.wrap_database_errors:
                row = self.cursor.fetchone()
        except Exception as error:
            self._note_fetch_failed(started_ns, error)
            raise
        # As in _note_fetched(), and without its call.
        runs = self.runs
        if runs is not None:
            try:
                runs[self.at + NS] += perf_counter_ns() - started_ns
                if self.counts_rows and row is not None:
                    runs[self.at + ROWS] += 1
            except IndexError:
                self.runs = None
        return row

    def fetchmany(self, size: int | None = None) -> Any:
        """Fetch, as Django's."""
        runs, wanted = self.runs, self.cursor.arraysize if size is None else size
        if runs is None:  # not in a request, or the last rows were here: the ORM asks once more
            with self.db.wrap_database_errors:
                return self.cursor.fetchmany(wanted)
        started_ns = perf_counter_ns()
        try:
            with self.db.wrap_database_errors:
                rows = self.cursor.fetchmany(wanted)
        except Exception as error:
            self._note_fetch_failed(started_ns, error)
            raise
        # As in _note_fetched(): the ORM calls this for each query, and a call costs more than a line.
        at, count = self.at, len(rows) if rows else 0
        try:
            runs[at + NS] += perf_counter_ns() - started_ns
            if self.counts_rows:
                runs[at + ROWS] += count
            if count < wanted:
                if runs[at + NS] >= DEAR_NS or runs[at + ROWS] > MANY_ROWS:
                    self._finish()
                self.runs = None
        except IndexError:
            self.runs = None
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
        if self.runs is not None:
            self._finish()
        self.cursor.close()

    def _note_fetched(self, started_ns: int, rows: int) -> None:
        runs = self.runs
        if runs is None:
            return
        try:
            runs[self.at + NS] += perf_counter_ns() - started_ns
            if self.counts_rows:
                runs[self.at + ROWS] += rows
        except IndexError:
            self.runs = None

    def _note_fetch_failed(self, started_ns: int, error: Exception) -> None:
        """Count the failure of a statement that seemed to succeed: a server-side cursor, a time limit."""
        try:
            runs, trace = self.runs, current.get()
            if runs is not None and trace is not None:
                runs[self.at + NS] += perf_counter_ns() - started_ns
                key = runs[SHAPE].key
                trace.add(key, (), (1, 0))
                trace.add((QUERY_ERROR.name, *key[1:], code_of(error)), (1,))
        except Exception as fault:
            count_fault("fetch", fault)


def _mark(shape: Shape, sql: Any, params: Any) -> Any:
    """Return what is equal for equal values, even if they come as a list; what has no hash is like nothing else."""
    try:
        values = tuple(params) if type(params) is list else params
        return object() if params is _MANY or _is_opaque(shape, values) else hash((sql, values))
    except Exception:  # a list for an array, a dict for JSON, a buffer
        return object()


def _is_opaque(shape: Shape, params: Any) -> bool:
    """Tell whether a parameter is told from others by its address only, which the next one may get; remember it.

    So are the drivers' wrappers of binary values and of JSON.
    """
    values = params.values() if isinstance(params, dict) else params or ()
    plain = object.__hash__
    if any(type(value).__hash__ is plain for value in values):  # type: ignore[comparison-overlap]
        shape.is_opaque = True
    return shape.is_opaque


@lru_cache(maxsize=256)
def measured(base: type, alias: str, dialect: str) -> type:
    """Return the class that measures what `base`, a class of cursor wrappers, does on one alias."""
    is_django_s = base in (CursorWrapper, CursorDebugWrapper) and _FETCHING.isdisjoint(vars(CursorWrapper))
    mixin = Fetching if is_django_s else Executing
    shapes = shapes_of(alias, dialect)
    names = {"shapes": shapes, "known": shapes.known, "is_direct": base is CursorWrapper and _is_known()}
    return type(f"Measured{base.__name__}", (mixin, base), {**names, "__module__": __name__})


def _is_known() -> bool:
    """Tell whether Django's execute() is the one that this was written for, and nobody has replaced it."""
    return all(
        isinstance(function, FunctionType) and function.__code__.co_names == names
        for function, names in zip((_EXECUTE, _WITH_WRAPPERS), _NAMES_IN_EXECUTE, strict=True)
    )
