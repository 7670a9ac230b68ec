"""Ask the catalogues of a PostgreSQL server; each question by itself, so that one that fails costs no other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import Error as DatabaseError

from ...metrics.names import clean
from ..errors import code_of
from ..fingerprint import normalise
from ..inspection import reading
from . import questions

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Server:
    """Hold what the server says of itself and of this database, since its statistics were reset."""

    version: str
    user: str
    hit_ratio: float | None
    blocks_read: int
    connections: int
    max_connections: int
    deadlocks: int
    temp_bytes: int
    bytes: int
    stats_days: float | None
    wraparound: float
    can_see_all: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Hold one table: rows by the planner's estimate, days since it was vacuumed and analysed (None for never)."""

    name: str
    rows: float
    bytes: int
    seq_scans: int
    rows_per_scan: float
    index_scans: int
    dead_rows: int
    vacuum_days: float | None
    analyze_days: float | None


@dataclass(frozen=True, slots=True)
class Index:
    """Hold one index; `columns` in order, "" for an expression; `twin` is another that does all that it does.

    `quoted` is its name with its schema, as SQL has it; one that `is_constraint` goes with its constraint only.
    """

    table: str
    name: str
    columns: tuple[str, ...]
    bytes: int
    scans: int
    is_unique: bool
    is_valid: bool
    rows: float
    twin: str | None
    quoted: str
    is_constraint: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Hold a foreign key whose columns no index begins with."""

    table: str
    columns: tuple[str, ...]
    target: str
    rows: float


@dataclass(frozen=True, slots=True)
class Session:
    """Hold one session that does something; `sql` is the shape of its statement, for the text holds values."""

    pid: int
    user: str
    application: str
    state: str
    transaction_s: float | None
    state_s: float | None
    waits_for: str
    blocked_by: tuple[int, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """Hold a sequence and the part of its numbers that is used up; the column's type may end earlier than it."""

    name: str
    last: int
    used: float


@dataclass(frozen=True, slots=True)
class ServerStatement:
    """Hold what pg_stat_statements counts of one shape since its reset."""

    sql: str
    calls: int
    total_ms: float
    mean_ms: float
    rows: int
    hit_ratio: float | None


@dataclass(slots=True)
class Facts:
    """Hold all answers of one database; `unanswered` has a code for each question that failed.

    `has_statements` tells whether pg_stat_statements is installed.
    """

    alias: str
    server: Server | None = None
    tables: list[Table] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)
    statements: list[ServerStatement] = field(default_factory=list)
    has_statements: bool = False
    unanswered: dict[str, str] = field(default_factory=dict)


def facts(alias: str) -> Facts:
    """Ask everything; a server that cannot be reached is the one question that failed. Never raises for the database.

    Takes a connection of its own for as long as it lasts: some milliseconds, a few seconds at most.
    """
    found = Facts(alias)
    try:
        with reading(alias) as cursor:
            for name, ask in _QUESTIONS.items():
                _ask(cursor, found, name, ask)
    except DatabaseError as error:
        found.unanswered["server"] = code_of(error)
    return found


def _ask(cursor: Any, found: Facts, name: str, ask: Callable[[Any, Facts], None]) -> None:
    cursor.execute("SAVEPOINT django_perf_question")
    try:
        ask(cursor, found)
    except DatabaseError as error:
        found.unanswered[name] = code_of(error)
        with suppress(DatabaseError):
            cursor.execute("ROLLBACK TO SAVEPOINT django_perf_question")


def _named(make: Callable[..., Row]) -> Callable[..., Row]:
    """Have names made safe to show: a catalogue takes any character in one."""
    return lambda *row: make(*map(_safe, row))


def _safe(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_safe, value))
    return clean(value) if isinstance(value, str) else value


def _rows(cursor: Any, sql: str, make: Callable[..., Row]) -> list[Row]:
    cursor.execute(sql)
    return [make(*row) for row in cursor.fetchall()]


def _ask_server(cursor: Any, found: Facts) -> None:
    (found.server,) = _rows(cursor, questions.SERVER, _named(Server))


def _ask_tables(cursor: Any, found: Facts) -> None:
    found.tables = _rows(cursor, questions.TABLES, _named(Table))


def _ask_indexes(cursor: Any, found: Facts) -> None:
    found.indexes = _rows(cursor, questions.INDEXES, _named(Index))


def _ask_foreign_keys(cursor: Any, found: Facts) -> None:
    found.foreign_keys = _rows(cursor, questions.FOREIGN_KEYS, _named(ForeignKey))


def _ask_sessions(cursor: Any, found: Facts) -> None:
    found.sessions = _rows(cursor, questions.SESSIONS, _session)


def _session(*row: Any) -> Session:
    """Keep the shape of the statement before anything else sees the row: its text holds values."""
    values: tuple[Any, ...] = (*map(_safe, row[:8]), normalise(row[8], "postgresql"))
    return Session(*values)


def _ask_sequences(cursor: Any, found: Facts) -> None:
    found.sequences = _rows(cursor, questions.SEQUENCES, _named(Sequence))


def _ask_statements(cursor: Any, found: Facts) -> None:
    cursor.execute(questions.HAS_STATEMENTS)
    found.has_statements = cursor.fetchone()[0]
    if found.has_statements:
        found.statements = _merged(_rows(cursor, questions.STATEMENTS, _statement))


def _statement(text: str, *numbers: Any) -> ServerStatement:
    return ServerStatement(normalise(text, "postgresql"), *numbers)


def _merged(rows: list[ServerStatement]) -> list[ServerStatement]:
    """Add up what the server tells apart and we do not: lists of different lengths."""
    by_shape: dict[str, ServerStatement] = {}
    for row in rows:
        known = by_shape.get(row.sql)
        if known is not None:
            calls, total = known.calls + row.calls, known.total_ms + row.total_ms
            row = ServerStatement(row.sql, calls, total, total / calls, known.rows + row.rows, known.hit_ratio)
        by_shape[row.sql] = row
    return list(by_shape.values())


_QUESTIONS: dict[str, Callable[[Any, Facts], None]] = {
    "server": _ask_server,
    "tables": _ask_tables,
    "indexes": _ask_indexes,
    "foreign_keys": _ask_foreign_keys,
    "sessions": _ask_sessions,
    "sequences": _ask_sequences,
    "statements": _ask_statements,
}
