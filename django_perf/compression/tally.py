"""Count what compressing takes and saves, by endpoint and outcome, until the flusher fetches it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from threading import RLock

from ..conf import get_settings
from ..metrics.catalog import COMPRESSION
from ..metrics.endpoints import Match, method_of, route_of
from ..metrics.recorder import Entry, recorder
from ..metrics.trace import current

# Where nobody fetches, as in a management command, it must not grow for ever.
_MOST = 20_000

Row = tuple[str, str | None, str, int, int, int]
_rows: deque[Row] = deque(maxlen=_MOST)
_lock = RLock()


def note(match: Match | None, method: str | None, outcome: str, bytes_in: int, bytes_out: int, cpu_ns: int) -> None:
    """Note one response: by which coding it left, or why it was left alone; thread-safe, and no lock is taken.

    Not those of requests that are left out of every figure.
    """
    trace = current.get()
    if recorder.enabled and (trace is None or not trace.ignored):
        # The route and not the match, which holds what the visitor has put into the path.
        _rows.append((route_of(match), method, outcome, bytes_in, bytes_out, cpu_ns))


def read() -> Iterator[Entry]:
    """Yield what was noted since the last call."""
    with _lock:
        rows = list(islice(iter(_rows.popleft, None), len(_rows)))
    ignored = get_settings().ignore_routes
    groups: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(row[:3], []).append(row)
    for (route, method, outcome), group in groups.items():
        _, _, _, bytes_in, bytes_out, cpu_ns = zip(*group, strict=True)
        if any(fnmatchcase(route, pattern) for pattern in ignored):
            continue
        key = (COMPRESSION.name, route, method_of(method), outcome)
        yield key, [(one + 500) // 1000 for one in cpu_ns], (sum(bytes_in), sum(bytes_out)), None


def _forget_parent() -> None:
    global _lock
    _lock = RLock()
    _rows.clear()


os.register_at_fork(after_in_child=_forget_parent)
