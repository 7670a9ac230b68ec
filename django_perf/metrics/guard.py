"""Keep faults of django_perf away from the host: telemetry may be lost, never a request."""

from __future__ import annotations

from contextlib import suppress

from .recorder import recorder


def count_fault(place: str, error: Exception) -> None:
    """Count an exception of ours by place and class; never raises.

    Called from `except Exception`: BaseException (SystemExit of a worker that is told to stop) always passes.
    """
    # Counting may fail too. This net is the one place where a fault of ours may go uncounted.
    with suppress(Exception):
        recorder.lost("error", f"{place}: {type(error).__name__}")
