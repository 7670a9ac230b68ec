"""Print tables in a terminal; plain text where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from .answer import Answer
from .grid import draw
from .health import Health

_WIDE = 200


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


def print_health(result: Answer, out: Any) -> None:
    """Print the state of the measuring alone."""
    console_for(out).print(health_line(result.health))


def watch(read: Callable[[], Answer], out: Any, every_s: float, is_overview: bool = False) -> None:
    """Print the tables to `out` again and again until Ctrl-C: where nobody can press a key, or nothing be overwritten.

    A terminal that can is cleared before.
    """
    console = console_for(out)
    try:
        while True:
            parts = list(_parts(read(), console.width, is_overview))
            console.clear()  # nothing but a terminal is
            for part in parts:
                console.print(part)
            time.sleep(every_s)
    except KeyboardInterrupt:
        return


def _parts(result: Answer, width: int, is_overview: bool) -> Iterable[Any]:
    from rich.text import Text

    yield Text(_bounds(result), style="dim")
    empty = [table.title for table in result.tables.values() if not table.rows]
    for table in result.tables.values():
        if table.rows or not is_overview:
            yield from draw(table, width)
    if is_overview and empty:
        yield Text(f"\nNothing was measured in this time of: {', '.join(empty)}\n", style="dim")
    yield health_line(result.health)


def _bounds(result: Answer) -> str:
    window = result.window
    spans = [window, window.before] if result.is_compared else [window]
    times = ", against ".join(f"{one.since:%Y-%m-%d %H:%M} to {one.until:%Y-%m-%d %H:%M}" for one in spans)
    return f"{times} UTC, last flush {result.health.last_flush or 'never'}"


def health_line(health: Health) -> Any:
    """Return one line on the state of the measuring."""
    from rich.text import Text

    if not health.is_losing:
        return Text(f"{health.workers} workers, nothing lost", style="green")
    errors = ", ".join(f"{name} x {count}" for name, count in health.errors.items()) or "none"
    return Text(
        f"{health.workers} workers, {health.lost_workers} lost, {health.dropped} measurements dropped, "
        f"{health.unread} rows unread; errors: {errors}",
        style="yellow",
    )
