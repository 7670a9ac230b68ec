"""Let one thread compute what many want at the same time."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, get_ident
from typing import Any


class _Flight:
    """One computation under way: its leader, and what came of it."""

    __slots__ = ("done", "error", "has_landed", "leader", "value")

    def __init__(self) -> None:
        self.leader = get_ident()
        self.done = Event()
        self.has_landed = False
        self.value: Any = None
        self.error: Exception | None = None


class SingleFlight:
    """Share computations by key. Thread-safe; call forget_parent() in a forked child.

    Those who wait get the leader's value, or its exception. When the leader is stopped by something that is no
    Exception (a greenlet killed, SystemExit), the next one takes its place. A computation that needs its own result
    computes.
    """

    def __init__(self, patience: float = 30.0) -> None:
        self.patience = patience
        self.forget_parent()

    def forget_parent(self) -> None:
        """Begin empty: the threads that computed are not here."""
        self._lock = Lock()
        self._flights: dict[str, _Flight] = {}

    def do(self, key: str, compute: Callable[[], Any]) -> tuple[Any, bool]:
        """Return the value, and whether somebody else has computed it. Raises what `compute` raises."""
        while True:
            with self._lock:  # critical section: one leader per key
                flight = self._flights.get(key)
                if flight is None:
                    flight = self._flights[key] = _Flight()
                    break
            if flight.leader == get_ident() or not flight.done.wait(self.patience):
                return compute(), False
            if flight.error is not None:
                raise flight.error
            if flight.has_landed:
                return flight.value, True
        return self._lead(key, flight, compute), False

    def _lead(self, key: str, flight: _Flight, compute: Callable[[], Any]) -> Any:
        try:
            flight.value = compute()
            flight.has_landed = True
            return flight.value
        except Exception as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                if self._flights.get(key) is flight:
                    del self._flights[key]
            flight.done.set()
