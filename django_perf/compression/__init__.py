"""Compress responses: fewer bytes for less CPU, correct in every corner."""

from __future__ import annotations

from .decorators import compress, no_compress

__all__ = ["compress", "no_compress"]
