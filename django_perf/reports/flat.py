"""Write tables for other programs and for tickets: CSV and Markdown."""

from __future__ import annotations

import csv
import re
from typing import Any

from .comparing import changes_of, numbers_of
from .report import Table, Value
from .text import short_sql, text_of

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS = {"text", "prose", "time"}
# Signs with a meaning, and what GitHub and GitLab make links of by themselves.
_MARKUP = re.compile(r"[\\`*_\[\]<>|&#~$]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def write_csv(table: Table, out: Any) -> None:
    """Write a table with a line of column names, safe against spreadsheets that run what looks like a formula."""
    writer = csv.writer(out, lineterminator="\n")
    names, changing = [column["name"] for column in table.columns], numbers_of(table)
    writer.writerow([*names, *(f"{name}_before" for name in changing)])
    for row, before in zip(table.rows, table.before or [None] * len(table.rows), strict=True):
        cells = [row[name] for name in names] + [before[name] if before else None for name in changing]
        writer.writerow(map(_safe_cell, cells))


def _safe_cell(value: Value) -> Value:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def write_markdown(table: Table, out: Any) -> None:
    """Write a table as people put it into a ticket: formatted, details left out, a heading above."""
    columns = [column for column in table.columns if column["name"] not in table.details]
    lines = [f"### {table.title}", "", _line(column["label"] for column in columns)]
    lines.append(_line("---" if column["unit"] in _TEXTS else "--:" for column in columns))
    for row, changes in zip(table.rows, changes_of(table), strict=True):
        lines.append(_line(_with_change(_escaped(row[one["name"]], one), changes.get(one["name"])) for one in columns))
    out.write("\n".join([*lines, ""]))


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _with_change(cell: str, change: str | None) -> str:
    return f"{cell} ({change})" if change else cell


def _escaped(value: Value, column: dict[str, str]) -> str:
    """Return a cell that neither ends its table nor becomes markup."""
    text = text_of(value, column["unit"])
    text = short_sql(text) if column["name"] == "sql" else text
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.splitlines()))
