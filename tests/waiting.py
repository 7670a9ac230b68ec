"""Wait for what other threads, processes and servers do."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 30


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Poll until something is so; fail when it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)
