"""Read what was counted since the store began: what is exported, and falls with no retention."""

from __future__ import annotations

from collections import defaultdict

from ..exceptions import DamagedPayload, UnknownPayload
from ..metrics.catalog import Kind
from ..metrics.frame import Stack
from .fresh import Fresh, Labels
from .models import Delta, Process, Total
from .reader import Snapshot, Sum
from .rows import split_row

# (host, labels); the host is "" where the hosts are not told apart.
Named = tuple[str, Labels]


class Totals:
    """Read the totals of one snapshot: those of the merged deltas, and the deltas that wait."""

    def __init__(self, snapshot: Snapshot, *, by_host: bool) -> None:
        self._snapshot = snapshot
        self._by_host = by_host
        self._fresh: dict[str, Fresh] = defaultdict(Fresh)
        for delta in snapshot.waiting:
            try:
                self._fresh[delta.host if by_host else ""].add(0, bytes(delta.payload))
            except (UnknownPayload, DamagedPayload):
                snapshot.unread += 1

    def sums(self, kind: Kind) -> dict[Named, Sum]:
        """Return the sum of each series of a kind with `is_total`."""
        found: dict[Named, Sum] = defaultdict(Sum)
        names = self._snapshot.names(kind)
        for host, data in self._rows(kind):
            ids, frame = split_row(data)
            stack = Stack(frame)
            for index, id_ in enumerate(ids):
                if id_ in names:
                    found[host, names[id_]].add([(stack, index)])
        for host, fresh in self._fresh.items():
            for labels, _, parts in fresh.series(kind, 0, 1):
                found[host, labels].add(parts)
        return found

    def _rows(self, kind: Kind) -> list[tuple[str, bytes]]:
        rows = Total.objects.using(self._snapshot.alias).filter(kind=kind.number)
        rows = rows.exclude(host="") if self._by_host else rows.filter(host="")
        return [(host, bytes(data)) for host, data in rows.values_list("host", "data")]


def forget_hosts(alias: str) -> int:
    """Delete the totals of hosts that no process has reported from for long; returns how many rows.

    One that is back after so long has a report that waits, before any process of it is known again.
    """
    known = Process.objects.using(alias).values("host")
    back = Delta.objects.using(alias).filter(state=Delta.State.WAITING).values("host")
    gone = Total.objects.using(alias).exclude(host="").exclude(host__in=known).exclude(host__in=back)
    return gone._raw_delete(alias)
