"""Remember the shape of each SQL text: normalising takes a hundred microseconds, looking it up a fifth of one."""

from __future__ import annotations

from typing import Any

from ..metrics.catalog import ENDPOINT_QUERY
from ..metrics.statement import Shape
from .fingerprint import DIALECTS, normalise

_MAX_REMEMBERED = 2_000
_LONG = 2_000


class Shapes:
    """Hold the shape of each SQL text seen on an alias.

    `known` is dropped whole when it is full (SQL with literals in it never repeats), so a stranger's texts cost time,
    not memory. Safe between threads: single dict operations.
    """

    def __init__(self, alias: str, dialect: str) -> None:
        self.alias = alias
        self.dialect = dialect
        self.known: dict[str | tuple[int, int], Shape] = {}
        # One object for each shape, however many texts have it: repetitions are told by it.
        self._named: dict[str, Shape] = {}

    def find(self, sql: Any) -> Shape:
        """Return the shape of a statement; psycopg's SQL objects and bytes are named by their type."""
        if not isinstance(sql, str):
            return self.named(f"({type(sql).__name__})")
        # A long text is remembered by its (salted, 64 bit) hash: 2,000 texts of a megabyte must not stay in memory.
        known_as = sql if len(sql) <= _LONG else (len(sql), hash(sql))
        return self.known.get(known_as) or self._learn(known_as, sql)

    def named(self, name: str) -> Shape:
        """Return the shape of this name: SQL without literals, or what is no SQL, as COMMIT."""
        shape = self._named.get(name)
        return shape or self._named.setdefault(name, Shape((ENDPOINT_QUERY.name, self.alias, name)))

    def _learn(self, known_as: str | tuple[int, int], sql: str) -> Shape:
        if len(self.known) >= _MAX_REMEMBERED:
            self.known.clear()
            self._named.clear()
        shape = self.known[known_as] = self.named(normalise(sql, self.dialect))
        return shape


# What a database quotes names with tells what it does not quote texts with.
_BY_QUOTE = {'"': "standard", "`": "mysql", "[": "microsoft"}


def dialect_of(connection: Any) -> str:
    """Return which SQL a connection speaks: its vendor's, or that of the backend which its own is made from."""
    vendors = (vars(base).get("vendor") for base in type(connection).__mro__)
    known = next((vendor for vendor in vendors if vendor in DIALECTS), None)
    return known or _BY_QUOTE.get(connection.ops.quote_name("name")[:1], "unknown")


_by_alias: dict[tuple[str, str], Shapes] = {}


def shapes_of(alias: str, dialect: str) -> Shapes:
    """Return what is known of an alias; all its connections share it."""
    return _by_alias.setdefault((alias, dialect), Shapes(alias, dialect))
