"""Hand the aggregates to a sink every few seconds, from a thread of its own."""

from __future__ import annotations

import atexit
import os
import random
import socket
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

from .batch import Batch, own_origin
from .names import clean
from .recorder import Recorder
from .trace import PAUSED, current

Sink = Callable[[Batch], None]

_JITTER = 0.1
_MAX_BACKOFF_S = 300.0
# Doubling ends here: after 1,024 failures (three days without tables) the power would not fit into a float.
_MAX_DOUBLINGS = 16
# A batch whose fate is unknown (the COMMIT was lost) is tried again under its id, as long as the store remembers ids.
GIVE_UP_S = 3_600.0


class Flusher:
    """Drain the recorder into `sink` every `interval` seconds, with 10 % jitter so that workers do not beat together.

    The daemon thread starts lazily, at the first measurement after a fork. It never raises: a failing sink means that
    the batch is kept and tried again, with growing pauses, while the recorder merges on in memory. At exit the
    living thread gets `deadline` seconds for a last flush (Python 3.12 refuses new threads by then). `chore` runs
    after each successful flush: the store's housekeeping.
    """

    def __init__(
        self,
        recorder: Recorder,
        sink: Sink,
        *,
        interval: float = 10.0,
        deadline: float = 2.0,
        chore: Callable[[], None] | None = None,
    ) -> None:
        self.interval = interval
        self.deadline = deadline
        self._recorder = recorder
        self._sink = sink
        self._chore = chore
        self._pending: Batch | None = None
        self._started = time.time()
        self._reset()
        recorder.wake = self.start
        _instances.add(self)

    def _reset(self) -> None:
        """Forget the thread: also runs in a forked child, where only the forking thread lives on."""
        self._stop = Event()
        self._done = Event()
        self._starting = Lock()
        self._flushing = Lock()
        self._thread: Thread | None = None
        self._pending = None
        self._failures = 0
        self._not_before = 0.0
        # What the last flush took that arrived.
        self.took_ms: float | None = None

    def start(self) -> None:
        """Start the thread of this process; a second call does nothing."""
        with self._starting:  # critical section: two first requests at once start one thread
            if self._thread is not None or self._stop.is_set():
                return
            self._started = time.time()
            self._thread = Thread(target=self._run, name="django_perf flusher", daemon=True)
            self._thread.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        """Ask the thread for a last flush, marked final, and wait up to the deadline."""
        atexit.unregister(self.stop)
        self._stop.set()
        if self._thread is not None and self._thread.is_alive():
            self._done.wait(self.deadline)

    def _run(self) -> None:
        stop, done = self._stop, self._done
        # Not recorder.paused(): nothing that could fail may stand between the thread and its loop.
        current.set(PAUSED)
        try:
            while not stop.wait(self.interval * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311 - no secret
                self._guarded_flush()
            self._guarded_flush(final=True)
        finally:
            done.set()

    def _guarded_flush(self, final: bool = False) -> None:
        """Flush; a fault of ours, wherever it is, must not end the thread: the next round may succeed."""
        try:
            self.flush(final)
        except Exception as error:
            with suppress(Exception):
                self._recorder.lost("error", f"flusher: {type(error).__name__}")

    def flush(self, final: bool = False) -> bool:
        """Send what has gathered; True when nothing is left to send. A final flush ignores the back-off."""
        with self._flushing:  # critical section: one flush at a time, guards _pending and the back-off
            if not final and time.monotonic() < self._not_before:
                return False
            try:
                sent = self._send_pending() and self._send(self._collect(final))
            except Exception as error:  # gathering failed: the thread lives on, and the next flush has the rest
                self._recorder.lost("error", f"flusher: {type(error).__name__}")
                sent = False
        if sent and not final:
            self._run_chore()
        return sent

    def _collect(self, final: bool) -> Batch:
        origin = own_origin(clean(socket.gethostname(), 64), self._started)
        levels = self._recorder.levels(origin.host)
        tables = self._recorder.drain()
        return Batch(origin, time.time(), tables, levels, final, self._recorder.samples.take())

    def _send_pending(self) -> bool:
        batch = self._pending
        if batch is None:
            return True
        if time.time() - batch.taken > GIVE_UP_S:
            self._pending = None
            self._recorder.lost("dropped", "the store did not answer for an hour", max(1, batch.count()))
            return True
        return self._send(batch)

    def _send(self, batch: Batch) -> bool:
        began_s = time.monotonic()
        try:
            self._sink(batch)
        except Exception as error:
            self._pending = batch
            self._failures += 1
            pause = self.interval * 2 ** min(self._failures - 1, _MAX_DOUBLINGS)
            self._not_before = time.monotonic() + min(pause, _MAX_BACKOFF_S)
            self._recorder.lost("error", f"flush: {type(error).__name__}")
            return False
        self._pending, self._failures, self._not_before = None, 0, 0.0
        self.took_ms = (time.monotonic() - began_s) * 1_000
        return True

    def _run_chore(self) -> None:
        if self._chore is None:
            return
        try:
            self._chore()
        except Exception as error:
            self._recorder.lost("error", f"housekeeping: {type(error).__name__}")


_instances: weakref.WeakSet[Flusher] = weakref.WeakSet()


def _forget_parent() -> None:
    for instance in _instances:
        instance._reset()


os.register_at_fork(after_in_child=_forget_parent)
