"""Watch what a psycopg2 connection is doing: when a statement began, and what it leaves behind in the session."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import inf
from time import monotonic
from typing import Any, TypeVar

from psycopg2 import InterfaceError, OperationalError, extensions

from ..session import CHANGES, LIMITS, SEVERAL, effects_of
from ..slot import Slot

Result = TypeVar("Result")

_GONE = "the cursor's connection has gone back to the pool; make a new cursor"
_CAUSES = {
    "overdue": "it outlived its time limit",
    "silence": "the server does not answer",
    "lost": "the server knows nothing of it; something in between forgot the connection",
}


class Connection(extensions.connection):
    """A psycopg2 connection that tells its slot in the pool what it is doing.

    `slot` is None until the pool has prepared it. A cursor works during the checkout in which it was made, and never
    in a later one: that belongs to somebody else.
    """

    slot: Slot | None = None
    # Django gives the connection back through this attribute.
    _pool: Any = None
    # Refers to the wrapper of Django's that holds the connection; None while nobody does.
    wrapper: Callable[[], Any] | None = None
    # Named cursors that were opened and not closed; in autocommit they outlive the request (WITH HOLD).
    open_cursors = 0

    def cursor(self, name: Any = None, cursor_factory: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor that is watched, of whatever class the caller wants."""
        base: Any = cursor_factory or self.cursor_factory
        made = super().cursor(name, _watched(base or extensions.cursor, name is not None), *args, **kwargs)
        if self.slot is not None:
            self._insist_on_loan()
            made.lease = self.slot.uses
        return made

    def commit(self) -> None:
        """Commit, watched."""
        self._insist_on_loan()
        with timed_by(self.slot):
            super().commit()

    def rollback(self) -> None:
        """Roll back, watched."""
        self._insist_on_loan()
        with timed_by(self.slot):
            super().rollback()

    def _insist_on_loan(self) -> None:
        """Raise when nobody holds the connection: it lies in the pool, or belongs to a parent process."""
        if self.slot is not None and self.slot.owner is None:
            raise InterfaceError("the connection has gone back to the pool")

    def hold_for(self, wrapper: Any) -> None:
        """Remember which wrapper of Django's works with this connection, None when it goes back."""
        self.wrapper = wrapper and weakref.ref(wrapper)


@contextmanager
def timed_by(slot: Slot | None) -> Iterator[None]:
    """Let the keeper see since when a call has been running; explains the error when the keeper cut it off."""
    if slot is None:
        yield
        return
    outer, began = slot.since, monotonic()
    slot.since = began
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        _explain(slot, began, error)
        raise
    finally:
        slot.since = outer


def _explain(slot: Slot, began: float, error: Exception) -> None:
    if slot.doom in _CAUSES:
        taken = monotonic() - began
        text = f"the connection pool cut the statement off after {taken:.1f} s: {_CAUSES[slot.doom]}"
        raise type(error)(text) from error


