"""Say in each vendor's SQL what the table level asks of its table.

A row: key, value (an empty one is dead), expires_ms (by the database's clock, NULL for never), and stamp, by which
whoever orders the writes lets a late one be recognised (NULL for none).
"""

# ruff: noqa: S608 - the texts are put together of constants, placeholders and quoted names

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.utils import truncate_name

# A dead row, or a stamped one that has expired, stays for so long: the stamp that it keeps is what stops a late writer.
BURIED_MS = 60_000
# (key, value, milliseconds to live or None)
Item = tuple[bytes, bytes, int | None]


class Dialect:
    """Execute the statements on a cursor in autocommit; this base holds what the vendors share.

    Statements on several rows take them in the order of their keys, and expect them sorted: two that lock the same rows
    in different orders would be a deadlock.
    """

    quote = '"'
    place = "%s"
    binary = "%s"
    empty = "''"
    begin = "BEGIN"
    lock = ""
    now = ""
    # Has an expression computed once for the whole statement, so that an index can be used.
    once = "{}"
    on_conflict = "ON CONFLICT ({key}) DO UPDATE SET"
    new = "excluded.{column}"
    # The most rows of one statement; its parameters are four times as many.
    rows_at_once = 500
    create: tuple[str, ...] = ()

    def __init__(self, table: str) -> None:
        self.given, self.name = table, self._quoted(table)
        # The drivers look for their placeholders in the whole text.
        self.table = self.name.replace("%", "%%") if self.place == "%s" else self.name
        self.key = self._quoted("key")
        # Not `value <> ''`: in SQLite no BLOB equals a text. length() reads no value that is stored out of line.
        self.alive = f"length(value) > 0 AND (expires_ms IS NULL OR expires_ms > {self.now})"
        self._row = f"({self.binary}, {self.binary}, {self.now} + {self.place}, {self.place})"

    def _quoted(self, name: str) -> str:
        return self.quote + name.replace(self.quote, self.quote * 2) + self.quote

    def _keys(self, keys: Sequence[bytes]) -> str:
        return f"{self.key} IN ({', '.join([self.binary] * len(keys))})"

    # --- reading --------------------------------------------------------------------------------------------------

    def get(self, cursor: Any, keys: Sequence[bytes]) -> list[tuple[Any, Any, int | None]]:
        """Return (key, value, milliseconds left or None) of the live rows."""
        sql = f"SELECT {self.key}, value, expires_ms - {self.now} FROM {self.table} WHERE {self._keys(keys)}"
        cursor.execute(f"{sql} AND {self.alive}", keys)
        return cursor.fetchall()  # type: ignore[no-any-return]

    def page(self, cursor: Any, first: bytes, end: bytes | None, limit: int) -> list[bytes]:
        """Return the first `limit` keys from `first` up to, but without, `end`, sorted."""
        bounds, places = [first], f"{self.key} >= {self.binary}"
        if end is not None:
            bounds, places = [first, end], f"{places} AND {self.key} < {self.binary}"
        sql = f"SELECT {self.key} FROM {self.table} WHERE {places} ORDER BY {self.key} LIMIT {self.place}"
        cursor.execute(sql, [*bounds, limit])
        return [bytes(key) for (key,) in cursor.fetchall()]

    def size(self, cursor: Any) -> tuple[int, int]:
        """Return how many rows and bytes there are, as far as that is known cheaply."""
        cursor.execute(*self._size())
        rows, size_bytes = cursor.fetchone() or (0, 0)
        return int(rows or 0), int(size_bytes or 0)

    def _size(self) -> tuple[str, list[Any]]:
        """Read the head of every row, but no large value."""
        return f"SELECT count(*), sum(length({self.key}) + length(value)) FROM {self.table}", []

    # --- writing --------------------------------------------------------------------------------------------------

    def set(self, cursor: Any, items: Sequence[Item], stamp: int | None) -> None:
        """Insert or replace rows."""
        cursor.execute(*self._upsert(items, stamp, self._plain() if stamp is None else self._stamped()))

    def _upsert(self, items: Sequence[Item], stamp: int | None, order: str) -> tuple[str, list[Any]]:
        sql, parameters = self._insert("INSERT INTO", items, stamp)
        return f"{sql} {self.on_conflict.format(key=self.key)} {order}", parameters

    def _insert(self, verb: str, items: Sequence[Item], stamp: int | None) -> tuple[str, list[Any]]:
        columns, rows = f"{self.key}, value, expires_ms, stamp", ", ".join([self._row] * len(items))
        return f"{verb} {self.table} ({columns}) VALUES {rows}", [part for item in items for part in (*item, stamp)]

    def _new(self, column: str) -> str:
        return self.new.format(column=column)

    def _plain(self) -> str:
        """Keep the stamp of the row that is there: what is late for that row stays late."""
        return f"value = {self._new('value')}, expires_ms = {self._new('expires_ms')}"

    def _takes(self) -> str:
        return f"{self._new('stamp')} > coalesce({self.table}.stamp, 0)"

    def _stamped(self) -> str:
        """Take the place of what is older; bury what is not, for nobody knows which of the two is the newer value.

        The stamp comes last: MySQL assigns from left to right, and what follows sees what was assigned.
        """
        takes, value, expires_ms = self._takes(), self._new("value"), self._new("expires_ms")
        return (
            f"value = CASE WHEN {takes} THEN {value} ELSE {self.empty} END, "
            f"expires_ms = CASE WHEN {takes} THEN {expires_ms} ELSE {self.now} + {BURIED_MS} END, {self._stamp()}"
        )

    def _stamp(self) -> str:
        return f"stamp = CASE WHEN {self._takes()} THEN {self._new('stamp')} ELSE {self.table}.stamp END"

    def add(self, cursor: Any, item: Item) -> bool:
        """Insert a row where none is alive, in one statement; tell whether."""
        sql, parameters = self._upsert([item], None, self._plain())
        table = self.table
        cursor.execute(f"{sql} WHERE length({table}.value) = 0 OR {table}.expires_ms <= {self.now}", parameters)
        return bool(cursor.rowcount == 1)

    def touch(self, cursor: Any, key: bytes, ttl_ms: int | None) -> bool:
        """Let a live row live for `ttl_ms` from now; tell whether there is one."""
        sql = f"UPDATE {self.table} SET expires_ms = {self.now} + {self.place} WHERE {self._keys([key])}"
        cursor.execute(f"{sql} AND {self.alive}", [ttl_ms, key])
        return bool(cursor.rowcount == 1)

    def lock_value(self, cursor: Any, key: bytes) -> bytes | None:
        """Begin a transaction that keeps others from a row, and return its value, None when none is alive."""
        cursor.execute(self.begin)
        cursor.execute(f"SELECT value FROM {self.table} WHERE {self._keys([key])} AND {self.alive}{self.lock}", [key])
        row = cursor.fetchone()
        return None if row is None else bytes(row[0])

    def put_value(self, cursor: Any, key: bytes, value: bytes) -> None:
        """Replace the value of a row."""
        cursor.execute(f"UPDATE {self.table} SET value = {self.binary} WHERE {self._keys([key])}", [value, key])

    # --- deleting -------------------------------------------------------------------------------------------------

    def delete(self, cursor: Any, keys: Sequence[bytes]) -> int:
        """Delete rows; return how many of them were alive. In a transaction: not all vendors know RETURNING."""
        cursor.execute(self.begin)
        cursor.execute(self._count(keys) + self.lock, keys)
        (count,) = cursor.fetchone()
        cursor.execute(f"DELETE FROM {self.table} WHERE {self._keys(keys)}", keys)
        cursor.execute("COMMIT")
        return int(count)

    def bury(self, cursor: Any, keys: Sequence[bytes], stamp: int) -> int:
        """Put dead rows in the place of all, which stop late writers; return how many were alive just before.

        They are counted without a lock, which would take the rows that exist before those that do not: a deadlock.
        """
        cursor.execute(self._count(keys), keys)
        (count,) = cursor.fetchone()
        cursor.execute(*self._burial(keys, stamp))
        return int(count)

    def _count(self, keys: Sequence[bytes]) -> str:
        return f"SELECT count(*) FROM {self.table} WHERE {self._keys(keys)} AND {self.alive}"

    def _burial(self, keys: Sequence[bytes], stamp: int) -> tuple[str, list[Any]]:
        return self._upsert([(key, b"", BURIED_MS) for key in keys], stamp, f"{self._plain()}, {self._stamp()}")

    def sweep(self, cursor: Any, limit: int) -> int:
        """Delete at most `limit` rows that nobody can read and that stop nobody."""
        cursor.execute(self._sweep(), [limit])
        return int(cursor.rowcount)

    def _sweep(self) -> str:
        return f"DELETE FROM {self.table} WHERE {self.key} IN (SELECT {self.key} FROM {self.table} {self._swept()})"

    def _swept(self) -> str:
        stops_nobody = f"coalesce(stamp, 0) = 0 OR length(value) = 0 OR expires_ms <= {self.now} - {BURIED_MS}"
        where = f"expires_ms <= {self.once.format(self.now)} AND ({stops_nobody})"
        return f"WHERE {where} ORDER BY expires_ms LIMIT {self.place}"

    def create_table(self, cursor: Any) -> None:
        """Create the table and its index where they are missing."""
        index = self._quoted(truncate_name(f"{self.given}_expires", 60))  # PostgreSQL takes 63 bytes
        for sql in self.create:
            cursor.execute(sql.format(table=self.name, key=self.key, index=index))


