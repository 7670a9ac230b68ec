"""Compress responses: fewer bytes for less CPU, correct in every corner.

Names are imported lazily: the algorithms need no Django.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decorators import compress, no_compress

__all__ = ["compress", "no_compress"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in __all__:
        from . import decorators

        return getattr(decorators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
