"""Know what a transaction has touched: its invalidations wait for the commit, and its reads go past the cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper


class Invalidation:
    """What is to be forgotten when a transaction commits; one that is rolled back forgets it with the transaction."""

    def __init__(self, names: Collection[str], forget: Callable[[], Any]) -> None:
        self.names = frozenset(names)
        self.is_done = False
        self._forget = forget

    def __call__(self) -> None:
        """Forget; called by Django after the commit, by a test case of Django's before."""
        self.is_done = True
        self._forget()


def on_commit(names: Collection[str], forget: Callable[[], Any], using: str | None = None) -> None:
    """Forget when the transaction of a database commits, at once when there is none.

    Without `using` that is the default database, or the one that this thread has a transaction on. Robust: a hook of
    somebody else that fails must not leave the cache as it was.
    """
    connection = _in_transaction(using)
    if connection is None:  # not Django's on_commit(): that would connect to a database that may be down
        forget()
    else:
        connection.on_commit(Invalidation(names, forget), robust=True)


def _in_transaction(using: str | None) -> BaseDatabaseWrapper | None:
    open_ones = [one for one in connections.all(initialized_only=True) if one.in_atomic_block]
    wanted = [one for one in open_ones if one.alias == (using or DEFAULT_DB_ALIAS)]
    found = wanted or ([] if using else open_ones)
    return found[0] if found else None


def is_touched(names: Iterable[str]) -> bool:
    """Tell whether a transaction of this thread has touched one of these tags or keys and has not ended."""
    wanted = None
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block and connection.run_on_commit:
            wanted = wanted or frozenset(names)
            hooks = [hook[1] for hook in connection.run_on_commit if isinstance(hook[1], Invalidation)]
            if any(wanted & hook.names for hook in hooks if not hook.is_done):
                return True
    return False
