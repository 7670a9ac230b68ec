"""The page of the worker processes."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import pgettext

from ...metrics.catalog import PROCESS
from ...reports.health import health
from ...reports.process import PROCESSES, workers
from ...reports.text import text_of
from ...reports.window import Window
from ...store.reader import Snapshot, Sum
from ..charts import Chart, Line
from ..page import Asked, Card, Page, charted, settled, times_of

# Gauge, title, unit, what a stored hundredth is in that unit.
_CHARTS = (
    ("saturation", "Busy slots", "ratio", 100.0),
    ("rss_bytes", "Memory of a process", "bytes", 100.0),
    ("cpu_percent", "CPU of a process", "percent", 100.0),
    ("threads", "Threads of a process", "count", 100.0),
)


def processes(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of the processes: who runs, who vanished, how busy and how large they are."""
    window = asked.window
    found = workers(snapshot, window)
    running = [one for one in found if one.state() == "running"]
    lost = sum(one.state() == "lost" for one in found)
    busy = [float(level) for one in running if isinstance(level := one.level("saturation"), float)]
    rss = sum(one.levels.get("rss_bytes", 0.0) for one in running)
    hosts = pgettext("django_perf", "hosts: %(count)s") % {"count": len({one.host for one in running})}
    cards = [
        Card("Running", text_of(len(running), "count"), hosts, "calm"),
        Card("Vanished", text_of(lost, "count"), "without a goodbye", "bad" if lost else "calm"),
        Card("Busiest", text_of(max(busy, default=None), "ratio"), "of its slots", "calm"),
        Card("Memory", text_of(rss, "bytes"), "all together", "calm"),
    ]
    wide = charted(window)
    charts = [_chart(snapshot, wide, *one) for one in _CHARTS]
    return Page(window, health(snapshot, window), cards, charts, [asked.table(PROCESSES, snapshot)])


def _chart(snapshot: Snapshot, window: Window, gauge: str, title: str, unit: str, scale: float) -> Chart:
    """Return mean and maximum over the processes that reported in each step."""
    wanted = snapshot.points(PROCESS, window.span, window.step, lambda labels: labels[0] == gauge)
    points = settled(wanted, window.now)
    lines = [
        Line("mean", "1", _levels(points, lambda sum_: sum_.mean / scale)),
        Line("most", "2", _levels(points, lambda sum_: sum_.max / scale)),
    ]
    return Chart(gauge, title, unit, times_of(points), lines)


def _levels(points: list[tuple[int, Sum]], level: Callable[[Sum], float]) -> list[float | None]:
    return [level(sum_) if sum_.count else None for _, sum_ in points]
