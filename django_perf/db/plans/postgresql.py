"""Have PostgreSQL plan a statement without its parameters: PREPARE, then EXPLAIN EXECUTE with NULLs.

A generic plan is what the server makes when it knows no values (plan_cache_mode, PostgreSQL 12). Nothing is executed,
unless EXPLAIN_ANALYZE says so, and then inside of a READ ONLY transaction that is rolled back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ...conf import get_settings
from ..inspection import reading
from .models import models_by_table
from .plan import Node, Plan, Table, from_postgresql
from .preparing import numbered

_TABLES = """
SELECT n.nspname, c.relname,
       CASE WHEN c.reltuples > 0 THEN c.reltuples ELSE pg_stat_get_live_tuples(c.oid) END::float8,
       (SELECT json_agg(x.columns) FROM (
            SELECT array_agg(coalesce(a.attname, '') ORDER BY k.place) AS columns
            FROM pg_index i
            CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
            LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
            GROUP BY i.indexrelid) x)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relname = ANY(%s)
"""


def explain(alias: str, shape: str) -> Plan:
    """Return the plan of a shape that check() has passed. Raises what the database raises."""
    text, count = numbered(shape)
    settings = get_settings()
    with reading(alias) as cursor:
        if settings.explain_role is not None:
            role = cursor.db.ops.quote_name(settings.explain_role)
            cursor.execute(f"SET LOCAL ROLE {role}")
        cursor.execute("SELECT current_schema(), setting::int FROM pg_settings WHERE name = 'work_mem'")
        schema, work_mem_kb = cursor.fetchone()
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        document = _explained(cursor, text, count, settings.explain_analyze)
        root = from_postgresql(document, schema or "")
        tables = _tables(cursor, root, schema or "")
    return Plan(root, tables, "postgresql", count, settings.explain_analyze, work_mem_kb)


def _explained(cursor: Any, text: str, count: int, analyze: bool) -> dict[str, Any]:
    # Without parameters of its own the driver leaves every % alone.
    cursor.execute(f"PREPARE django_perf_explained AS {text}")
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    options = "ANALYZE, BUFFERS, VERBOSE" if analyze else "VERBOSE"
    cursor.execute(f"EXPLAIN ({options}, FORMAT JSON) EXECUTE django_perf_explained{values}")
    (found,) = cursor.fetchone()
    documents = json.loads(found) if isinstance(found, str) else found
    document: dict[str, Any] = documents[0]
    return document


def _tables(cursor: Any, root: Node, schema: str) -> dict[str, Table]:
    names = {node.table.rpartition(".")[2] for node in root.walk() if node.table}
    if not names:
        return {}
    cursor.execute(_TABLES, [sorted(names)])
    return dict(_table(schema, *row) for row in cursor.fetchall())


def _table(current: str, schema: str, name: str, rows: float, indexes: Iterable[Any] | str | None) -> tuple[str, Table]:
    full = name if schema == current else f"{schema}.{name}"
    columns = json.loads(indexes) if isinstance(indexes, str) else indexes or ()
    model, fields = models_by_table().get(name, ("", {}))
    return full, Table(full, rows, tuple(tuple(one) for one in columns), model, fields)
