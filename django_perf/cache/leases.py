"""Let one process of all compute a value, and keep it only if nobody has invalidated it meanwhile.

A lease is a key of its own with a short life, which its holder renews. Writing or deleting a key deletes its lease
first; a value is stored only under a lease that is still there. In the table alone only deleting does.
"""

from __future__ import annotations

import os
from secrets import token_bytes
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Any, Protocol

from ..exceptions import CacheUnavailable
from .keys import to_bytes
from .sealing import PLAIN, Meta

if TYPE_CHECKING:
    from .memory import Memory
    from .shared import Item, Shared

# A leader that has died is replaced after so long.
LEASE_S = 3.0
_LEASE_MS = int(LEASE_S * 1e3)
_RENEW_S = LEASE_S / 3


class Lease(Protocol):
    """The right to compute and store one value."""

    def store(self, value: Any, ttl: float | None, meta: Meta, only_new: bool) -> bool:
        """Store the value unless it has been invalidated; tell whether. Ends the lease."""

    def release(self) -> None:
        """Let somebody else compute."""


class MemoryLease:
    """The right to fill this process's memory, for at most `longest` seconds; its token goes with every eviction."""

    def __init__(self, memory: Memory, physical: str, longest: float | None = None) -> None:
        self._memory, self._physical, self._longest = memory, physical, longest
        self._token = memory.begin(physical)

    def store(self, value: Any, ttl: float | None, meta: Meta, only_new: bool) -> bool:
        """Store the value unless it has been evicted, or written: that takes the token too."""
        if self._longest is not None:
            ttl = self._longest if ttl is None else min(ttl, self._longest)
        kept = None if meta is PLAIN else (meta, None)
        return self._memory.fill(self._physical, self._token, value, ttl, grace=meta.grace, meta=kept)

    def release(self) -> None:
        """Give the token back."""
        self._memory.abandon(self._physical, self._token)


class SharedLease:
    """A lease that lies in Redis, or without one in the table. Raises CacheUnavailable when that level is away."""

    def __init__(self, shared: Shared, physical: str, renewer: Renewer) -> None:
        self._shared, self._physical, self._renewer = shared, physical, renewer
        self.token = token_bytes(8)

    def acquire(self) -> bool:
        """Take the lease; False when somebody else has it."""
        is_ours = self._shared.take_lease(self._physical, self.token, _LEASE_MS)
        if is_ours:
            self._renewer.add(self)
        return is_ours

    def renew(self) -> None:
        """Prolong it."""
        self._shared.renew_lease(self._physical, self.token, _LEASE_MS)

    def store(self, value: Any, ttl: float | None, meta: Meta, only_new: bool) -> bool:
        """Store the value unless the lease is gone."""
        try:
            item: Item = self._shared.seal(self._physical, value, ttl, meta)
        except BaseException:  # what the format cannot carry
            self.release()
            raise
        self._renewer.remove(self)
        return self._shared.store_leased(self._physical, self.token, item, only_new)

    def release(self) -> None:
        """End the lease; one that cannot be ended now runs out."""
        self._renewer.remove(self)
        try:
            self._shared.end_lease(self._physical, self.token)
        except CacheUnavailable:
            return


class Renewer:
    """Renew the leases of this process in a thread that lives while there are any."""

    def __init__(self) -> None:
        self.forget_parent()

    def forget_parent(self) -> None:
        """Begin empty: what the parent computes, the parent stores."""
        self._lock = RLock()
        self._leases: set[SharedLease] = set()
        self._pid = 0

    def add(self, lease: SharedLease) -> None:
        """Renew a lease until it is removed."""
        with self._lock:
            self._leases.add(lease)
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
        try:
            Thread(target=self._run, name="django_perf cache leases", daemon=True).start()
        except RuntimeError:  # no more threads: the lease runs out if the computation takes longer
            self._pid = 0

    def remove(self, lease: SharedLease) -> None:
        """Let a lease run out."""
        with self._lock:
            self._leases.discard(lease)

    def _run(self) -> None:
        pause, pid = Event(), os.getpid()
        while pid == os.getpid():
            pause.wait(_RENEW_S)
            with self._lock:  # critical section: nobody adds a lease to a thread that ends
                leases = list(self._leases)
                if not leases:
                    self._pid = 0
                    return
            for lease in leases:
                self._renew(lease)

    @staticmethod
    def _renew(lease: SharedLease) -> None:
        try:
            lease.renew()
        except CacheUnavailable:
            return


def lease_key(physical: str) -> str:
    """Return the key of a lease; it must not be one that processes keep in memory."""
    return f"untracked:lease:{physical}"


def lease_bytes(physical: str) -> bytes:
    """Return the key of a lease as the server knows it."""
    return to_bytes(lease_key(physical))
