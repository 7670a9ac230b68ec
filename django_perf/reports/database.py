"""Report how the monitored databases are, as they are now: PostgreSQL's own view of itself."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from ..db.fingerprint import shape_id
from ..db.health import checks
from ..db.health.checks import Vital
from ..db.health.facts import Facts, Index, ServerStatement, Session, Table, facts
from ..db.plans.models import models_by_table
from ..metrics.catalog import QUERY
from ..store.reader import Snapshot, Sum
from .report import Column, Report
from .window import Window


def inspected(snapshot: Snapshot) -> list[Facts]:
    """Return the facts of each PostgreSQL database."""
    return [facts(alias) for alias in _aliases()]


def _aliases() -> Iterator[str]:
    """Yield one alias for each database: a replica is another one, a second name for the same is not."""
    seen = set()
    for alias in connections:
        settings = connections[alias].settings_dict
        place = settings.get("HOST"), str(settings.get("PORT")), settings.get("NAME")
        if connections[alias].vendor == "postgresql" and place not in seen:
            seen.add(place)
            yield alias


def vitals(snapshot: Snapshot, window: Window) -> list[Vital]:
    """Return what there is to say of each database, the most urgent first."""
    models = models_by_table()
    found = [vital for one in snapshot.once(inspected) for vital in checks.vitals(one, models)]
    return sorted(found, key=lambda vital: checks.STATES.index(vital.state))


DATABASE = Report[Vital](
    name="database",
    title="Databases",
    order="",
    is_live=True,
    rows=vitals,
    columns=(
        Column("alias", "Database", "text", lambda row: row.alias, is_detail=True),
        Column("state", "State", "text", lambda row: row.state),
        Column("check", "Check", "text", lambda row: row.check),
        Column("what", "What", "prose", lambda row: row.what),
        Column("value", "Value", "prose", lambda row: row.value),
        Column("advice", "Advice", "prose", lambda row: row.advice),
    ),
)


def _tables(snapshot: Snapshot, window: Window) -> list[tuple[str, Table]]:
    return [(one.alias, table) for one in snapshot.once(inspected) for table in one.tables]


DATABASE_TABLES = Report[tuple[str, Table]](
    name="database_tables",
    title="Tables",
    order="bytes",
    is_live=True,
    rows=_tables,
    columns=(
        Column("alias", "Database", "text", lambda row: row[0], is_detail=True),
        Column("table", "Table", "text", lambda row: row[1].name),
        Column("rows", "Rows", "count", lambda row: row[1].rows),
        Column("bytes", "Size", "bytes", lambda row: row[1].bytes),
        Column("seq_scans", "Read whole", "count", lambda row: row[1].seq_scans),
        Column("rows_per_scan", "Rows each", "count", lambda row: row[1].rows_per_scan),
        Column("index_scans", "By index", "count", lambda row: row[1].index_scans),
        Column("dead_rows", "Dead rows", "count", lambda row: row[1].dead_rows),
        Column("vacuum_days", "Vacuumed, days", "number", lambda row: row[1].vacuum_days),
        Column("analyze_days", "Analysed, days", "number", lambda row: row[1].analyze_days, is_detail=True),
    ),
)


def _indexes(snapshot: Snapshot, window: Window) -> list[tuple[str, Index]]:
    return [(one.alias, index) for one in snapshot.once(inspected) for index in one.indexes]


DATABASE_INDEXES = Report[tuple[str, Index]](
    name="database_indexes",
    title="Indexes",
    order="bytes",
    is_live=True,
    rows=_indexes,
    columns=(
        Column("alias", "Database", "text", lambda row: row[0], is_detail=True),
        Column("index", "Index", "text", lambda row: row[1].name),
        Column("table", "Table", "text", lambda row: row[1].table),
        Column("columns", "Columns", "text", lambda row: ", ".join(one or "(expression)" for one in row[1].columns)),
        Column("bytes", "Size", "bytes", lambda row: row[1].bytes),
        Column("scans", "Scans", "count", lambda row: row[1].scans),
        Column("unique", "Unique", "text", lambda row: "yes" if row[1].is_unique else "no"),
        Column("covered_by", "Covered by", "text", lambda row: row[1].twin),
    ),
)


def _sessions(snapshot: Snapshot, window: Window) -> list[tuple[str, Session]]:
    return [(one.alias, session) for one in snapshot.once(inspected) for session in one.sessions]


DATABASE_SESSIONS = Report[tuple[str, Session]](
    name="database_sessions",
    title="Sessions at work",
    order="transaction_s",
    is_live=True,
    rows=_sessions,
    columns=(
        Column("alias", "Database", "text", lambda row: row[0], is_detail=True),
        Column("pid", "Pid", "id", lambda row: row[1].pid),
        Column("user", "User", "text", lambda row: row[1].user),
        Column("application", "Application", "text", lambda row: row[1].application),
        Column("state", "State", "text", lambda row: row[1].state),
        Column("transaction_s", "Transaction", "s", lambda row: row[1].transaction_s),
        Column("state_s", "In this state", "s", lambda row: row[1].state_s),
        Column("waits_for", "Waits for", "text", lambda row: row[1].waits_for),
        Column("blocked_by", "Blocked by", "text", lambda row: ", ".join(map(str, row[1].blocked_by))),
        Column("sql", "SQL", "text", lambda row: row[1].sql),
    ),
)


def _statements(snapshot: Snapshot, window: Window) -> list[tuple[str, ServerStatement, Sum]]:
    """Return the server's statements, each with what we have measured of the same shape in the window."""
    ours = snapshot.sums(QUERY, window.span)
    return [
        (one.alias, statement, ours.get((one.alias, statement.sql), Sum()))
        for one in snapshot.once(inspected)
        for statement in one.statements
    ]


DATABASE_STATEMENTS = Report[tuple[str, ServerStatement, Sum]](
    name="database_statements",
    title="Statements as the server counts them, of all clients since its reset",
    order="total_ms",
    is_live=True,
    rows=_statements,
    columns=(
        Column("alias", "Database", "text", lambda row: row[0], is_detail=True),
        Column("query_id", "Query", "text", lambda row: shape_id(row[0], row[1].sql), is_detail=True),
        Column("sql", "SQL", "text", lambda row: row[1].sql),
        Column("total_ms", "Total time", "ms", lambda row: row[1].total_ms),
        Column("calls", "Calls", "count", lambda row: row[1].calls),
        Column("mean_ms", "Mean", "ms", lambda row: row[1].mean_ms),
        Column("rows", "Rows", "count", lambda row: row[1].rows),
        Column("hit_ratio", "From memory", "ratio", lambda row: row[1].hit_ratio),
        Column("our_calls", "Calls measured here", "count", lambda row: row[2].count),
        Column("our_mean_ms", "Mean measured here", "ms", lambda row: row[2].mean / 1_000 if row[2].count else None),
    ),
)
