"""Put beside each row of a table what it was in another time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..store.reader import Snapshot
from .report import Report, Table, Value
from .window import Window

# A difference in a time or a name says nothing.
_NO_NUMBERS = {"text", "prose", "time", "id"}
_LEAST_SHARE = 0.005


def compared(report: Report[Any], table: Table, snapshot: Snapshot, window: Window) -> Table:
    """Return the table with its rows of the time that the window is compared with; as it is, if rows have no key."""
    if not report.keys:
        return table
    before = report.rows_of(snapshot, window.before, {key_of(report, row) for row in table.rows})
    known = {key_of(report, row): row for row in before}
    return replace(table, before=[known.get(key_of(report, row)) for row in table.rows])


def key_of(report: Report[Any], row: Mapping[str, Value]) -> tuple[Value, ...]:
    """Return what tells a row from the others of its report."""
    return tuple(row[name] for name in report.keys)


def change_of(now: Value, before: Value) -> str:
    """Return by how much a number has changed: "+20 %"; "" where that cannot be said."""
    if isinstance(now, str) or isinstance(before, str) or now is None or not before:
        return ""
    share = now / before - 1
    return "±0 %" if abs(share) < _LEAST_SHARE else f"{share * 100:+.0f} %"


def changes_of(table: Table) -> list[dict[str, str]]:
    """Return the changes of each row, by column; nothing of rows that were not there before."""
    if table.before is None:
        return [{} for _ in table.rows]
    return [
        {name: text for name in numbers_of(table) if (text := change_of(row[name], before[name]))} if before else {}
        for row, before in zip(table.rows, table.before, strict=True)
    ]


def numbers_of(table: Table) -> list[str]:
    """Return the columns that have a number before, in their order; none without a comparison."""
    if table.before is None:
        return []
    return [column["name"] for column in table.columns if column["unit"] not in _NO_NUMBERS]
