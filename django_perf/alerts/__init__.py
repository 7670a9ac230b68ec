"""Tell people when a figure breaches its limit for a while, and when it does no longer (docs/alerts.md).

The signal is imported lazily: the pure modules need no Django.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .signals import alert_changed

__all__ = ["alert_changed"]


def __getattr__(name: str) -> Any:
    """Import the signal at its first use."""
    if name in __all__:
        return getattr(import_module(".signals", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
