"""Tell which index would help a step that reads a whole table; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from .plan import Table

_MAX_NAME = 30
# One part of a filter: a column, maybe cast, compared with something that is no column.
_COMPARISON = re.compile(
    r"""\(?
    (?:(?:\w+|"[^"]+")\.)? (?P<column> \w+ | "[^"]+" ) \)? (?:::[\w\s]+?(?:\[\])?)?
    \s* (?P<operator> = | <= | >= | <(?!>) | > ) \s*
    (?P<value> .+? ) \)? """,
    re.VERBOSE,
)
_SORT_KEY = re.compile(r'(?:(?:\w+|"[^"]+")\.)?(?P<column>\w+|"[^"]+")(?P<down> DESC)?(?: NULLS (?:FIRST|LAST))?')
_OTHER_COLUMN = re.compile(r'^\(?(?:\w+|"[^"]+")\.(?:\w+|"[^"]+")')


@dataclass(frozen=True, slots=True)
class Index:
    """Describe an index that is missing; a column that begins with - is sorted downwards."""

    table: Table
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return a name that Django takes: at most 30 characters, the same for the same index."""
        full = "_".join([self.table.name.rpartition(".")[2], *(column.lstrip("-") for column in self.columns), "idx"])
        if len(full) <= _MAX_NAME and full.isascii():
            return full
        digest = blake2b("\x00".join([self.table.name, *self.columns]).encode(), digest_size=3).hexdigest()
        short = re.sub(r"\W", "", full, flags=re.ASCII)[: _MAX_NAME - 11]
        return f"{short}_{digest}_idx"

    def sql(self) -> str:
        """Return the statement that makes it without blocking writers (PostgreSQL), outside of a transaction."""
        columns = ", ".join(
            f'"{column.lstrip("-")}"{" DESC" if column.startswith("-") else ""}' for column in self.columns
        )
        table = ".".join(f'"{part}"' for part in self.table.name.split("."))
        return f'CREATE INDEX CONCURRENTLY "{self.name}" ON {table} ({columns});'

    def django(self) -> str:
        """Return the line for Meta.indexes of the model, "" where the table has none."""
        if not self.table.model:
            return ""
        names = [
            ("-" if column.startswith("-") else "") + self.table.fields.get(column.lstrip("-"), column.lstrip("-"))
            for column in self.columns
        ]
        fields = ", ".join(f'"{name}"' for name in names)
        return f'models.Index(fields=[{fields}], name="{self.name}")'


def missing(table: Table, filter_: str, sort: Sequence[str] = ()) -> Index | None:
    """Return the index that a sequential scan lacks: columns compared by =, then a range or the order.

    None where no plain comparison says so, or where an index begins with these columns: then the planner knew it.
    """
    equal, ranges = _compared(filter_)
    order = _ordered(sort)
    rest = order or ranges[:1]
    columns = (*equal, *(column for column in rest if column.lstrip("-") not in equal))
    plain = tuple(column.lstrip("-") for column in columns)
    if not columns or any(tuple(known[: len(plain)]) == plain for known in table.indexes):
        return None
    return Index(table, columns)


def _compared(filter_: str) -> tuple[list[str], list[str]]:
    """Return the columns that are compared by =, and those that have a bound."""
    equal: list[str] = []
    ranges: list[str] = []
    for part in _conjuncts(filter_):
        match = _COMPARISON.fullmatch(part.strip())
        if match is None or _OTHER_COLUMN.match(match["value"]):
            continue
        target = equal if match["operator"] == "=" else ranges
        column = match["column"].strip('"')
        if column not in target:
            target.append(column)
    return equal, ranges


def _conjuncts(text: str) -> list[str]:
    """Cut "((a = $1) AND (b > $2))" at its outermost ANDs; what has an OR there is one part."""
    text = text.strip()
    while text.startswith("(") and _closes_at(text) == len(text) - 1:
        text = text[1:-1].strip()
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and text.startswith(" OR ", at):
            return []
        if depth == 0 and text.startswith(" AND ", at):
            parts.append(text[start:at])
            start = at + len(" AND ")
    return [*parts, text[start:]]


def _closes_at(text: str) -> int:
    """Return where the parenthesis that `text` begins with is closed, -1 if nowhere."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return at
    return -1


def _ordered(sort: Sequence[str]) -> list[str]:
    """Return the columns of a sort key, [] where one of them is an expression."""
    found = []
    for key in sort:
        match = _SORT_KEY.fullmatch(key)
        if match is None:
            return []
        found.append(("-" if match["down"] else "") + match["column"].strip('"'))
    return found
