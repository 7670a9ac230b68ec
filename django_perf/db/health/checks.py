"""Judge the facts of a database: pure rules, one small function each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..plans import indexes as plan_indexes
from ..plans.plan import Table as PlanTable
from .facts import Facts, ForeignKey, Index

ACT, LOOK, OK, UNKNOWN = "act", "look", "ok", "unknown"
STATES = (ACT, LOOK, UNKNOWN, OK)

# A table or an index that is smaller costs nobody anything.
_MANY_ROWS = 1_000
_MUCH_BYTES = 2**20
_LONG_TRANSACTION_S, _LONG_IDLE_S = 60.0, 30.0
_FEW_DAYS, _STALE_DAYS = 7.0, 7.0

# {table: ("shop.Product", {column: field})}
Models = Mapping[str, tuple[str, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Vital:
    """Say how one thing is: `state` is act, look, ok or unknown; `what` names the thing, `advice` what to do."""

    alias: str
    check: str
    state: str
    value: str
    what: str = ""
    advice: str = ""


def vitals(facts: Facts, models: Models) -> list[Vital]:
    """Return what there is to say of a database, the most urgent first."""
    found = [vital for rule in _RULES for vital in rule(facts)]
    found += _missing_indexes(facts, models)
    return sorted(found, key=lambda vital: STATES.index(vital.state))


def _unanswered(facts: Facts) -> Iterator[Vital]:
    for name, code in facts.unanswered.items():
        text = "the server cannot be reached" if name == "server" else f"the question for its {name} failed"
        yield Vital(facts.alias, name, UNKNOWN, code, "", f"{text}: {code}")


def _permissions(facts: Facts) -> Iterator[Vital]:
    server = facts.server
    if server is not None and not server.can_see_all:
        text = "statements and waits of other users' sessions are hidden"
        yield Vital(facts.alias, "permissions", LOOK, text, "", f'GRANT pg_monitor TO "{server.user}";')


def _cache(facts: Facts) -> Iterator[Vital]:
    server = facts.server
    if server is None or server.hit_ratio is None:
        return
    is_low = server.hit_ratio < 0.95 and server.blocks_read > 100_000
    advice = "more of what is read lies on disk than in memory: raise shared_buffers, or read less" if is_low else ""
    yield Vital(facts.alias, "cache", LOOK if is_low else OK, f"{server.hit_ratio:.1%} of blocks in memory", "", advice)


def _connections(facts: Facts) -> Iterator[Vital]:
    server = facts.server
    if server is None:
        return
    used = server.connections / max(1, server.max_connections)
    state = ACT if used >= 0.9 else LOOK if used >= 0.75 else OK
    advice = "use a pool, or fewer workers, or raise max_connections" if state != OK else ""
    value = f"{server.connections} of {server.max_connections} connections"
    yield Vital(facts.alias, "connections", state, value, "", advice)


def _wraparound(facts: Facts) -> Iterator[Vital]:
    server = facts.server
    if server is not None and server.wraparound > 0.5:
        state = ACT if server.wraparound > 0.8 else LOOK
        advice = "VACUUM (FREEZE) its oldest tables, before the server stops to take writes"
        yield Vital(facts.alias, "wraparound", state, f"{server.wraparound:.0%} of transaction ids used", "", advice)


def _statements(facts: Facts) -> Iterator[Vital]:
    if facts.server is not None and not facts.has_statements and "statements" not in facts.unanswered:
        advice = "CREATE EXTENSION pg_stat_statements; (and shared_preload_libraries) shows what other clients run"
        yield Vital(facts.alias, "statements", OK, "pg_stat_statements is not installed", "", advice)


def _invalid_indexes(facts: Facts) -> Iterator[Vital]:
    for index in facts.indexes:
        if not index.is_valid:
            advice = f"{_drop(index)} and make it again: a CREATE INDEX CONCURRENTLY has failed"
            yield Vital(facts.alias, "invalid index", ACT, "is kept up to date and never used", index.name, advice)


def _twin_indexes(facts: Facts) -> Iterator[Vital]:
    by_name = {index.name: index for index in facts.indexes}
    for index in facts.indexes:
        twin = by_name.get(index.twin or "")
        if twin is None or not index.is_valid:
            continue
        is_same = twin.columns == index.columns
        if is_same or index.bytes >= _MUCH_BYTES:
            value = f"the same as {twin.name}" if is_same else f"{twin.name} begins with the same columns"
            yield Vital(facts.alias, "duplicate index", LOOK, value, index.name, _drop(index))


def _unused_indexes(facts: Facts) -> Iterator[Vital]:
    days = facts.server.stats_days if facts.server is not None else None
    for index in facts.indexes:
        is_idle = index.is_valid and not (index.scans or index.is_unique or index.is_constraint or index.twin)
        if is_idle and index.bytes >= _MUCH_BYTES:
            since = "since the statistics began" if days is None else f"in {days:.0f} days"
            advice = f"{_drop(index)} unless a replica uses it, or a report that runs once a year"
            is_known = days is None or days >= _FEW_DAYS
            yield Vital(facts.alias, "unused index", LOOK if is_known else OK, f"no scan {since}", index.name, advice)


def _drop(index: Index) -> str:
    return f"DROP INDEX CONCURRENTLY {index.quoted};"


def _scanned_tables(facts: Facts) -> Iterator[Vital]:
    for table in facts.tables:
        if table.rows_per_scan >= _MANY_ROWS and table.seq_scans >= 100 and table.seq_scans > table.index_scans / 10:
            value = f"read whole {table.seq_scans:,} times, {table.rows_per_scan:,.0f} rows each"
            advice = "perfexplain its queries: one of them lacks an index"
            yield Vital(facts.alias, "scanned table", LOOK, value, table.name, advice)


def _dead_rows(facts: Facts) -> Iterator[Vital]:
    for table in facts.tables:
        if table.dead_rows >= 10_000 and table.dead_rows >= 0.2 * max(table.rows, 1.0):
            vacuumed = "never vacuumed" if table.vacuum_days is None else f"vacuumed {table.vacuum_days:.1f} days ago"
            advice = "lower its autovacuum_vacuum_scale_factor, and look for a transaction that is open for long"
            yield Vital(facts.alias, "dead rows", LOOK, f"{table.dead_rows:,} of them, {vacuumed}", table.name, advice)


def _never_analysed(facts: Facts) -> Iterator[Vital]:
    for table in facts.tables:
        if table.rows >= 10_000 and table.analyze_days is None:
            yield Vital(
                facts.alias, "no statistics", LOOK, f"{table.rows:,.0f} rows, never analysed", table.name, "ANALYZE it"
            )


def _sessions(facts: Facts) -> Iterator[Vital]:
    by_pid = {session.pid: session for session in facts.sessions}
    for session in facts.sessions:
        who = f"pid {session.pid} {session.application}".strip()
        for blocker in session.blocked_by:
            value = f"waits {session.state_s or 0:.0f} s for pid {blocker}"
            holder = by_pid.get(blocker)
            what = f"{who}: {session.sql}"
            advice = f"pid {blocker} holds the lock" + (f": {holder.state}, {holder.sql}" if holder else "")
            yield Vital(facts.alias, "blocked session", ACT, value, what, advice)
        if session.state.startswith("idle in transaction") and (session.state_s or 0) >= _LONG_IDLE_S:
            value = f"idle in a transaction for {session.state_s:.0f} s"
            advice = "commit before waiting for anything; idle_in_transaction_session_timeout ends such sessions"
            yield Vital(facts.alias, "idle transaction", ACT, value, f"{who}: {session.sql}", advice)
        elif (session.transaction_s or 0) >= _LONG_TRANSACTION_S:
            value = f"open for {session.transaction_s:.0f} s"
            advice = "VACUUM cannot remove what it may still see; do less in one transaction"
            yield Vital(facts.alias, "long transaction", LOOK, value, f"{who}: {session.sql}", advice)


def _sequences(facts: Facts) -> Iterator[Vital]:
    for sequence in facts.sequences:
        if sequence.used >= 0.5:
            state = ACT if sequence.used >= 0.8 else LOOK
            advice = "make the column a bigint before the numbers end"
            yield Vital(
                facts.alias, "sequence", state, f"{sequence.used:.0%} of its numbers used", sequence.name, advice
            )


_RULES: tuple[Callable[[Facts], Iterator[Vital]], ...] = (
    _unanswered,
    _permissions,
    _cache,
    _connections,
    _wraparound,
    _statements,
    _invalid_indexes,
    _twin_indexes,
    _unused_indexes,
    _scanned_tables,
    _dead_rows,
    _never_analysed,
    _sessions,
    _sequences,
)


def missing_index(key: ForeignKey, models: Models) -> plan_indexes.Index:
    """Return the index that a foreign key lacks."""
    model, fields = models.get(key.table, ("", {}))
    return plan_indexes.Index(PlanTable(key.table, key.rows, (), model, fields), key.columns)


def _missing_indexes(facts: Facts, models: Models) -> Iterator[Vital]:
    for key in facts.foreign_keys:
        index = missing_index(key, models)
        django = f" In Meta.indexes of {index.table.model}: {index.django()}" if index.table.model else ""
        what = f"{key.table} ({', '.join(key.columns)})"
        value = f"foreign key to {key.target} without an index, {key.rows:,.0f} rows"
        state = ACT if key.rows >= _MANY_ROWS else OK
        yield Vital(facts.alias, "missing index", state, value, what, f"{index.sql()}{django}")
