"""Keep a pool in shape, once a second: ages, leaks, the minimum. Nothing here is needed for correctness."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ..metrics.callsite import stack_of
from .slot import Slot

if TYPE_CHECKING:
    from .pool import ConnectionPool

logger = logging.getLogger("django_perf.pool")

_NOWHERE_S = 10.0


def maintain(pool: ConnectionPool) -> None:
    """Take back what dead threads hold, report leaks, replace the old, close the idle, open what is missing."""
    pool.reclaim()
    _find_nowhere(pool)
    now = pool.clock()
    _report_leaks(pool, now)
    for slot in pool.idle.copy():
        reason = _too_old(pool, slot, now)
        if reason and pool.claim(slot):
            pool.discard(slot, reason)
        elif now - max(slot.released_at, slot.pinged_at) > pool.keepalive and pool.claim(slot):
            _start_keeping_alive(pool, slot)
    pool.fill()


def _find_nowhere(pool: ConnectionPool) -> None:
    """Close connections that are neither idle nor lent: a signal handler raised between two places.

    Only when one has been found in the same state for long; handing over takes microseconds.
    """
    now = pool.clock()
    somewhere = {*pool.idle.copy(), *pool.taken.copy().values(), *pool.watchdog.checking.copy()}
    with pool.lock:
        nowhere = {slot: (slot.uses, slot.released_at) for slot in pool.slots if slot not in somewhere}
    found = {}
    for slot, state in nowhere.items():
        before, since = pool.nowhere.get(slot, (state, now))
        found[slot] = state, since if before == state else now
    pool.nowhere = found
    for slot, (_, since) in found.items():
        if now - since >= _NOWHERE_S:
            pool.discard(slot, "owner_died")


def _too_old(pool: ConnectionPool, slot: Slot, now: float) -> str:
    if now >= slot.expires_at:
        return "lifetime"
    is_idle = now - slot.released_at > pool.max_idle and len(pool.slots) > pool.min_size
    return "idle" if is_idle else ""


def _start_keeping_alive(pool: ConnectionPool, slot: Slot) -> None:
    if not pool.opener.spawn(partial(_keep_alive, pool, slot)):
        pool.idle.appendleft(slot)
        pool.settle()


def _keep_alive(pool: ConnectionPool, slot: Slot) -> None:
    """Make a round trip, for the sake of every firewall on the way; it is no use, so the idle time goes on."""
    if pool.answers(slot):
        slot.pinged_at = pool.clock()
        pool.idle.appendleft(slot)
        pool.settle()
    else:
        pool.discard(slot, "dead")


def _report_leaks(pool: ConnectionPool, now: float) -> None:
    for slot in pool.taken.copy().values():
        owner = slot.owner
        if owner is None or slot.reported_at == slot.taken_at or now - slot.taken_at < pool.leak_after:
            continue
        slot.reported_at = slot.taken_at
        pool.count("leaks")
        text = "pool %r: a connection has been held for %.0f s by thread %s; its stack now:\n%s"
        logger.warning(text, pool.name, now - slot.taken_at, owner.name, stack_of(owner))
