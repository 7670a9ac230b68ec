"""Keep what is dear to make for a moment, and let one thread make it for all."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Keep what `make` returns, or raises, for `keep_s` seconds. Thread-safe; a forked child begins empty.

    Who comes while another thread makes it waits for that one, `patience_s` at the most, and then gets None.
    """

    def __init__(
        self,
        make: Callable[[], T],
        keep_s: float,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._keep_s = keep_s
        self._patience_s = patience_s
        self._clock = clock
        self.forget()
        _instances.add(self)

    def forget(self) -> None:
        """Begin empty."""
        self._lock = Lock()
        self._value: T | None = None
        self._error: Exception | None = None
        self._until = float("-inf")

    def get(self) -> T | None:
        """Return what is kept or newly made; raises what making it raised."""
        lock = self._lock
        if not lock.acquire(timeout=self._patience_s):
            return None
        try:  # critical section, as long as it takes to make it: one thread makes, the others wait
            if self._clock() >= self._until:
                self._renew()
            if self._error is not None:
                raise self._error.with_traceback(None)
            return self._value
        finally:
            lock.release()

    def _renew(self) -> None:
        self._value = self._error = None
        try:
            self._value = self._make()
        except Exception as error:
            self._error = error
        finally:
            self._until = self._clock() + self._keep_s


_instances: weakref.WeakSet[Kept[Any]] = weakref.WeakSet()


def _forget_parent() -> None:
    for instance in _instances:
        instance.forget()


os.register_at_fork(after_in_child=_forget_parent)