class PostgreSQL(Dialect):
    """Speak to PostgreSQL through psycopg2 or psycopg."""

    lock = " FOR UPDATE"
    now = "floor(date_part('epoch', clock_timestamp()) * 1000)::bigint"
    once = "(SELECT {})"
    create = (
        "CREATE UNLOGGED TABLE IF NOT EXISTS {table} ({key} bytea PRIMARY KEY, value bytea NOT NULL, "
        "expires_ms bigint, stamp bigint)",
        # The bytes come compressed, where that is worth it; PostgreSQL would try once more.
        "ALTER TABLE {table} ALTER COLUMN value SET STORAGE EXTERNAL",
        "CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_ms)",
    )

    def _size(self) -> tuple[str, list[Any]]:
        """Take the planner's estimate; a table that was never analysed has -1 rows there."""
        rows = f"CASE WHEN reltuples < 0 THEN (SELECT count(*) FROM {self.table}) ELSE reltuples::bigint END"
        return f"SELECT {rows}, pg_total_relation_size(oid) FROM pg_class WHERE oid = %s::regclass", [self.name]

    def delete(self, cursor: Any, keys: Sequence[bytes]) -> int:
        """Lock several rows in the order of their keys, then delete; count what was alive in what was deleted."""
        where = self._keys(keys)
        if len(keys) > 1:
            ordered = f"SELECT {self.key} FROM {self.table} WHERE {where} ORDER BY {self.key}{self.lock}"
            where = f"{self.key} = ANY(ARRAY({ordered}))"
        cursor.execute(f"DELETE FROM {self.table} WHERE {where} RETURNING {self.alive}", keys)
        return sum(is_alive for (is_alive,) in cursor.fetchall())

    def bury(self, cursor: Any, keys: Sequence[bytes], stamp: int) -> int:
        """Count and bury in one statement; both parts see the rows as they were before it."""
        sql, parameters = self._burial(keys, stamp)
        cursor.execute(f"WITH buried AS ({sql}) {self._count(keys)}", [*parameters, *keys])
        return int(cursor.fetchone()[0])

    def _sweep(self) -> str:
        """Pass by what others hold. An array: a subquery in IN may be run again, each time with a LIMIT of its own."""
        keys = f"ARRAY(SELECT {self.key} FROM {self.table} {self._swept()} FOR UPDATE SKIP LOCKED)"
        return f"DELETE FROM {self.table} WHERE {self.key} = ANY({keys})"


