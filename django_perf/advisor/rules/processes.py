"""Judge the worker processes: too few for the load, growing, or gone without a word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from django.utils.translation import gettext, pgettext

from ...metrics.catalog import PROCESS
from ...reports.process import Worker, workers
from ...reports.sentence import figure
from ...reports.text import text_of
from ...reports.window import Window, last
from ...store.reader import Snapshot, Sum
from ..advice import HIGH, MEDIUM, Advice
from ..statistics import Point, slope, steadiness

SATURATED, MEMORY_GROWTH, LOST_PROCESSES = "saturated", "memory_growth", "lost_processes"
NAMES = (SATURATED, MEMORY_GROWTH, LOST_PROCESSES)

# On average. Before 8 slots that are busy for 80 % of the time 1.8 requests wait, for 90 % 6.3, for 95 % 16; before a
# single slot 3.2 at 80 % (Erlang C).
_BUSY, _FULL = 0.8, 0.95
# Levels of a process; less than that is a burst.
_FEW_LEVELS = 20
# Memory shows what it does within an hour, and not in less than ten points; more than 60 are not needed for a median.
_LEAST_MINUTES, _FEWEST_POINTS, _MOST_POINTS = 60, 10, 60
# Of the pairs of points, rising less falling. A process that warms up and stays there has about 0.5; ten points without
# a trend have 0.7 once in 400, and as resident memory wanders, it must have _GROWN besides.
_STEADY = 0.7
# Per process: of its size, and in bytes.
_GROWN, _GROWN_BYTES = 0.1, 16 * 2**20
# Of its size, per hour: a process doubles within a working day.
_FAST = 0.1
# The fleets that are judged host by host.
_MOST_HOSTS = 10
# One kill may be an administrator's.
_FEW_LOST, _MANY_LOST = 2, 5


def saturated(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find hosts whose workers have no slot free for most of the time."""
    for host, sum_ in _levels(snapshot, window, "saturation").items():
        share = sum_.mean / 100
        if sum_.count >= _FEW_LEVELS and share >= _BUSY:
            text = gettext(
                "%(host)s: on average, %(share)s of the slots of its workers are busy; requests queue before them"
            )
            remedy = gettext(
                "add workers or threads as long as there are CPU and memory; take what is slow out of requests: the "
                "endpoints by total time say what"
            )
            evidence = text % {"host": host, "share": f"{share:.0%}"}
            yield Advice(HIGH if share >= _FULL else MEDIUM, SATURATED, evidence, remedy, "overview")


def memory_growth(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find hosts whose processes grow steadily; looks at the last hour at least."""
    is_long = window.span.end - window.span.start >= _LEAST_MINUTES
    wide = window if is_long else last(f"{_LEAST_MINUTES}m", window.now)
    sizes = _levels(snapshot, wide, "rss_bytes")
    for host in sorted(sizes, key=lambda host: -sizes[host].mean)[:_MOST_HOSTS]:
        points = _sizes(snapshot, wide, host)
        if _grows(points):
            per_hour = slope(points) * 60
            remedy = gettext(
                "look for what is kept for good: lists and dicts of modules, caches without a bound; max_requests of "
                "gunicorn bounds it until then"
            )
            severity = HIGH if per_hour >= _FAST * points[-1][1] else MEDIUM
            yield Advice(severity, MEMORY_GROWTH, _growth(host, per_hour, points), remedy, "overview")


def _growth(host: str, per_hour: float, points: list[Point]) -> str:
    text = gettext(
        "%(host)s: its processes grow by %(bytes)s an hour each, steadily for %(minutes)s minutes: %(before)s "
        "to %(now)s"
    )
    return text % {
        "host": host,
        "bytes": text_of(per_hour, "bytes"),
        "minutes": figure(points[-1][0] - points[0][0], ",.0f"),
        "before": text_of(points[0][1], "bytes"),
        "now": text_of(points[-1][1], "bytes"),
    }


def lost_processes(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find processes that fell silent without saying that they stop."""
    by_state: dict[str, list[Worker]] = defaultdict(list)
    for worker in snapshot.once(workers, window):
        by_state[worker.state()].append(worker)
    lost, ended = by_state["lost"], len(by_state["lost"]) + len(by_state["stopped"])
    if len(lost) >= _FEW_LOST:
        largest = max(float(worker.level("rss_bytes") or 0) for worker in lost)
        text = gettext("%(lost)s of %(ended)s processes that ended did so without a last report: killed, or cut off")
        evidence = text % {"lost": figure(len(lost)), "ended": figure(ended)}
        if largest:
            evidence += pgettext("django_perf", "; the largest took %(bytes)s") % {"bytes": text_of(largest, "bytes")}
        remedy = gettext(
            "look for the OOM killer in the log of the kernel, for WORKER TIMEOUT in that of gunicorn, and for a stop "
            "that does not wait"
        )
        severity = HIGH if len(lost) >= _MANY_LOST and 2 * len(lost) >= ended else MEDIUM
        yield Advice(severity, LOST_PROCESSES, evidence, remedy, "overview")


def _grows(points: list[Point]) -> bool:
    if len(points) < _FEWEST_POINTS or steadiness(points) < _STEADY:
        return False
    grown = slope(points) * (points[-1][0] - points[0][0])
    return grown >= max(_GROWN_BYTES, _GROWN * points[0][1])


def _sizes(snapshot: Snapshot, window: Window, host: str) -> list[Point]:
    """Return (minute, mean bytes of a process) over time."""
    found = snapshot.points(PROCESS, window.span, window.step, lambda labels: labels == ("rss_bytes", host))
    points = [(float(minute), sum_.mean / 100) for minute, sum_ in found if sum_.count]
    return points[:: -(-len(points) // _MOST_POINTS) or 1]


def _levels(snapshot: Snapshot, window: Window, gauge: str) -> dict[str, Sum]:
    """Return the levels of all processes by host; they are counted in hundredths."""
    found = snapshot.sums(PROCESS, window.span, lambda labels: labels[0] == gauge)
    return {host: sum_ for (_, host), sum_ in found.items()}
