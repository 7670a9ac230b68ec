"""Adapt the pool to psycopg2 and PostgreSQL."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from psycopg2 import InterfaceError, OperationalError, extensions
from psycopg2.extras import register_default_jsonb

from ...exceptions import PoolError
from ..driver import Driver
from ..options import PoolOptions
from ..slot import Slot

logger = logging.getLogger("django_perf.pool")

_IDLE = extensions.TRANSACTION_STATUS_IDLE
# libpq gives no SQLSTATE for a failed connect. What is not matched (another language) is tried again in vain.
_FINAL = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist|permission denied"
    r"|unsupported startup parameter|unrecognized configuration parameter|invalid value for parameter"
    r"|invalid (?:connection option|dsn|port|sslmode)|server does not support SSL|certificate"
)
# The server cuts a statement at its timeout; the pool a moment later, when nobody answers any more.
_GRACE_S = 2.0
# How often the server looks whether the client of a running statement still exists.
_CLIENT_CHECK = "10s"
_GUARDS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_IN_MS = ", ".join(f"(extract(epoch FROM current_setting('{name}')::interval) * 1000)::bigint" for name in _GUARDS)
_FACTS = f"""
SELECT pg_backend_pid(), pg_postmaster_start_time()::text, current_setting('client_connection_check_interval', true),
current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
- coalesce(current_setting('reserved_connections', true), '0')::int, {_IN_MS}
"""
_KNOWN = """
SELECT pid FROM pg_stat_activity
WHERE pid = ANY(%s) AND (state IS NULL OR state NOT LIKE 'idle%%' OR state_change > now() - interval '400 ms')
"""


class PostgresDriver(Driver):
    """Prepare, check and clean psycopg2 connections; `configure` sets time zone and role, as Django does."""

    def __init__(
        self, options: PoolOptions, guards: dict[str, int], configure: Callable[[Any], object], isolation: int | None
    ) -> None:
        self._reset = options.reset
        self._guards = guards
        self._configure = configure
        self._isolation = isolation
        self._warned: set[str] = set()
        self.pool: Any = None

    def opened(self, slot: Slot) -> None:
        """Set up the session and verify the guards: a pooler may drop startup options in silence."""
        conn = slot.conn
        conn.autocommit = True
        if self._isolation is not None:
            conn.isolation_level = self._isolation
        # As Django does at each checkout: its JSONField decodes by itself.
        register_default_jsonb(conn_or_curs=conn, loads=lambda text: text)
        self._prepare(slot)
        slot.session = _client_side(conn)
        conn.slot, conn._pool = slot, self.pool

    def _prepare(self, slot: Slot) -> None:
        """Do on a new session, and again after DISCARD ALL, what startup options cannot."""
        self._configure(slot.conn)
        ((pid, server, client_check, self.pool.server_max, *limits),) = _rows(slot.conn, _FACTS)
        slot.facts["pid"], slot.facts["server"] = pid, server
        # Behind a pooler the pid is not that of libpq's handshake: then the server cannot be asked about it.
        slot.facts["is_direct"] = pid == slot.conn.info.backend_pid
        if client_check == "0":
            _set(slot.conn, "client_connection_check_interval", _CLIENT_CHECK, self._warned)
        found = dict(zip(_GUARDS, limits, strict=True))
        for name, wanted in self._guards.items():
            if found[name] != wanted:
                self._warn(name)
                _set(slot.conn, name, f"{wanted}ms", self._warned)
        statement_ms = self._guards.get("statement_timeout", found["statement_timeout"])
        self.pool.statement_limit = statement_ms / 1e3 + _GRACE_S if statement_ms else inf

    def _warn(self, name: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            text = "%s was given at startup and did not reach the session (a pooler?); it is set by SET instead"
            logger.warning(text, name)

    def ping(self, slot: Slot) -> None:
        """Make a round trip."""
        if not slot.conn.autocommit:
            slot.conn.autocommit = True
        _rows(slot.conn, "SELECT 1")

    def is_clean(self, slot: Slot) -> bool:
        """Tell whether nothing was left behind: no transaction, no changed session, no open cursor."""
        conn = slot.conn
        return (
            conn.get_transaction_status() == _IDLE
            and not slot.is_dirty
            and not slot.is_limited
            and not conn.open_cursors
            and conn.autocommit
            and self._reset == "dirty"
            and (conn.isolation_level, conn.readonly, conn.deferrable, conn.encoding) == slot.session
        )

    def clean(self, slot: Slot) -> bool:
        """Roll back, and reset what the session keeps."""
        conn = slot.conn
        if conn.closed:
            return False
        if conn.get_transaction_status() != _IDLE:
            extensions.connection.rollback(conn)
        conn.autocommit = True
        if callable(self._reset):
            self._reset(conn)
        is_changed = slot.is_dirty or slot.is_limited or conn.open_cursors or _client_side(conn) != slot.session
        if is_changed or self._reset == "always":
            self._discard_all(slot)
        return bool(conn.get_transaction_status() == _IDLE)

    def _discard_all(self, slot: Slot) -> None:
        conn = slot.conn
        _rows(conn, "DISCARD ALL")
        *session, encoding = slot.session
        # Twice: psycopg2 sends only what it believes to be a change.
        conn.set_session(*["DEFAULT"] * 3)
        conn.set_session(*["DEFAULT" if value is None else value for value in session])
        if conn.encoding != encoding:
            conn.set_client_encoding(encoding)
        self._prepare(slot)
        slot.is_dirty = slot.is_limited = False
        conn.open_cursors = 0
        del conn.notifies[:]

    def is_abandoned(self, slot: Slot) -> bool:
        """Tell whether the wrapper is gone, or its thread, unless threads share it (LiveServerTestCase)."""
        held_by = slot.conn.wrapper
        wrapper = held_by and held_by()
        if held_by is not None and wrapper is None:
            return True
        return super().is_abandoned(slot) and not (wrapper and wrapper.allow_thread_sharing)

    def is_final(self, error: BaseException) -> bool:
        """Tell whether connecting again is useless: wrong credentials, not a restart or a full server."""
        if isinstance(error, OperationalError):
            return bool(_FINAL.search(str(error)))
        return not isinstance(error, (InterfaceError, OSError, PoolError))

    def find_lost(self, asker: Slot, slots: Iterable[Slot]) -> list[Slot]:
        """Ask the server which of the backends are at work; an idle one never got the statement."""
        # Behind a balancer the asker may be on another server than they are.
        server = asker.facts["server"]
        own = [slot for slot in slots if slot.facts["is_direct"] and slot.facts["server"] == server]
        asked = {slot.facts["pid"]: slot for slot in own}
        known = {pid for (pid,) in _rows(asker.conn, _KNOWN, [list(asked)])} if asked else set()
        return [slot for pid, slot in asked.items() if pid not in known]


def _client_side(conn: Any) -> tuple[Any, ...]:
    """Return what psycopg2 itself keeps of a session."""
    return conn.isolation_level, conn.readonly, conn.deferrable, conn.encoding


def _rows(conn: Any, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """Execute with psycopg2's own cursor: neither watched nor of the class that the user configured."""
    with extensions.connection.cursor(conn, cursor_factory=extensions.cursor) as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def _set(conn: Any, name: str, value: str, warned: set[str]) -> None:
    try:
        _rows(conn, "SELECT set_config(%s, %s, false)", [name, value])
    except OperationalError:
        raise
    except Exception as error:  # not every platform has every setting
        if name not in warned:
            warned.add(name)
            logger.warning("%s cannot be set: %s", name, type(error).__name__)