class Watched:
    """Mix into a cursor class: notes the begin of each call, and what it does to the session."""

    lease = 0
    connection: Connection

    def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002 - psycopg2's name
        """Execute; raises InterfaceError when the connection has been given back since the cursor was made."""
        slot = self.connection.slot
        if slot is None:
            return super().execute(query, vars)  # type: ignore[misc]
        if slot.uses != self.lease or slot.owner is None:
            raise InterfaceError(_GONE)
        effects = note(slot, query, self)
        outer, limit, began = slot.since, slot.limit, monotonic()
        if effects & SEVERAL:
            slot.limit = inf
        slot.since = began
        try:
            return super().execute(query, vars)  # type: ignore[misc]
        except (OperationalError, InterfaceError) as error:
            _explain(slot, began, error)
            raise
        finally:
            slot.since, slot.limit = outer, limit

    def executemany(self, query: Any, vars_list: Any) -> Any:
        """Execute for each, and time each by itself, as the server does; see execute()."""
        slot = self.connection.slot
        paced = vars_list if slot is None else _paced(slot, vars_list)
        return self._guarded(super().executemany, query, paced, sql=query)  # type: ignore[misc]

    def callproc(self, procname: Any, *args: Any) -> Any:
        """Call a function; see execute()."""
        return self._guarded(super().callproc, procname, *args, sql=f"{procname}(")  # type: ignore[misc]

    def copy_from(self, *args: Any, **kwargs: Any) -> Any:
        """Copy; see execute()."""
        return self._guarded(super().copy_from, *args, **kwargs)  # type: ignore[misc]

    def copy_to(self, *args: Any, **kwargs: Any) -> Any:
        """Copy; see execute()."""
        return self._guarded(super().copy_to, *args, **kwargs)  # type: ignore[misc]

    def copy_expert(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        """Copy; see execute()."""
        return self._guarded(super().copy_expert, sql, *args, **kwargs)  # type: ignore[misc]

    def _guarded(self, call: Callable[..., Result], *args: Any, sql: Any = None, **kwargs: Any) -> Result:
        slot = self.connection.slot
        if slot is not None and (slot.uses != self.lease or slot.owner is None):
            raise InterfaceError(_GONE)
        if slot is not None and sql is not None:
            note(slot, sql, self)
        with timed_by(slot):
            return call(*args, **kwargs)


class WatchedNamed(Watched):
    """Mix into the class of a server-side cursor: its fetches are statements too, and left open it stays behind."""

    is_open = False

    def execute(self, query: Any, vars: Any = None) -> Any:  # noqa: A002 - psycopg2's name
        """Declare the cursor on the server."""
        result = super().execute(query, vars)
        self.is_open = True
        self.connection.open_cursors += 1
        return result

    def close(self) -> None:
        """Close the cursor on the server."""
        slot = self.connection.slot
        if slot is not None and (slot.uses != self.lease or slot.owner is None):
            return  # the session was reset when it went back
        super().close()  # type: ignore[misc]
        if self.is_open:
            self.is_open = False
            self.connection.open_cursors -= 1

    def fetchone(self) -> Any:
        """Fetch; see Watched.execute()."""
        return self._guarded(super().fetchone)  # type: ignore[misc]

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """Fetch; see Watched.execute()."""
        return self._guarded(super().fetchmany, *args, **kwargs)  # type: ignore[misc]

    def fetchall(self) -> Any:
        """Fetch; see Watched.execute()."""
        return self._guarded(super().fetchall)  # type: ignore[misc]

    def scroll(self, *args: Any, **kwargs: Any) -> Any:
        """Move; see Watched.execute()."""
        return self._guarded(super().scroll, *args, **kwargs)  # type: ignore[misc]

    def __next__(self) -> Any:
        """Fetch; see Watched.execute()."""
        return self._guarded(super().__next__)  # type: ignore[misc]


@lru_cache(maxsize=64)
def _watched(base: type, is_named: bool) -> type:
    mixin = WatchedNamed if is_named else Watched
    return type(base.__name__, (mixin, base), {"__module__": base.__module__})


def _paced(slot: Slot, rows: Iterable[Any]) -> Iterator[Any]:
    """Yield rows; the time that it takes to make one is nobody's statement."""
    rows = iter(rows)
    while True:
        slot.since = 0.0
        try:
            row = next(rows)
        except StopIteration:
            return
        slot.since = monotonic()
        yield row


def note(slot: Slot, query: Any, cursor: Any) -> int:
    """Mark the slot when a statement changes the session, take off the limit that it may lift; return its effects."""
    text = query if isinstance(query, str) else _text_of(query, cursor)
    effects = effects_of(text)
    if effects & CHANGES:
        slot.is_dirty = True
    if effects & LIMITS:
        # Whoever sets a time limit knows better than ours; the next holder gets it again.
        slot.is_dirty = True
        slot.limit = inf
    return effects


def _text_of(query: Any, cursor: Any) -> str:
    if isinstance(query, bytes):
        return query.decode(errors="replace")
    return str(query.as_string(cursor)) if hasattr(query, "as_string") else str(query)
