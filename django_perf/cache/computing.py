"""Compute what is missing: once, however many want it, and with the old value at hand when the source fails."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import randbits
from typing import TYPE_CHECKING, Any

from .sealing import PLAIN, Meta, tag_digest
from .single_flight import SingleFlight

if TYPE_CHECKING:
    from .leases import Lease
    from .levels import Levels
    from .shared import Entry

logger = logging.getLogger("django_perf")

TAG_TTL_S = 30 * 86_400.0
_JITTER = 0.1
# After a failure the old value is served for so long before the source is asked again.
_THROTTLE_S = 5.0
_MAX_THROTTLED = 10_000
# What threads may share.
_UNCHANGEABLE = {type(None), bool, int, float, str, bytes}
# How often those look who wait for another process, and how long they wait at most.
_SHORTEST_LOOK_S, _LONGEST_LOOK_S, _PATIENCE_S = 0.005, 0.1, 30.0


def new_epoch() -> int:
    """Return the epoch of a tag: a number, which is not sealed, so that all read it whatever key they sign with."""
    return randbits(63)


Ttl = float | None | Callable[[Any], float | None]


@dataclass(frozen=True, slots=True)
class Policy:
    """Say how a value is kept.

    It is fresh for `ttl` seconds (None: for ever; or a function of the value), and may be served for `fail_safe` more
    when its source fails, for `stale` more while somebody computes it anew. `early` says how eagerly it is computed
    before its end (XFetch's beta; 0: never). `is_addition`: what somebody has set meanwhile stays, and a number can be
    counted with.
    """

    ttl: Ttl
    fail_safe: float = 0.0
    stale: float = 0.0
    early: float = 0.0
    is_addition: bool = False

    def grace(self) -> float:
        """Return how long a value is kept after its end."""
        return max(self.fail_safe, self.stale)

    def ttl_of(self, value: Any) -> float | None:
        """Return for how long a value is fresh, shortened at random: what was stored together ends at other times."""
        ttl = self.ttl(value) if callable(self.ttl) else self.ttl
        if ttl is None or self.is_addition:
            return ttl
        return ttl * (1 - _JITTER * random.random())  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class _Task:
    """One value that is wanted: under which key and epochs, how to compute and keep it, and what people call it."""

    physical: str
    name: str
    compute: Callable[[], Any]
    policy: Policy
    epochs: dict[str, bytes]


class Computing:
    """Find or compute the values of one cache. Thread-safe; call forget_parent() in a forked child."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self._flights = SingleFlight(_PATIENCE_S)
        self._throttled: dict[str, float] = {}

    def forget_parent(self) -> None:
        """Begin empty."""
        self._flights.forget_parent()
        self._throttled = {}

    def value(
        self, physical: str, compute: Callable[[], Any], policy: Policy, tags: Sequence[str] = (), name: str = ""
    ) -> Any:
        """Return the value of a key under its tags. Raises what `compute` raises, unless an old value may be served.

        With `name`, the key as people know it, it is counted as a read, and what it computes as a write.
        """
        began = time.monotonic_ns()
        epochs = self.epochs(tags)
        entry = self._current(physical, epochs) if epochs is not None else None
        is_fresh = entry is not None and entry.fresh_for > 0
        if name:
            self._levels.note(entry.level if entry is not None and is_fresh else "miss", (name,), began)
        if epochs is None:  # nobody can tell what is current
            return compute()
        if entry is not None and is_fresh and not _is_early(entry, policy):
            return entry.value
        return self._made(_Task(physical, name, compute, policy, epochs), entry)

    def forget(self, physicals: Iterable[str]) -> None:
        """Let whoever comes now compute anew: these keys have been written or deleted."""
        self._flights.forget(physicals)

    def forget_all(self) -> None:
        """Let whoever comes now compute anew."""
        self._flights.forget_all()

    def refresh(
        self, physical: str, compute: Callable[[], Any], policy: Policy, tags: Sequence[str] = (), name: str = ""
    ) -> Any:
        """Compute and store a value whatever there is."""
        epochs = self.epochs(tags)
        lease = self._levels.lease(physical) if epochs is not None else None
        if epochs is None or lease is None:
            return compute()
        return self._under(lease, _Task(physical, name, compute, policy, epochs))

    # --- tags -----------------------------------------------------------------------------------------------------

    def epochs(self, tags: Sequence[str]) -> dict[str, bytes] | None:
        """Return the epoch of each tag; None when nobody can tell."""
        if not tags:
            return {}
        keys = {self._levels.keys.tag(tag): tag for tag in tags}
        found = self._levels.read_many(list(keys))
        epochs = {}
        for key, tag in keys.items():
            entry = found.get(key) or self._begin_epoch(key)
            if entry is None or type(entry.value) is not int or not 0 <= entry.value < 2**64:
                return None
            epochs[tag_digest(tag)] = entry.value.to_bytes(8, "big")
        return epochs

    def _begin_epoch(self, key: str) -> Entry | None:
        """Give a tag an epoch; whoever comes first wins, the others use the winner's."""
        self._levels.add(key, new_epoch(), TAG_TTL_S)
        return self._levels.read(key)

    def _current(self, physical: str, epochs: dict[str, bytes]) -> Entry | None:
        entry = self._levels.read(physical)
        return entry if entry is not None and (entry.meta.epochs or {}) == epochs else None

    # --- computing ------------------------------------------------------------------------------------------------

    def _made(self, task: _Task, entry: Entry | None) -> Any:
        """Compute, or have somebody else compute, what is missing, stale or due."""
        if entry is not None and (entry.fresh_for > 0 or -entry.fresh_for < task.policy.stale):
            value, is_leader = self._flights.lead(task.physical, partial(self._renewed, task, entry), task.epochs)
            return value if is_leader else self._left(entry)
        value, is_shared = self._flights.do(task.physical, partial(self._computed, task, entry), task.epochs)
        if not is_shared:
            return value
        self._levels.tally.count("stampede_avoided")
        return value if type(value) in _UNCHANGEABLE else self._levels.sealer.copied(value)

    def _renewed(self, task: _Task, entry: Entry) -> Any:
        """Compute anew if no other process does; a source that fails is replaced by what there is."""
        lease = None if self._is_throttled(task.physical) else self._levels.lease(task.physical)
        if lease is None:
            return self._left(entry)
        try:
            return self._under(lease, task)
        except Exception as error:
            return self._instead(task.physical, error, entry)

    def _left(self, entry: Entry) -> Any:
        """Serve what there is, because somebody else computes."""
        self._levels.tally.count("stale_served" if entry.fresh_for <= 0 else "early_left_to_another")
        return entry.value

    def _computed(self, task: _Task, old: Entry | None) -> Any:
        """Compute in this process, or wait for the process that does."""
        usable = old if old is not None and -old.fresh_for < task.policy.fail_safe else None
        if usable is not None and self._is_throttled(task.physical):
            self._levels.tally.count("stale_served")
            return usable.value
        lease, entry = self._lease_or_entry(task)
        if entry is not None:
            self._levels.tally.count("stampede_avoided")
            return entry.value
        try:
            return task.compute() if lease is None else self._under(lease, task)
        except Exception as error:
            if usable is None:
                raise
            return self._instead(task.physical, error, usable)

    def _lease_or_entry(self, task: _Task) -> tuple[Lease | None, Entry | None]:
        deadline, pause = time.monotonic() + _PATIENCE_S, _SHORTEST_LOOK_S
        while True:
            lease = self._levels.lease(task.physical)
            # Another process may have finished between the first look and the lease.
            entry = self._current(task.physical, task.epochs)
            if entry is not None and entry.fresh_for > 0:
                if lease is not None:
                    lease.release()
                return None, entry
            if lease is not None or time.monotonic() >= deadline:
                return lease, None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_LOOK_S)

    def _under(self, lease: Lease, task: _Task) -> Any:
        """Compute and store under a lease."""
        began = time.monotonic_ns()
        try:
            value = task.compute()
        except BaseException:
            lease.release()
            raise
        computed = time.monotonic_ns()
        if not self._store(lease, task, value, (computed - began) / 1e9):
            self._levels.tally.count("store_refused")
        elif task.name:
            self._levels.note("set", (task.name,), computed)
        self._throttled.pop(task.physical, None)
        return value

    def _store(self, lease: Lease, task: _Task, value: Any, cost: float) -> bool:
        policy = task.policy
        ttl = policy.ttl_of(value)
        meta = Meta(0.0 if ttl is None else policy.grace(), cost, task.epochs or None)
        if policy.is_addition and type(value) is int:
            meta = PLAIN
        return self._levels.store(lease, task.physical, value, ttl, meta, policy.is_addition)

    def _instead(self, physical: str, error: Exception, entry: Entry) -> Any:
        """Serve the old value because its source has failed, and leave the source alone for a moment."""
        self._levels.tally.count("fail_safe_served")
        logger.warning("cache %r: a source failed, its old value is served: %r", self._levels.tally.name, error)
        if len(self._throttled) >= _MAX_THROTTLED:
            self._throttled.clear()
        self._throttled[physical] = time.monotonic() + _THROTTLE_S
        return entry.value

    def _is_throttled(self, physical: str) -> bool:
        return bool(self._throttled) and time.monotonic() < self._throttled.get(physical, 0.0)


def _is_early(entry: Entry, policy: Policy) -> bool:
    """Tell whether to compute before the end, the likelier the nearer it is and the dearer the value (XFetch, 2015)."""
    if not policy.early or entry.fresh_for == math.inf:
        return False
    return -entry.meta.cost * policy.early * math.log(1.0 - random.random()) >= entry.fresh_for  # noqa: S311
