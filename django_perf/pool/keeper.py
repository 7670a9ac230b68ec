"""Look after all pools of the process from one thread: nothing here is needed for correctness."""

from __future__ import annotations

import atexit
import logging
import os
import time
import weakref
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from .fork import new_mark

if TYPE_CHECKING:
    from .pool import ConnectionPool

logger = logging.getLogger("django_perf.pool")

BUSY_TICK_S = 0.1
IDLE_TICK_S = 1.0
_MAINTAIN_EVERY_S = 1.0
_EXIT_S = 1.5


class Keeper:
    """Tick: ten times a second while a connection is out, once a second otherwise.

    The thread starts with the first connection of a process and starts anew in a forked child. It never blocks on a
    server: whatever takes a round trip runs in a thread of its own.
    """

    def __init__(self) -> None:
        self._pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
        self._forgetting = Lock()
        self.mark = new_mark()
        self._reset()

    def _reset(self) -> None:
        """Forget the thread; also runs in a forked child."""
        self._lock = Lock()
        self._thread: Thread | None = None
        self._wake = Event()
        self._stopping = False
        self._done = Event()
        self._pid = os.getpid()

    def watch(self, pool: ConnectionPool) -> None:
        """Look after `pool` from now on."""
        with self._lock:  # critical section: one thread, and a set that is not iterated over meanwhile
            self._pools.add(pool)
            if self._thread is None and not self._stopping:
                thread = Thread(target=self._run, name="django_perf pool keeper", daemon=True)
                with suppress(RuntimeError):  # the interpreter is about to end, and starts no more threads
                    thread.start()
                    self._thread = thread
                    atexit.register(self.stop)

    def wake(self) -> None:
        """Tick soon: something with a short deadline has begun."""
        self._wake.set()

    def stop(self) -> None:
        """Retire all pools, by the thread that lives (Python 3.12 starts none at exit), and wait a moment for it."""
        atexit.unregister(self.stop)
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread.is_alive():
            self._done.wait(_EXIT_S)

    def pools(self) -> list[ConnectionPool]:
        """Return the pools that are in use in this process."""
        with self._lock:
            return list(self._pools)

    def _run(self) -> None:
        done, next_maintenance = self._done, 0.0
        try:
            while not self._stopping:
                now = time.monotonic()
                is_due = now >= next_maintenance
                next_maintenance = now + _MAINTAIN_EVERY_S if is_due else next_maintenance
                is_busy = self._tick(is_due)
                self._wake.wait(BUSY_TICK_S if is_busy else IDLE_TICK_S)
                self._wake.clear()
            for pool in self.pools():
                pool.retire()
        finally:
            done.set()

    def _tick(self, is_due: bool) -> bool:
        is_busy = False
        for pool in self.pools():
            try:
                is_busy = pool.tend(is_due) or is_busy
            except Exception:  # a fault with one pool must end neither the thread nor the care for the others
                logger.exception("pool %r: the keeper failed", pool.name)
        return is_busy

    def forget_parent(self) -> None:
        """Start over in a forked child, once; the pools of the parent stay with it."""
        with self._forgetting:  # critical section: two threads of a child may notice at once
            for pool in list(self._pools):
                pool.forget()
            if self._pid != os.getpid():
                self._reset()
            # Last: whoever sees the mark must find nothing of the parent's.
            self.mark[0] = 1

    def after_fork(self) -> None:
        """Start over in a child of os.fork(), where another thread of the parent may have held the lock."""
        self._forgetting = Lock()
        self.forget_parent()


keeper = Keeper()
# Whoever forks in C may not run these hooks: there the first checkout notices by the mark.
os.register_at_fork(after_in_child=keeper.after_fork)
