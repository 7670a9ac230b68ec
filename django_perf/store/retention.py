"""Delete what has expired, in chunks that no request ever waits for."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db import models
from django.db.models import Min

from ..metrics.catalog import KINDS
from ..metrics.flusher import GIVE_UP_S
from . import orders, samples
from .lease import NAME
from .models import Delta, Lease, Mark, Order, Process, Rollup, Series
from .tiers import DAY, TIERS
from .totals import forget_hosts

_AT_ONCE = 2_000
_BUCKETS_AT_ONCE = 5
_PROCESS_KEEP_S = 7 * 86_400
# Totals are kept for ever, and with them the names of what they count.
_FOR_EVER = [kind.name for kind in KINDS.values() if kind.is_total]


def expire(alias: str, now: float | None = None) -> int:
    """Delete expired rows; returns how many. Safe to run twice, or by two processes at once."""
    now = time.time() if now is None else now
    minute = int(now) // 60
    deleted = samples.trim(alias, now)
    deleted += sum(_expire_tier(alias, tier, cutoff) for tier, cutoff in _cutoffs(alias, minute))
    # A flush may be repeated for an hour under its id: the row that remembers the id outlives that twice.
    old = Delta.objects.using(alias).filter(state=Delta.State.MERGED, taken__lt=now - 2 * GIVE_UP_S)
    deleted += _delete_chunks(alias, old)
    deleted += _delete_chunks(alias, Process.objects.using(alias).filter(last_seen__lt=now - _PROCESS_KEEP_S))
    deleted += forget_hosts(alias)
    deleted += _delete_chunks(alias, Order.objects.using(alias).filter(at__lt=now - orders.KEEP_S))
    deleted += _delete_chunks(alias, Mark.objects.using(alias).filter(at__lt=(minute - TIERS[-1].keep) * 60))
    unnamed = Series.objects.using(alias).filter(last_seen__lt=minute - TIERS[-1].keep - DAY)
    return deleted + _delete_chunks(alias, unnamed.exclude(kind__in=_FOR_EVER))


def _cutoffs(alias: str, minute: int) -> Iterator[tuple[int, int]]:
    """Yield (tier, minute before which rows go): never a row that the next tier has not taken in."""
    lease = Lease.objects.using(alias).filter(name=NAME).first()
    rolled = lease.rolled if lease else {}
    for tier in TIERS:
        is_last = tier is TIERS[-1]
        taken_in = minute if is_last else int(rolled.get(str(tier.number + 1), 0))
        yield tier.number, min(minute - tier.keep, taken_in)


def _expire_tier(alias: str, tier: int, cutoff: int) -> int:
    deleted = 0
    for kind in KINDS.values():
        rows = Rollup.objects.using(alias).filter(tier=tier, kind=kind.number, bucket__lt=cutoff)
        while (oldest := rows.aggregate(oldest=Min("bucket"))["oldest"]) is not None:
            end = min(cutoff, oldest + _BUCKETS_AT_ONCE * TIERS[tier].size)
            # No signals, no collector: a plain DELETE over one range of the primary key.
            deleted += rows.filter(bucket__lt=end)._raw_delete(alias)
    return deleted


def _delete_chunks(alias: str, rows: models.QuerySet[models.Model]) -> int:
    deleted = 0
    while ids := list(rows.values_list("pk", flat=True)[:_AT_ONCE]):
        deleted += rows.model._base_manager.using(alias).filter(pk__in=ids).delete()[0]
    return deleted
