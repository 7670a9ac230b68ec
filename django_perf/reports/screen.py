"""Show one report full screen, live: read every two seconds, and whenever a key asks for something else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.core.management.base import CommandError

from ..metrics.names import clean
from ..store.alias import store_alias
from ..store.reader import Snapshot, consistent
from .grid import draw
from .headline import Headline, headline, spark
from .health import Health, health
from .keyboard import Keyboard, keyboard
from .live import RANGES, View, pressed
from .report import Report, Table
from .terminal import health_line
from .window import Window

EVERY_S = 2.0
# Title, labels and rules of the table, three lines above it and one below.
_CHROME = 10


@dataclass(frozen=True, slots=True)
class Scene:
    """Hold what was read at one moment; `trouble` says why it is not a later one."""

    window: Window
    table: Table
    headline: Headline
    health: Health
    trouble: str = ""


def read(report: Report[Any], view: View, window: Window, rows: int) -> Scene:
    """Read what a view shows, all of one state of the store."""

    def scene(snapshot: Snapshot) -> Scene:
        table = report.table(snapshot, window, view.order or None, rows, text=view.text)
        return Scene(window, table, headline(snapshot, window), health(snapshot, window))

    return consistent(store_alias(), scene)


def run(report: Report[Any], view: View, read_scene: Callable[[View, int], Scene], stdin: Any) -> None:
    """Show `report` until q or Ctrl-C; `read_scene` takes the view and the rows that there is room for.

    Its CommandError ends the first reading; later ones are shown, and it is tried again.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    scene = read_scene(view, _room(console))
    try:
        with keyboard(stdin.fileno()) as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            _Watching(report, read_scene, console, live, keys).go_on(view, scene)
    except KeyboardInterrupt:
        return


class _Watching:
    """Redraw after each reading and each key, and sleep in between."""

    def __init__(
        self, report: Report[Any], read_scene: Callable[[View, int], Scene], console: Any, live: Any, keys: Keyboard
    ) -> None:
        self._report = report
        self._read_scene = read_scene
        self._console = console
        self._live = live
        self._keys = keys
        self._columns = [column.name for column in report.columns]

    def go_on(self, view: View, scene: Scene) -> None:
        """Return at q."""
        due = time.monotonic() + EVERY_S
        while True:
            self._live.update(_drawn(self._report, view, scene, self._console.size), refresh=True)
            wanted = self._after_keys(view, due)
            if wanted is None:
                return
            is_other = replace(wanted, draft=None) != replace(view, draft=None)
            view = wanted
            if is_other or (time.monotonic() >= due and view.paused_at is None):
                scene = self._read(view, scene)
                due = time.monotonic() + EVERY_S

    def _after_keys(self, view: View, due: float) -> View | None:
        """Wait for keys until the next reading is due, for ever while paused; return what they make of the view."""
        left = None if view.paused_at is not None else max(0.0, due - time.monotonic())
        wanted: View | None = view
        for key in self._keys.wait(left):
            if wanted is not None:
                wanted = pressed(wanted, key, self._columns, self._report.order, time.time())
        return wanted

    def _read(self, view: View, scene: Scene) -> Scene:
        try:
            return self._read_scene(view, _room(self._console))
        except CommandError as error:
            return replace(scene, trouble=clean(str(error)))


def _room(console: Any) -> int:
    height: int = console.size.height
    return max(1, height - _CHROME)


def _drawn(report: Report[Any], view: View, scene: Scene, size: Any) -> Any:
    from rich.console import Group
    from rich.layout import Layout

    order = view.order or report.order
    layout = Layout()
    layout.split_column(
        Layout(Group(*_header(view, scene, size.width)), size=3),
        Layout(Group(*draw(scene.table, size.width, order))),
        Layout(_footer(view), size=1),
    )
    return layout


def _header(view: View, scene: Scene, width: int) -> Iterable[Any]:
    window = scene.window
    state = "PAUSED" if view.paused_at is not None else f"every {EVERY_S:g} s"
    filtered = f", filter {view.text!r}" if view.text else ""
    yield _line(f"{window.since:%Y-%m-%d %H:%M} to {window.until:%H:%M} UTC, {state}{filtered}", "dim")
    figures = f"{scene.headline.text()}   "
    yield _line(figures + spark(scene.headline.counts, min(60, width - len(figures))), "bold")
    yield _line(scene.trouble, "yellow") if scene.trouble else health_line(scene.health)


def _footer(view: View) -> Any:
    if view.draft is not None:
        return _line(f"filter: {view.draft}_   Enter takes it, Esc leaves it", "bold")
    # Brackets, for a terminal without colours.
    ranges = (f"[{key} {since}]" if since == view.since else f" {key} {since} " for key, since in RANGES.items())
    return _line(f"q quit  {' '.join(ranges)}  ←→ sort  r reverse  / filter  p pause", "dim")


def _line(text: str, style: str) -> Any:
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
