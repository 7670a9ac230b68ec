"""Keep the store tidy: whoever gets the lease compacts and expires, once a minute in the whole cluster."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from ..conf import get_settings
from ..exceptions import UnknownPayload
from .compactor import compact
from .lease import Holder
from .models import Delta, Mark, Process, Rollup, Sample, Series, Total
from .retention import expire
from .writer import own_connection


class Housekeeper:
    """Run the housekeeping at most once a minute in this process; the chore of the flusher, in its thread.

    `then` is called with the alias of the store afterwards, where this process had the lease: once a minute in the
    whole cluster.
    """

    def __init__(self, then: Callable[[str], None] = lambda alias: None) -> None:
        self._then = then
        self._minute = 0
        self._took_ms: float | None = None

    def __call__(self) -> None:
        minute, began_s = int(time.time()) // 60, time.monotonic()
        if minute != self._minute:
            self._minute = minute
            with own_connection() as alias:
                if tidy(alias) is not None:
                    self._took_ms = (time.monotonic() - began_s) * 1_000
                    self._then(alias)

    def took_ms(self) -> float | None:
        """Return what the housekeeping took since the last call, None if another process did it."""
        took_ms, self._took_ms = self._took_ms, None
        return took_ms


def tidy(alias: str) -> int | None:
    """Compact and expire under the lease; returns the deltas merged, None when another process is at it.

    The lease is kept until it runs out, so that the other workers need not ask the same again this minute.
    """
    holder = Holder(alias, f"{socket.gethostname()}:{os.getpid()}")
    if not holder.acquire():
        return None
    try:
        merged = compact(holder, by_host=get_settings().metrics_by_host)
    except UnknownPayload:
        holder.release()  # a process of the version that wrote it can go on at once
        raise
    expire(alias)
    return merged


def clear(alias: str) -> None:
    """Delete every measurement. The generation stays, so that a compactor at work notices and gives up."""
    holder = Holder(alias, f"clear:{socket.gethostname()}:{os.getpid()}")
    holder.take_over()
    with holder.change() as lease:
        for model in (Delta, Rollup, Total, Process, Sample, Mark, Series):
            model._base_manager.using(alias).all()._raw_delete(alias)
        lease.rolled = {}
    holder.release()
