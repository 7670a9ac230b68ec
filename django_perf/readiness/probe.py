"""Ask a dependency how it is, in a thread of its own, so that one that hangs hangs nobody else."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from threading import Event, Lock, Thread

# Below the second that Kubernetes and HAProxy wait by default.
LIMIT_S = 0.8
KEEP_S = 1.0
LATE = f"no answer within {LIMIT_S} s"


class _Run:
    """One question, and what came of it."""

    __slots__ = ("began", "done", "ended", "trouble")

    def __init__(self, began: float) -> None:
        self.began = began
        self.ended = float("inf")
        self.done = Event()
        self.trouble = ""


class Probe:
    """Ask at most once at a time, and keep the answer for a second, however many want to know.

    `ask` returns what is wrong, "" where nothing is, or raises. It is left behind in its thread when it takes longer
    than the limit, and until it returns nobody asks again. Thread-safe; a forked child begins anew.
    """

    def __init__(self, ask: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self.forget()
        _instances.add(self)

    def forget(self) -> None:
        """Begin anew: the thread that asks is not here."""
        self._lock = Lock()
        self._run: _Run | None = None

    def begin(self) -> _Run:
        """Ask, unless somebody does or has just done so; returns at once."""
        with self._lock:  # critical section: one question at a time
            now = self._clock()
            if self._run is None or now - self._run.ended >= KEEP_S:
                self._run = _Run(now)
                self._start(self._run)
            return self._run

    def trouble(self, run: _Run) -> str:
        """Return what is wrong, "" where nothing is; waits until the limit since the question was asked."""
        left = run.began + LIMIT_S - self._clock()
        return run.trouble if run.done.wait(max(0.0, left)) else LATE

    def _start(self, run: _Run) -> None:
        try:
            Thread(target=self._answer, args=(run,), name="django_perf probe", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._end(run, "no thread to ask in")

    def _answer(self, run: _Run) -> None:
        try:
            trouble = self._ask()
        except Exception as error:
            # The class alone: a text may name hosts and users.
            trouble = type(error).__name__
        self._end(run, trouble)

    def _end(self, run: _Run, trouble: str) -> None:
        run.trouble, run.ended = trouble, self._clock()
        run.done.set()


_instances: weakref.WeakSet[Probe] = weakref.WeakSet()


def _forget_parent() -> None:
    for instance in _instances:
        instance.forget()


os.register_at_fork(after_in_child=_forget_parent)
