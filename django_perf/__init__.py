"""Measure a Django site in production: timing, SQL, processes; on an admin page and in `manage.py perfstats`.

Names are imported lazily, so that `from django_perf import timed` works before the app registry is ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache.decorators import cache_result
    from .cache.invalidation import invalidate
    from .metrics.timed import timed

__version__ = "0.1.0"
__all__ = ["__version__", "cache_result", "invalidate", "timed"]

_HOMES = {
    "cache_result": ".cache.decorators",
    "invalidate": ".cache.invalidation",
    "timed": ".metrics.timed",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
