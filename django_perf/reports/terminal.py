"""Draw tables in a terminal; plain text where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .answer import Answer
from .report import Table, Value
from .text import short_sql, text_of

_TEXT_UNITS = {"text"}
_SQL_WIDTH = 60
_WIDE = 200


def print_answer(result: Answer, out: Any) -> None:
    """Print all tables of `result` to `out`, a file-like object."""
    from rich.console import Console

    is_terminal = bool(getattr(out, "isatty", lambda: False)())
    console = Console(file=out, force_terminal=is_terminal, width=None if is_terminal else _WIDE, highlight=False)
    for part in _parts(result):
        console.print(part)


def watch(read: Callable[[], Answer], every_s: float) -> None:
    """Redraw the tables until Ctrl-C."""
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        try:
            while True:
                live.update(Group(*_parts(read())), refresh=True)
                time.sleep(every_s)
        except KeyboardInterrupt:
            return


def _parts(result: Answer) -> Iterable[Any]:
    from rich.text import Text

    since, until = (f"{moment:%Y-%m-%d %H:%M}" for moment in (result.window.since, result.window.until))
    yield Text(f"{since} to {until} UTC, last flush {result.health.last_flush or 'never'}", style="dim")
    for table in result.tables.values():
        yield from _draw(table)
    yield _health_line(result)


def _draw(table: Table) -> Iterable[Any]:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    if not table.rows:
        yield Text(f"\n{table.title}: nothing was measured in this time\n")
        return
    left_out = f", {len(table.rows)} of {table.found} shown" if table.found > len(table.rows) else ""
    grid = Grid(title=f"{table.title}{left_out}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        is_text = column["unit"] in _TEXT_UNITS
        grid.add_column(
            column["label"],
            justify="left" if is_text else "right",
            overflow="ellipsis" if column["name"] == "sql" else "fold",
            no_wrap=column["name"] == "sql" or not is_text,
            max_width=_SQL_WIDTH if is_text else None,
        )
    for row in table.rows:
        # Text, not str: a recorded name must never be read as rich's markup.
        grid.add_row(*(Text(_cell(row[column["name"]], column)) for column in table.columns))
    yield grid


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
