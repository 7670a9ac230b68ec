"""Write tables for other programs and for tickets: CSV and Markdown."""

from __future__ import annotations

import csv
import re
from typing import Any

from .report import Table, Value
from .text import short_sql, text_of

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS = {"text", "prose", "time"}
_MARKUP = re.compile(r"[\\`*_\[\]<>|&#~]")


def write_csv(table: Table, out: Any) -> None:
    """Write a table with a line of column names, safe against spreadsheets that run what looks like a formula."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column["name"] for column in table.columns])
    for row in table.rows:
        writer.writerow([_safe_cell(row[column["name"]]) for column in table.columns])


def _safe_cell(value: Value) -> Value:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def write_markdown(table: Table, out: Any) -> None:
    """Write a table as people put it into a ticket: formatted, details left out, a heading above."""
    columns = [column for column in table.columns if column["name"] not in table.details]
    lines = [f"### {table.title}", "", _line(column["label"] for column in columns)]
    lines.append(_line("---" if column["unit"] in _TEXTS else "--:" for column in columns))
    lines += [_line(_escaped(row[column["name"]], column) for column in columns) for row in table.rows]
    out.write("\n".join([*lines, ""]))


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(value: Value, column: dict[str, str]) -> str:
    """Return a cell that neither ends its table nor becomes markup."""
    text = text_of(value, column["unit"])
    text = short_sql(text) if column["name"] == "sql" else text
    return _MARKUP.sub(r"\\\g<0>", text)
