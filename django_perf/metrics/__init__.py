"""Measure in this process: kinds, histograms, the recorder and its flusher; pure Python, no Django."""

from __future__ import annotations

from .recorder import Recorder, recorder
from .timed import timed

__all__ = ["Recorder", "recorder", "timed"]
