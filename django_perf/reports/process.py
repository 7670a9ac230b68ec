"""Report the worker processes: who runs, who stopped, who vanished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..conf import get_settings
from ..store.models import Process
from ..store.reader import Snapshot
from .report import Column, Report, Value
from .window import Window

# A process that missed three flushes, or 45 s, has not been stopped: it was killed, and its last flush is lost.
_MISSED_FLUSHES = 3
_LEAST_SILENCE_S = 45.0


@dataclass(slots=True)
class Worker:
    """Hold the last report of one process."""

    host: str
    pid: int
    started: float
    now: float
    silence_s: float
    last_seen: float = 0.0
    is_final: bool = False
    levels: dict[str, float] = field(default_factory=dict)

    def update(self, last_seen: float, is_final: bool, levels: dict[str, float]) -> None:
        """Take over a report unless a later one is known."""
        if last_seen >= self.last_seen:
            self.last_seen, self.levels = last_seen, levels
        self.is_final = self.is_final or is_final

    def state(self) -> str:
        """Return running, stopped (it flushed all it had) or lost (at most one flush interval of it is missing)."""
        if self.is_final:
            return "stopped"
        return "running" if self.now - self.last_seen <= self.silence_s else "lost"

    def level(self, name: str) -> Value:
        """Return a level by name, None where the process could not read it."""
        return self.levels.get(name)


def workers(snapshot: Snapshot, window: Window) -> list[Worker]:
    """Return the processes that reported in the window."""
    silence_s = max(_LEAST_SILENCE_S, _MISSED_FLUSHES * get_settings().flush_interval)
    found: dict[tuple[str, int, float], Worker] = {}
    for host, pid, started, last_seen, is_final, levels in _reports(snapshot):
        worker = found.setdefault((host, pid, started), Worker(host, pid, started, window.now, silence_s))
        worker.update(last_seen, is_final, levels)
    return [worker for worker in found.values() if worker.last_seen >= window.span.start * 60]


def _reports(snapshot: Snapshot) -> Iterable[tuple[str, int, float, float, bool, dict[str, float]]]:
    yield from Process.objects.using(snapshot.alias).values_list(
        "host", "pid", "started", "last_seen", "is_final", "levels"
    )
    for delta in snapshot.waiting:
        yield delta.host, delta.pid, delta.started, delta.taken, delta.is_final, delta.levels


PROCESSES = Report[Worker](
    name="process",
    title="Processes",
    order="uptime_s",
    rows=workers,
    columns=(
        Column("host", "Host", "text", lambda row: row.host),
        Column("pid", "Pid", "id", lambda row: row.pid),
        Column("state", "State", "text", Worker.state),
        Column("rss_bytes", "Memory", "bytes", lambda row: row.level("rss_bytes")),
        Column("cpu_percent", "CPU", "percent", lambda row: row.level("cpu_percent")),
        Column("threads", "Threads", "count", lambda row: row.level("threads")),
        Column("saturation", "Saturation", "ratio", lambda row: row.level("saturation")),
        Column("uptime_s", "Uptime", "s", lambda row: row.last_seen - row.started),
    ),
)
