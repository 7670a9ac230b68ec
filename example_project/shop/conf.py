"""Name the shop's own settings; the textbook's names are kept where it has one."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class ShopConfig:
    """Hold the shop's knobs: times in seconds, sizes in bytes."""

    cache_ttl: float = 300
    negative_ttl: float = 30
    pool_max_size: int = 20
    compression_threshold: int = 1000
    page_size: int = 20
    max_page_size: int = 100


def get_config() -> ShopConfig:
    """Return the project's `SHOP` setting, or the defaults."""
    return getattr(settings, "SHOP", None) or ShopConfig()
