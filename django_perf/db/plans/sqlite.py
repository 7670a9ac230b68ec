"""Have SQLite plan a statement without its parameters: EXPLAIN QUERY PLAN executes nothing."""

from __future__ import annotations

from typing import Any

from ..inspection import reading
from .models import models_by_table
from .plan import Node, Plan, Table, from_sqlite
from .preparing import count_parameters


def explain(alias: str, shape: str) -> Plan:
    """Return the plan of a shape that check() has passed. Raises what the database raises."""
    count = count_parameters(shape)
    with reading(alias) as cursor:
        # Django writes parameters as %s, and % itself twice.
        text = shape.replace("%%", "%").replace("%", "%%").replace("?", "%s")
        cursor.execute(f"EXPLAIN QUERY PLAN {text}", [None] * count)
        root = from_sqlite([(id_, parent, detail) for id_, parent, _, detail in cursor.fetchall()])
        tables = {name: table for name in _names(root) if (table := _table(cursor, name)) is not None}
    return Plan(root, tables, "sqlite", count)


def _names(root: Node) -> set[str]:
    return {node.table for node in root.walk() if node.table}


def _table(cursor: Any, name: str) -> Table | None:
    """Return what is known of a table: rows from its last row id, which costs one look; None for what is no table."""
    cursor.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = %s", [name])
    if cursor.fetchone() is None:
        return None
    quoted = cursor.db.ops.quote_name(name)
    cursor.execute(f"SELECT max(rowid) FROM {quoted}")  # noqa: S608 - a table of the database, quoted
    rows = cursor.fetchone()[0] or 0
    cursor.execute(f"PRAGMA index_list({quoted})")
    indexes = [row[1] for row in cursor.fetchall() if not row[4]]
    model, fields = models_by_table().get(name, ("", {}))
    return Table(name, float(rows), tuple(_columns(cursor, index) for index in indexes), model, fields)


def _columns(cursor: Any, index: str) -> tuple[str, ...]:
    cursor.execute(f"PRAGMA index_info({cursor.db.ops.quote_name(index)})")
    return tuple(str(row[2] or "") for row in cursor.fetchall())
