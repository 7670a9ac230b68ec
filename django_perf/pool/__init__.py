"""Lend database connections that heal: the engine, the pool itself, and two helpers for views.

Names are imported lazily: Django loads the engine before the app registry is ready.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..exceptions import PoolClosed, PoolError, PoolTimeout, TooManyRequests

if TYPE_CHECKING:
    from .pool import ConnectionPool
    from .scopes import released, statement_timeout

__all__ = [
    "ConnectionPool",
    "PoolClosed",
    "PoolError",
    "PoolTimeout",
    "TooManyRequests",
    "released",
    "statement_timeout",
]

_HOMES = {"ConnectionPool": ".pool", "released": ".scopes", "statement_timeout": ".scopes"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
