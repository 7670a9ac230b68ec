"""Report on django_perf itself: what it lost, and when it last heard of a worker."""

from __future__ import annotations

from dataclasses import dataclass

from ..metrics.catalog import LOSS
from ..store.reader import Snapshot
from .process import workers
from .window import Window, moment


@dataclass(frozen=True, slots=True)
class Health:
    """Count losses in the window. `errors` is by place and class; `unread` rows were written by another version."""

    dropped: int
    errors: dict[str, int]
    last_flush: str | None
    workers: int
    lost_workers: int
    unread: int

    @property
    def is_losing(self) -> bool:
        """Tell whether anything was lost."""
        return bool(self.dropped or self.errors or self.lost_workers or self.unread)


def health(snapshot: Snapshot, window: Window) -> Health:
    """Return the state of the measuring."""
    losses = snapshot.sums(LOSS, window.span)
    processes = workers(snapshot, window)
    last = max((worker.last_seen for worker in processes), default=None)
    return Health(
        dropped=sum(sum_.total for (what, _), sum_ in losses.items() if what == "dropped"),
        errors={detail: sum_.total for (what, detail), sum_ in sorted(losses.items()) if what == "error"},
        last_flush=None if last is None else moment(last).isoformat(timespec="seconds"),
        workers=sum(worker.state() == "running" for worker in processes),
        lost_workers=sum(worker.state() == "lost" for worker in processes),
        unread=snapshot.unread,
    )
