"""Let one process do the housekeeping, and stop one that has lost the right to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction
from django.db.models import QuerySet

from ..exceptions import PerfError
from .models import Lease

NAME = "compactor"
DURATION_S = 60.0


class LeaseLost(PerfError):
    """Stop a holder that slept through its lease: another one has taken over."""


class Holder:
    """Hold the lease of one alias. Every change goes through `change()`, which fences it.

    Fencing needs no clock: a change begins by raising the generation from the value this holder knows, in the same
    transaction. A holder that was stopped for an hour finds another value, and its transaction is rolled back.
    """

    def __init__(self, alias: str, owner: str) -> None:
        self.alias = alias
        self.owner = owner[:120]
        self.generation = 0

    def acquire(self) -> bool:
        """Try to take or renew the lease for a minute; False when another process has it."""
        now = time.time()
        leases = Lease.objects.using(self.alias)
        leases.get_or_create(name=NAME)
        with transaction.atomic(using=self.alias):
            lease = self._unlocked(leases).filter(name=NAME).first()
            if lease is None or (lease.expires >= now and lease.owner != self.owner):
                return False
            lease.owner, lease.expires = self.owner, now + DURATION_S
            lease.save(using=self.alias, update_fields=["owner", "expires"])
            self.generation = lease.generation
        return True

    def take_over(self) -> None:
        """Take the lease from whoever has it, after the change it may be in the middle of."""
        leases = Lease.objects.using(self.alias)
        leases.get_or_create(name=NAME)
        leases.filter(name=NAME).update(owner=self.owner, expires=time.time() + DURATION_S)
        # Under our name nobody else can raise it any more.
        self.generation = leases.get(name=NAME).generation

    def _unlocked(self, leases: QuerySet[Lease]) -> QuerySet[Lease]:
        """Pass by a locked row: its holder works, or was stopped inside a transaction; never queue behind it."""
        can_skip = connections[self.alias].features.has_select_for_update_skip_locked
        return leases.select_for_update(skip_locked=True) if can_skip else leases

    def release(self) -> None:
        """Give the lease back before it expires."""
        Lease.objects.using(self.alias).filter(name=NAME, owner=self.owner).update(expires=0)

    @contextmanager
    def change(self) -> Iterator[Lease]:
        """Open a fenced transaction and give the lease row; what is set in its `rolled` is saved with the change.

        Raises LeaseLost when another holder has changed anything since.
        """
        with transaction.atomic(using=self.alias):
            self._limit_idle_time()
            rows = Lease.objects.using(self.alias).filter(name=NAME, owner=self.owner, generation=self.generation)
            if not rows.update(generation=self.generation + 1, expires=time.time() + DURATION_S):
                raise LeaseLost(f"{self.owner!r} no longer holds the lease at generation {self.generation}")
            lease = Lease.objects.using(self.alias).get(name=NAME)
            before = dict(lease.rolled)
            yield lease
            if lease.rolled != before:
                lease.save(using=self.alias, update_fields=["rolled"])
        self.generation += 1

    def _limit_idle_time(self) -> None:
        """Have PostgreSQL end our transaction if this process is stopped in the middle of it."""
        connection = connections[self.alias]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
