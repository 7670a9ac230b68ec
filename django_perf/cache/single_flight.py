"""Let one thread compute what many want at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Event, RLock, get_ident
from typing import Any


class _Flight:
    """One computation under way: its leader, what it goes by, and what came of it."""

    __slots__ = ("basis", "done", "error", "has_landed", "leader", "value")

    def __init__(self, basis: object) -> None:
        self.leader, self.basis = get_ident(), basis
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
        # Reentrant for the sake of finalisers, which may delete keys anywhere.
        self._lock = RLock()
        self._flights: dict[str, _Flight] = {}

    def forget(self, keys: Iterable[str]) -> None:
        """Let nobody else share what is being computed for these keys: it has begun before they were invalidated."""
        if self._flights:
            with self._lock:
                for key in keys:
                    self._flights.pop(key, None)

    def forget_all(self) -> None:
        """Let nobody else share anything that is being computed."""
        with self._lock:
            self._flights.clear()

    def lead(self, key: str, compute: Callable[[], Any], basis: object = None) -> tuple[Any, bool]:
        """Return the value and True; None and False at once when somebody is computing it."""
        with self._lock:  # critical section: one leader per key
            if key in self._flights:
                return None, False
            flight = self._flights[key] = _Flight(basis)
        return self._lead(key, flight, compute), True

    def do(self, key: str, compute: Callable[[], Any], basis: object = None) -> tuple[Any, bool]:
        """Return the value, and whether somebody else has computed it. Raises what `compute` raises.

        Only who goes by an equal basis, the epochs of the tags, shares a computation.
        """
        while True:
            with self._lock:  # critical section: one leader per key
                flight = self._flights.get(key)
                if flight is None or flight.basis != basis:
                    flight = self._flights[key] = _Flight(basis)
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
