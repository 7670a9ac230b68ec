"""Measure what a connection does: put our cursors in the place of Django's, and a timer before commit and rollback."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.backends import utils
from django.db.backends.base.base import BaseDatabaseWrapper

from ..metrics.guard import count_fault
from .cursor import measured
from .shapes import dialect_of, shapes_of
from .transactions import TransactionTimer

# Says, on a connection, that this has been done: once, for whoever takes our place there calls us.
MARK = "_django_perf"


def install(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Instrument `connection`, once; receiver of connection_created.

    On the object, not on its class: what others have put there, before or later, stays and is called.
    """
    try:
        if MARK not in vars(connection):
            _install(connection)
    except Exception as fault:
        count_fault("new connection", fault)


def _install(connection: BaseDatabaseWrapper) -> None:
    wanted: dict[str, Any] = {
        "make_cursor": _make(connection, "make_cursor", utils.CursorWrapper),
        "make_debug_cursor": _make(connection, "make_debug_cursor", utils.CursorDebugWrapper),
    }
    timer = TransactionTimer(connection, shapes_of(connection.alias, dialect_of(connection)))
    wanted |= {"set_autocommit": timer.set_autocommit, "commit": timer.commit, "rollback": timer.rollback}
    vars(connection).update(wanted, **{MARK: tuple(wanted)})


def _make(connection: BaseDatabaseWrapper, name: str, base: type) -> Callable[[Any], Any]:
    """Return what makes the cursors of a connection: in one step where Django's own would, else out of what it gets."""
    if getattr(type(connection), name) is getattr(BaseDatabaseWrapper, name) and name not in vars(connection):
        return partial(measured(base, connection.alias, dialect_of(connection)), db=connection)
    return partial(_measure, getattr(connection, name), connection.alias, dialect_of(connection))


def _measure(make: Any, alias: str, dialect: str, cursor: Any) -> Any:
    made = make(cursor)
    try:
        base: type[Any] = type(made)
        made.__class__ = measured(base, alias, dialect)  # type: ignore[arg-type]  # a class can be hashed
    except Exception as fault:  # a class of C, or one with slots
        count_fault("new cursor", fault)
    return made
