"""Collect the models of the app where Django looks for them."""

from __future__ import annotations

from .compression.models import CompressionDictionary
from .dashboard.models import Performance
from .store.models import AlertState, Delta, Lease, Mark, Order, Process, Rollup, Sample, Series, Total

__all__ = [
    "AlertState",
    "CompressionDictionary",
    "Delta",
    "Lease",
    "Mark",
    "Order",
    "Performance",
    "Process",
    "Rollup",
    "Sample",
    "Series",
    "Total",
]
