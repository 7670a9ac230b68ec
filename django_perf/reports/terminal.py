"""Draw tables in a terminal; plain text where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .answer import Answer
from .report import Table, Value
from .text import short_sql, text_of

_WIDE = 200
# A name is cut to what the terminal leaves it, within these; below the least, columns go instead.
_TEXT_WIDTH, _LEAST_TEXT_WIDTH = 60, 24
_GAP = 3
_TEXTS = {"text", "prose"}


def console_for(out: Any) -> Any:
    """Return a console that writes to `out`, a file-like object: plainly and widely unless that is a terminal."""
    from rich.console import Console

    is_terminal = bool(getattr(out, "isatty", lambda: False)())
    return Console(file=out, force_terminal=is_terminal, width=None if is_terminal else _WIDE, highlight=False)


def print_answer(result: Answer, out: Any, is_overview: bool = False) -> None:
    """Print all tables of `result` to `out`; an overview leaves out the empty ones, and names them."""
    console = console_for(out)
    for part in _parts(result, console.width, is_overview):
        console.print(part)


def watch(read: Callable[[], Answer], every_s: float, is_overview: bool = False) -> None:
    """Redraw the tables until Ctrl-C."""
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        try:
            while True:
                live.update(Group(*_parts(read(), console.width, is_overview)), refresh=True)
                time.sleep(every_s)
        except KeyboardInterrupt:
            return


def _parts(result: Answer, width: int, is_overview: bool) -> Iterable[Any]:
    from rich.text import Text

    since, until = (f"{moment:%Y-%m-%d %H:%M}" for moment in (result.window.since, result.window.until))
    yield Text(f"{since} to {until} UTC, last flush {result.health.last_flush or 'never'}", style="dim")
    empty = [table.title for table in result.tables.values() if not table.rows]
    for table in result.tables.values():
        if table.rows or not is_overview:
            yield from _draw(table, width)
    if is_overview and empty:
        yield Text(f"\nNothing was measured in this time of: {', '.join(empty)}\n", style="dim")
    yield _health_line(result)


def _draw(table: Table, width: int) -> Iterable[Any]:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    if not table.rows:
        yield Text(f"\n{table.title}: nothing was measured in this time\n")
        return
    left_out = f", {len(table.rows)} of {table.found} shown" if table.found > len(table.rows) else ""
    grid = Grid(title=f"{table.title}{left_out}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    columns = _fitting(table, width)
    text_width = _text_width(table, columns, width)
    for column in columns:
        is_text, is_prose = column["unit"] in _TEXTS, column["unit"] == "prose"
        grid.add_column(
            column["label"],
            justify="left" if is_text or column["unit"] == "time" else "right",
            overflow="fold" if is_prose else "ellipsis",
            no_wrap=not is_prose,
            max_width=text_width if is_text else None,
        )
    for row in table.rows:
        # Text, not str: a recorded name must never be read as rich's markup.
        grid.add_row(*(Text(_cell(row[column["name"]], column)) for column in columns))
    yield grid


def _fitting(table: Table, width: int) -> list[dict[str, str]]:
    """Return the columns that `width` holds: it costs the details first and then the last ones, never a digit."""
    columns = table.columns
    if _width(table, columns, _LEAST_TEXT_WIDTH) > width:
        columns = [column for column in columns if column["name"] not in table.details]
    while len(columns) > 2 and _width(table, columns, _LEAST_TEXT_WIDTH) > width:
        columns = columns[:-1]
    return columns


def _text_width(table: Table, columns: list[dict[str, str]], width: int) -> int:
    """Return what the numbers leave of `width` to each text."""
    widths = range(_TEXT_WIDTH, 0, -1)
    return next((at_most for at_most in widths if _width(table, columns, at_most) <= width), 1)


def _width(table: Table, columns: list[dict[str, str]], text_width: int) -> int:
    """Return the width of `columns` when text is cut to `text_width`."""
    return sum(_GAP + _column_width(table, column, text_width) for column in columns)


def _column_width(table: Table, column: dict[str, str], text_width: int) -> int:
    from rich.cells import cell_len

    longest = max(cell_len(_cell(row[column["name"]], column)) for row in table.rows)
    if column["unit"] in _TEXTS:
        longest = min(longest, text_width)
    return max(longest, cell_len(column["label"]))


def _cell(value: Value, column: dict[str, str]) -> str:
    text = text_of(value, column["unit"])
    return short_sql(text) if column["name"] == "sql" else text


def _health_line(result: Answer) -> Any:
    from rich.text import Text

    health = result.health
    if not health.is_losing:
        return Text(f"{health.workers} workers, nothing lost", style="green")
    errors = ", ".join(f"{name} x {count}" for name, count in health.errors.items()) or "none"
    return Text(
        f"{health.workers} workers, {health.lost_workers} lost, {health.dropped} measurements dropped, "
        f"{health.unread} rows unread; errors: {errors}",
        style="yellow",
    )
