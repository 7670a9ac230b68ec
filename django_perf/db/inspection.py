"""Look into a monitored database on a connection of our own: read only, for a short time, and measured by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..exceptions import Unexplainable
from ..metrics.recorder import recorder

# Milliseconds for one statement, for a lock, and for our own code between two statements.
_LIMITS = {"statement_timeout": 2_000, "lock_timeout": 500, "idle_in_transaction_session_timeout": 10_000}
_CONNECT_S = 3


@contextmanager
def reading(alias: str) -> Iterator[Any]:
    """Give a cursor of a connection that is closed afterwards, whatever happened in its transaction.

    On PostgreSQL that is READ ONLY and has time limits; a file of SQLite is opened read only. Never a connection of a
    pool, nor that of a request. Raises what the database raises, and Unexplainable for a database in memory.
    """
    own = _own(alias)
    with recorder.paused():
        try:
            if own.vendor == "postgresql":
                own.set_autocommit(False)
            with own.cursor() as cursor:
                _guard(own.vendor, cursor)
                yield cursor
        finally:
            own.close()


def _own(alias: str) -> BaseDatabaseWrapper:
    own = connections[alias].copy()
    options = dict(own.settings_dict.get("OPTIONS") or {})
    if own.vendor == "postgresql":
        options = {"connect_timeout": _CONNECT_S, **options, "pool": False}
    elif own.vendor == "sqlite":
        name = str(own.settings_dict["NAME"])
        if ":memory:" in name or "mode=memory" in name:
            raise Unexplainable("a database in memory can be read by its own process only")
        own.settings_dict["NAME"] = name if name.startswith("file:") else f"file:{quote(name)}?mode=ro"
        options.pop("init_command", None)  # may write
    own.settings_dict["OPTIONS"] = options
    return own


def _guard(vendor: str, cursor: Any) -> None:
    if vendor == "postgresql":
        cursor.execute("SET TRANSACTION READ ONLY")
        for name, milliseconds in _LIMITS.items():
            cursor.execute(f"SET LOCAL {name} = {milliseconds}")
    elif vendor == "sqlite":  # also where NAME is an address that says how to open it
        cursor.execute("PRAGMA query_only = ON")
