"""Refuse a misspelt SHOP_FAULTS before the server starts."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from django.core.checks import CheckMessage, Error

from example_project.shop.faults import ALL, FAULTS, enabled_faults


def check_faults(**kwargs: Any) -> list[CheckMessage]:
    """Return shop.E001 for each name in SHOP_FAULTS that plants nothing."""
    unknown = sorted(enabled_faults() - {ALL, *FAULTS})
    return [
        Error(f"SHOP_FAULTS names {name!r}, which is no fault.", hint=hint(name), id="shop.E001") for name in unknown
    ]


def hint(name: str) -> str:
    """Suggest the nearest fault, else list them all."""
    close = get_close_matches(name, FAULTS, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from: all, {', '.join(sorted(FAULTS))}."
