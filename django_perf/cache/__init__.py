"""A cache of several levels: this process, Redis, a table.

Names are imported lazily: the modules of memory need no Django, and the rest must not be imported before its settings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decorators import cache_result
    from .invalidation import Tag, invalidate, register_entity
    from .multilevel import MultiLevelCache
    from .warming import warm, warmer
    from .writing import BufferedCounter, WriteThrough

__all__ = [
    "BufferedCounter",
    "MultiLevelCache",
    "Tag",
    "WriteThrough",
    "cache_result",
    "invalidate",
    "register_entity",
    "warm",
    "warmer",
]

_HOMES = {
    "BufferedCounter": ".writing",
    "MultiLevelCache": ".multilevel",
    "Tag": ".invalidation",
    "WriteThrough": ".writing",
    "cache_result": ".decorators",
    "invalidate": ".invalidation",
    "register_entity": ".invalidation",
    "warm": ".warming",
    "warmer": ".warming",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
