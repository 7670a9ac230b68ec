"""Offer the middleware under the path that settings name."""

from __future__ import annotations

from .compression.middleware import CompressionMiddleware
from .requests.middleware import TimingMiddleware

__all__ = ["CompressionMiddleware", "TimingMiddleware"]
