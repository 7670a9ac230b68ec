"""Lay out a table for a terminal: it loses columns before names, and names before digits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .comparing import changes_of
from .report import Table, Value
from .text import short_sql, text_of

# A name is cut to what the terminal leaves it, within these; below the least, columns go instead.
_TEXT_WIDTH, _LEAST_TEXT_WIDTH = 60, 24
_GAP = 3
_TEXTS = {"text", "prose"}

Column = dict[str, str]
# Of each column: its longest cell, and its label.
Widths = dict[str, tuple[int, int]]


def draw(table: Table, width: int, sort: str = "") -> Iterable[Any]:
    """Yield what shows a table in so many columns; `sort` marks the one it is sorted by, and keeps it in sight."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    if not table.rows:
        yield Text(f"\n{table.title}: nothing was measured in this time\n")
        return
    left_out = f", {len(table.rows)} of {table.found} shown" if table.found > len(table.rows) else ""
    grid = Grid(title=f"{table.title}{left_out}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    rows, labels = _cells(table), _labels(table, sort)
    widths = _widths(rows, labels)
    columns = _fitting(table, widths, width, sort.removeprefix("-"))
    text_width = _text_width(columns, widths, width)
    for column in columns:
        grid.add_column(labels[column["name"]], **_look(column, text_width))
    for cells in rows:
        # Text, not str: a recorded name must never be read as rich's markup.
        grid.add_row(*(Text(cells[column["name"]]) for column in columns))
    yield grid


def _look(column: Column, text_width: int) -> dict[str, Any]:
    is_text, is_prose = column["unit"] in _TEXTS, column["unit"] == "prose"
    return {
        "justify": "left" if is_text or column["unit"] == "time" else "right",
        "overflow": "fold" if is_prose else "ellipsis",
        "no_wrap": not is_prose,
        "max_width": text_width if is_text else None,
    }


def _labels(table: Table, sort: str) -> dict[str, str]:
    sign = "▲" if sort.startswith("-") else "▼"
    by = sort.removeprefix("-")
    return {one["name"]: f"{one['label']} {sign}" if one["name"] == by else one["label"] for one in table.columns}


def _cells(table: Table) -> list[dict[str, str]]:
    """Return the texts of each row by column, each with its change behind it."""
    return [
        {
            (name := column["name"]): f"{_cell(row[name], column)} {changes.get(name, '')}".rstrip(" ")
            for column in table.columns
        }
        for row, changes in zip(table.rows, changes_of(table), strict=True)
    ]


def _cell(value: Value, column: Column) -> str:
    text = text_of(value, column["unit"])
    return short_sql(text) if column["name"] == "sql" else text


def _widths(rows: list[dict[str, str]], labels: dict[str, str]) -> Widths:
    from rich.cells import cell_len

    return {name: (max(cell_len(cells[name]) for cells in rows), cell_len(label)) for name, label in labels.items()}


def _fitting(table: Table, widths: Widths, width: int, kept: str) -> list[Column]:
    """Return the columns that `width` holds: it costs the details first and then the last ones, never a digit."""
    columns = table.columns
    if _width(columns, widths, _LEAST_TEXT_WIDTH) > width:
        columns = [column for column in columns if column["name"] not in table.details or column["name"] == kept]
    while len(columns) > 2 and _width(columns, widths, _LEAST_TEXT_WIDTH) > width:
        last = -2 if columns[-1]["name"] == kept else -1
        columns = [*columns[:last], *columns[last:][1:]]
    return columns


def _text_width(columns: list[Column], widths: Widths, width: int) -> int:
    """Return what the numbers leave of `width` to each text."""
    possible = range(_TEXT_WIDTH, 0, -1)
    return next((at_most for at_most in possible if _width(columns, widths, at_most) <= width), 1)


def _width(columns: list[Column], widths: Widths, text_width: int) -> int:
    """Return the width of `columns` when text is cut to `text_width`."""
    return sum(_GAP + _column_width(column, widths, text_width) for column in columns)


def _column_width(column: Column, widths: Widths, text_width: int) -> int:
    longest, label = widths[column["name"]]
    return max(min(longest, text_width) if column["unit"] in _TEXTS else longest, label)
