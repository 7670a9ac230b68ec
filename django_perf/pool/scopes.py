"""Hand a connection back for a while, or bound the time of a few statements, from the code of a view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|min|h)", re.ASCII)
_GRACE_S = 2.0


@contextmanager
def released(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Give the thread's connection back to the pool while the block does something slow without the database.

    The next query, in the block or after it, takes one again. Without a pool nothing happens. Raises
    TransactionManagementError inside atomic(), where the connection holds the transaction; the blocks that TestCase
    opens around a test are tolerated, and the connection stays.
    """
    wrapper = connections[using]
    if getattr(wrapper, "pool", None) is not None and not _is_within_test(wrapper):
        if wrapper.in_atomic_block or (wrapper.connection is not None and not wrapper.get_autocommit()):
            raise TransactionManagementError(
                f"released({using!r}) inside a transaction: its connection cannot be given back before it ends; "
                "move the slow work out of atomic()"
            )
        wrapper.close()
    yield


def _is_within_test(wrapper: BaseDatabaseWrapper) -> bool:
    """Tell whether all open blocks are those of TestCase."""
    blocks: list[Any] = wrapper.atomic_blocks
    return bool(blocks) and all(block._from_testcase for block in blocks)


@contextmanager
def statement_timeout(limit: str | float, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Bound each statement of the block to `limit`: seconds, or text such as "500ms", "2s", "5min".

    Inside atomic() by SET LOCAL, which ends with the transaction at the latest; otherwise set, and restored at the
    end. PostgreSQL only (NotSupportedError). Raises ValueError for a limit that is no time above 0.
    """
    wrapper = connections[using]
    if wrapper.vendor != "postgresql":
        raise NotSupportedError(f"statement_timeout() needs PostgreSQL; {using!r} is {wrapper.vendor}")
    seconds = _seconds(limit)
    wrapper.ensure_connection()
    is_local = wrapper.in_atomic_block
    before = _change(wrapper, f"{round(seconds * 1e3)}ms", is_local)
    noted = _note(wrapper, (seconds + _GRACE_S, True))
    try:
        yield
    finally:
        # In a failed transaction nothing can be set, and its end undoes SET LOCAL by itself.
        if wrapper.connection is not None and not _has_failed(wrapper):
            _change(wrapper, before, is_local)
            _note(wrapper, noted)


def _seconds(limit: str | float) -> float:
    match = _TIME.fullmatch(limit) if isinstance(limit, str) else None
    seconds = float(match[1]) * _UNITS[match[2]] if match else limit
    if isinstance(seconds, (str, bool)) or not 0.001 <= seconds <= 2_000_000:
        raise ValueError(f"statement_timeout({limit!r}): write seconds, or a text such as '500ms', '2s' or '5min'")
    return seconds


def _change(wrapper: BaseDatabaseWrapper, value: str, is_local: bool) -> str:
    """Set the limit on the server and return the one before; the pool is not to take it for the user's doing."""
    slot = getattr(wrapper.connection, "slot", None)
    noted = (slot.is_dirty, slot.limit) if slot is not None else None
    with wrapper.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        (before,) = cursor.fetchone()
        cursor.execute("SELECT set_config('statement_timeout', %s, %s)", [value, is_local])
    if slot is not None and noted is not None:
        slot.is_dirty, slot.limit = noted
    return str(before)


def _note(wrapper: BaseDatabaseWrapper, new: tuple[float, bool]) -> tuple[float, bool]:
    """Tell the pool the limit, and whether it is one of ours; return what it knew before."""
    slot = getattr(wrapper.connection, "slot", None)
    if slot is None:
        return new
    known = slot.limit, slot.is_limited
    slot.limit, slot.is_limited = new
    return known


def _has_failed(wrapper: BaseDatabaseWrapper) -> bool:
    transaction_failed = 3  # libpq: PQTRANS_INERROR
    status = wrapper.connection.get_transaction_status()
    return wrapper.needs_rollback or status >= transaction_failed
