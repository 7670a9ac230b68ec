"""Know what a transaction has touched: its invalidations wait for the commit, and its reads go past the cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# The method of a connection that runs the hooks, after the commit.
_RUN = "run_and_clear_commit_hooks"


class Invalidation:
    """What is to be forgotten when a transaction commits; one that is rolled back forgets it with the transaction."""

    def __init__(self, names: Collection[str], forget: Callable[[], Any], pattern: str = "") -> None:
        self.names, self.pattern = frozenset(names), pattern
        self.is_done = False
        self._forget = forget
        # Django logs a hook that fails by this.
        self.__qualname__ = type(self).__qualname__

    def touches(self, names: frozenset[str]) -> bool:
        """Tell whether one of these names is to be forgotten."""
        return bool(names & self.names) or (
            bool(self.pattern) and any(fnmatchcase(name, self.pattern) for name in names)
        )

    def __call__(self) -> None:
        """Forget; called by Django after the commit, by a test case of Django's before."""
        self.is_done = True
        self._forget()


def on_commit(names: Collection[str], forget: Callable[[], Any], using: str | None = None, pattern: str = "") -> None:
    """Forget when the transaction of a database commits, at once when there is none.

    Without `using` that is the default database, or the one that this thread has a transaction on. `names` and what
    matches `pattern` is read past the cache until then. This comes before all other hooks: one that fails must not
    leave the cache as it was, one that takes long must not keep it so, and one that reads must not read the old value.
    """
    connection = in_transaction(using)
    if connection is None:  # not Django's on_commit(): that would connect to a database that may be down
        forget()
    else:
        connection.on_commit(Invalidation(names, forget, pattern), robust=True)
        if _RUN not in connection.__dict__:
            setattr(connection, _RUN, partial(_run_ours_first, connection, getattr(connection, _RUN)))


def _run_ours_first(connection: BaseDatabaseWrapper, run: Callable[[], None]) -> None:
    """Run the hooks of a transaction that was committed, invalidations first."""
    connection.run_on_commit.sort(key=lambda hook: not isinstance(hook[1], Invalidation))
    run()


def in_transaction(using: str | None) -> BaseDatabaseWrapper | None:
    """Return the connection of this thread that has a transaction, on a certain database or on any; None without."""
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
            if any(hook.touches(wanted) for hook in hooks if not hook.is_done):
                return True
    return False
