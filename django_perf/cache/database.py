"""Keep entries in a table of the site's database: the level that outlives Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from .dedicated import DedicatedConnection, LevelBusy
from .dialects import Dialect, Item, dialect_of
from .keys import from_bytes, to_bytes

__all__ = ["DatabaseLevel", "LevelBusy", "Row"]

T = TypeVar("T")

MAX_KEY_BYTES = 512
# A statement has to end within the timeout, and the drivers send values as text of twice their size.
_BYTES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """Hold a value and what is left of its life by the database's clock, None for ever."""

    value: bytes
    ttl_ms: int | None


class DatabaseLevel:
    """Read and write rows on a connection of its own; thread-safe and fork-safe.

    Every method may raise Django's database errors, for a missing table too; LevelBusy when another thread has kept the
    connection for `timeout` seconds; ValueError for a key of more than 512 bytes. No value may be empty.

    Stamps come from whoever orders the writes. A value that is not newer than the row that it finds leaves a dead row;
    so does a stamped delete, for a minute. So whatever the order of arrival, what can be read in the end is the value
    of the highest stamp, or nothing.
    """

    def __init__(self, alias: str = "default", table: str = "django_perf_cache", timeout: float = 0.5) -> None:
        self.alias = alias
        self.table = table
        self._connection = DedicatedConnection(alias, timeout)

    @cached_property
    def _dialect(self) -> Dialect:
        return dialect_of(self._connection.vendor, self.table)

    # --- reading --------------------------------------------------------------------------------------------------

    def get_many(self, keys: Sequence[str]) -> dict[str, Row]:
        """Return the live rows among `keys`."""
        names = {to_bytes(key): key for key in keys}
        rows = [
            row for chunk in self._chunks(_checked(names)) for row in self._connection.run(self._dialect.get, chunk)
        ]  # a row may expire between its choice and the look at what is left of it
        return {
            names[bytes(key)]: Row(bytes(value), None if ttl_ms is None else max(0, ttl_ms))
            for key, value, ttl_ms in rows
        }

    def size(self) -> tuple[int, int]:
        """Return how many rows and bytes there are: the server's estimate, where it keeps one."""
        return self._connection.run(self._dialect.size)

    # --- writing --------------------------------------------------------------------------------------------------

    def set_many(self, items: Sequence[tuple[str, bytes, int | None]], stamp: int | None = None) -> None:
        """Store (key, value, milliseconds to live or None for ever), with the stamp of the write if it has one."""
        last = {to_bytes(key): (value, ttl_ms) for key, value, ttl_ms in items}
        rows = [(key, *last[key]) for key in _checked(last)]
        for chunk in self._chunks(rows, _row_bytes):
            self._connection.run(self._dialect.set, chunk, stamp or None)

    def add(self, key: str, value: bytes, ttl_ms: int | None) -> bool:
        """Store a value where none is alive; tell whether. Of any number of callers at most one succeeds."""
        return self._connection.run_once(self._dialect.add, (_one(key), value, ttl_ms))

    def change(self, key: str, change: Callable[[bytes], bytes]) -> bytes | None:
        """Replace a live value by what `change` makes of it, while nobody else can; return that, None without one.

        The row keeps its expiry. An exception of `change`, which must not use this level, leaves it as it was.
        """
        new, error = self._connection.run_once(_changed, self._dialect, _one(key), change)
        if error is not None:
            raise error
        return new

    def touch(self, key: str, ttl_ms: int | None) -> bool:
        """Let a live row live for `ttl_ms` from now; tell whether there is one."""
        return self._connection.run(self._dialect.touch, _one(key), ttl_ms)

    # --- deleting -------------------------------------------------------------------------------------------------

    def delete_many(self, keys: Iterable[str], stamp: int | None = None) -> int:
        """Delete rows; return how many of them were alive. With a stamp, stop what is older and still to come."""
        return self._delete(_checked({to_bytes(key) for key in keys}), stamp)

    def _delete(self, keys: Sequence[bytes], stamp: int | None = None) -> int:
        if stamp:
            return sum(self._connection.run(self._dialect.bury, chunk, stamp) for chunk in self._chunks(keys))
        return sum(self._connection.run(self._dialect.delete, chunk) for chunk in self._chunks(keys))

    def delete_prefix(self, prefix: str, matches: Callable[[str], bool], limit: int = 1000) -> int:
        """Delete the rows whose key begins with `prefix` and `matches`, looking at `limit` keys at a time.

        Returns how many of them were alive. Rows that come meanwhile may stay.
        """
        first, deleted = to_bytes(prefix), 0
        end = successor(first)
        while page := self._connection.run(self._dialect.page, first, end, limit):
            deleted += self._delete([key for key in page if matches(from_bytes(key))])
            first = page[-1] + b"\0"
        return deleted

    def sweep(self, limit: int = 1000) -> int:
        """Delete at most `limit` rows that have expired; return how many. A stamp is kept for a minute more."""
        return self._connection.run(self._dialect.sweep, limit)

    # --- the table ------------------------------------------------------------------------------------------------

    def create_table(self) -> None:
        """Create the table where it is missing."""
        self._connection.run(self._dialect.create_table)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def _chunks(self, rows: Sequence[T], weigh: Callable[[T], int] = lambda row: 0) -> Iterator[list[T]]:
        """Cut `rows` into what fits into one statement."""
        chunk: list[T] = []
        weight = 0
        for row in rows:
            weight += weigh(row)
            if chunk and (len(chunk) == self._dialect.rows_at_once or weight > _BYTES_AT_ONCE):
                yield chunk
                chunk, weight = [], weigh(row)
            chunk.append(row)
        if chunk:
            yield chunk


def successor(prefix: bytes) -> bytes | None:
    """Return the first bytes after all that begin with `prefix`, None when nothing comes after them."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def _checked(keys: Iterable[bytes]) -> list[bytes]:
    """Return keys in the order in which statements lock rows; MySQL would cut a longer one off, and find another's."""
    for key in keys:
        if len(key) > MAX_KEY_BYTES:
            raise ValueError(f"cache table: key {key!r} has {len(key)} bytes, more than {MAX_KEY_BYTES}")
    return sorted(keys)


def _one(key: str) -> bytes:
    return _checked([to_bytes(key)])[0]


def _row_bytes(item: Item) -> int:
    return len(item[1])


def _changed(
    cursor: Any, dialect: Dialect, key: bytes, change: Callable[[bytes], bytes]
) -> tuple[bytes | None, BaseException | None]:
    """Change a value in a transaction; an error of `change` is returned, for it says nothing about the connection."""
    old = dialect.lock_value(cursor, key)
    try:
        new = None if old is None else change(old)
    except BaseException as error:
        cursor.execute("ROLLBACK")
        return None, error
    if new is not None:
        dialect.put_value(cursor, key, new)
    cursor.execute("COMMIT")
    return new, None
