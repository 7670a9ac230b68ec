"""Read memory, CPU, threads and saturation of this process; no call blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

from ..metrics.catalog import PROCESS
from ..metrics.recorder import Recorder
from ..metrics.worker import gunicorn_threads


class Sampler:
    """Publish the levels of this process as gauges; read by the flusher's thread, once per flush.

    `busy_seconds` is the recorder's running total of the time that requests held a slot. Fork-safe: the process is
    looked up by pid at each reading.
    """

    def __init__(self, busy_seconds: Callable[[], float], slots: int | None) -> None:
        self._busy_seconds = busy_seconds
        self._slots = slots
        self._processes: dict[int, psutil.Process] = {}
        self._last: tuple[float, float] | None = None

    def publish(self, recorder: Recorder) -> None:
        """Register the gauges."""
        recorder.gauge(PROCESS, "rss_bytes", lambda: self._process().memory_info().rss)
        recorder.gauge(PROCESS, "cpu_percent", lambda: self._process().cpu_percent(interval=None))
        recorder.gauge(PROCESS, "threads", threading.active_count)
        recorder.gauge(PROCESS, "saturation", self.saturation)

    def saturation(self) -> float:
        """Return the share of the slots' time that requests used since the last reading, 0.0 to 1.0."""
        now, busy = time.monotonic(), self._busy_seconds()
        last, self._last = self._last, (now, busy)
        if last is None or now <= last[0]:
            return 0.0
        return min(1.0, max(0.0, (busy - last[1]) / ((now - last[0]) * self._known_slots())))

    def _known_slots(self) -> int:
        if self._slots is None:
            self._slots = gunicorn_threads() or 1
        return self._slots

    def _process(self) -> psutil.Process:
        me = psutil.Process().pid
        if me not in self._processes:
            self._processes = {me: psutil.Process()}
        return self._processes[me]