class SQLite(Dialect):
    """Speak to SQLite 3.31 and later: no RETURNING, no 'subsec', and 999 parameters a statement."""

    place = binary = "?"
    empty = "x''"
    begin = "BEGIN IMMEDIATE"
    now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    rows_at_once = 200
    create = (
        "CREATE TABLE IF NOT EXISTS {table} ({key} BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL, "
        "expires_ms INTEGER, stamp INTEGER)",
        "CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_ms)",
    )


class MySQL(Dialect):
    """Speak to MySQL and MariaDB, on InnoDB."""

    quote = "`"
    binary = "_binary %s"
    empty = "x''"
    begin = "START TRANSACTION"
    lock = " FOR UPDATE"
    # Not UNIX_TIMESTAMP(), which goes through the session's time zone and an hour back with it once a year.
    now = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"
    # The row alias that MySQL prefers to VALUES() is unknown to MariaDB.
    on_conflict = "ON DUPLICATE KEY UPDATE"
    new = "VALUES({column})"
    create = (
        "CREATE TABLE IF NOT EXISTS {table} ({key} VARBINARY(512) NOT NULL PRIMARY KEY, value LONGBLOB NOT NULL, "
        "expires_ms BIGINT NULL, stamp BIGINT NULL, INDEX {index} (expires_ms)) ENGINE=InnoDB",
    )

    def _size(self) -> tuple[str, list[Any]]:
        columns, here = "table_rows, data_length + index_length", "table_schema = DATABASE() AND table_name = %s"
        return f"SELECT {columns} FROM information_schema.tables WHERE {here}", [self.given]

    def add(self, cursor: Any, item: Item) -> bool:
        """Revive a dead row, else insert one; each statement is atomic, and only one of two callers can succeed.

        MySQL's upsert has no WHERE, and its count of rows tells nothing apart under Django's FOUND_ROWS.
        """
        key, value, ttl_ms = item
        changes = f"value = {self.binary}, expires_ms = {self.now} + {self.place}"
        where = f"{self._keys([key])} AND (length(value) = 0 OR expires_ms <= {self.now})"
        cursor.execute(f"UPDATE {self.table} SET {changes} WHERE {where}", [value, ttl_ms, key])
        if cursor.rowcount != 1:
            cursor.execute(*self._insert("INSERT IGNORE INTO", [item], None))
        return bool(cursor.rowcount == 1)

    def _sweep(self) -> str:
        """Delete without a subquery, which may not read the table that is written."""
        return f"DELETE FROM {self.table} {self._swept()}"


def dialect_of(vendor: str, table: str) -> Dialect:
    """Return how to speak to a database of `vendor` about `table`; ImproperlyConfigured for an unknown one."""
    try:
        return _DIALECTS[vendor](table)
    except KeyError:
        known = ", ".join(_DIALECTS)
        raise ImproperlyConfigured(f"cache table {table!r}: no SQL for {vendor!r}; use one of {known}") from None


_DIALECTS: dict[str, type[Dialect]] = {"postgresql": PostgreSQL, "sqlite": SQLite, "mysql": MySQL}
