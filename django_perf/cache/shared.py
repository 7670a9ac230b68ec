"""Read and write the levels that processes share: Redis above, a table below, each of which may be away.

Redis orders the writes. Its stamp goes with them into the table, where a doubt is a delete. What could not be written
is dirty: nobody in this process reads it there, and it is deleted as soon as the level is back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import translate
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ..exceptions import CacheUnavailable
from .keys import escaped, from_bytes, to_bytes
from .leases import lease_bytes, lease_key
from .repairs import Repairs, now_us
from .sealing import PLAIN, TOMBSTONE, Meta, Opened, Sealer, grace_ms
from .tally import Tally

if TYPE_CHECKING:
    from .database import DatabaseLevel
    from .guard import Guard
    from .redis import RedisLevel

# A deleted key stays buried for so long, while somebody might still carry the old row from the table up to Redis, which
# is given up after half of it; a key that the table could not delete stays buried for a day.
_BURIED_MS, _LONG_BURIED_MS = 10_000, 86_400_000
_CARRY_S = 5.0
# Somebody else changed the value between its reading and its replacement: as often as this, and it is given up.
_MAX_REPLACEMENTS = 100

Item = tuple[bytes, bytes, int | None]


class Entry(NamedTuple):
    """A value as it was found: `fresh_for` seconds (negative: it is in its grace), and by which level."""

    value: Any
    fresh_for: float
    meta: Meta
    level: str
    # The bytes that it was made of, where it is not one of the types that nobody can change.
    body: bytes | None = None


class Shared:
    """Know the way through Redis and the table. Thread-safe. At least one of the two is not None.

    Nothing here raises because a level is away, but incr() and what says so.
    """

    def __init__(
        self,
        sealer: Sealer,
        tally: Tally,
        redis: Guard[RedisLevel] | None,
        table: Guard[DatabaseLevel] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.redis, self.table = redis, table
        self.repairs = Repairs(self)
        self._sealer, self._tally, self._clock = sealer, tally, clock
        self.buried_ms = _BURIED_MS if table is not None else 0

    # --- reading --------------------------------------------------------------------------------------------------

    def read(self, physical: str, unanswered: list[str]) -> Entry | None:
        """Return an entry, as read_many() does."""
        if self.redis is None or self.table is not None or self.repairs.redis:
            return self.read_many([physical], unanswered).get(physical)
        try:
            answer = self.redis.call(self.redis.level.read_one, to_bytes(physical))
        except CacheUnavailable:
            unanswered.append(physical)
            return None
        if answer is None or answer.blob == TOMBSTONE:
            return None
        return self._entry(physical, answer.blob, answer.ttl_ms, "l2")

    def read_many(self, wanted: Sequence[str], unanswered: list[str]) -> dict[str, Entry]:
        """Return what exists; `unanswered` gets the keys that Redis could not be asked for."""
        began = self._clock()
        found: dict[str, Entry] = {}
        missed = wanted if self.redis is None else self._from_redis(wanted, found, unanswered)
        if self.table is not None and missed:
            self._from_table([p for p in missed if not self.repairs.table.has(p)], found, began)
        return found

    def _from_redis(self, wanted: Sequence[str], found: dict[str, Entry], unanswered: list[str]) -> list[str]:
        """Read Redis; returns what the table has to be asked for."""
        assert self.redis is not None
        dirty = self.repairs.redis
        clean = [p for p in wanted if not dirty.has(p)] if dirty else wanted
        unanswered += [p for p in wanted if dirty.has(p)] if dirty else []
        try:
            answers = self.redis.call(self.redis.level.read, [to_bytes(p) for p in clean]) if clean else []
        except CacheUnavailable:
            unanswered += clean
            return list(wanted)
        missed = list(unanswered)
        for physical, answer in zip(clean, answers, strict=True):
            is_buried = answer is not None and answer.blob == TOMBSTONE
            if not is_buried and (answer is None or not self._take(found, physical, answer.blob, answer.ttl_ms, "l2")):
                missed.append(physical)
        return missed

    def _from_table(self, wanted: Sequence[str], found: dict[str, Entry], began: float) -> None:
        assert self.table is not None
        try:
            rows = self.table.call(self.table.level.get_many, wanted) if wanted else {}
        except CacheUnavailable:
            return
        good = [p for p, row in rows.items() if self._take(found, p, row.value, row.ttl_ms, "l3")]
        if self._clock() - began < _CARRY_S:
            lasting = [p for p in good if rows[p].ttl_ms != 0 and not self.repairs.redis.has(p)]
            self._carry([(to_bytes(p), rows[p].value, rows[p].ttl_ms) for p in lasting])

    def _carry(self, items: Sequence[Item]) -> None:
        """Take rows up to Redis, with what is left of their life, where there is nothing, not even a tombstone.

        Redis takes none for as long as a tombstone lasts after it was emptied: it has forgotten what was buried.
        """
        if self.redis is not None and items and not self.redis.is_open:
            try:
                self.redis.call(self.redis.level.carry, items, _BURIED_MS)
            except CacheUnavailable:
                self._tally.count("not_carried")

    def _take(self, found: dict[str, Entry], physical: str, blob: bytes, ttl_ms: int | None, level: str) -> bool:
        entry = self._entry(physical, blob, ttl_ms, level)
        if entry is not None:
            found[physical] = entry
        return entry is not None

    def _entry(self, physical: str, blob: bytes, ttl_ms: int | None, level: str) -> Entry | None:
        opened = self._opened(physical, blob)
        if opened is None:
            return None
        fresh_for = inf if ttl_ms is None else ttl_ms / 1e3 - opened.meta.grace
        return Entry(opened.value, fresh_for, opened.meta, level, opened.body)

    def _opened(self, physical: str, blob: bytes) -> Opened | None:
        opened = self._sealer.open(to_bytes(physical), blob)
        if opened is None:
            self._tally.count("foreign")
        return opened

    # --- writing --------------------------------------------------------------------------------------------------

    def seal(self, physical: str, value: Any, ttl: float | None, meta: Meta = PLAIN) -> Item:
        """Return what a level stores. Raises what the format raises for a value that it cannot carry."""
        key = to_bytes(physical)
        blob = self._sealer.seal(key, value, meta)
        return key, blob, None if ttl is None else max(1, round(ttl * 1e3)) + grace_ms(blob)

    def write_many(self, items: Mapping[str, Item]) -> bool:
        """Store what was sealed; False when Redis, or without one the table, did not take it."""
        is_kept, stamp = True, None
        if self.redis is not None:
            stamp, mark = now_us(), self.repairs.redis.mark
            try:
                stamp = self._set(list(items.values())) or stamp
                self.repairs.redis.done(items, mark)
            except CacheUnavailable:
                is_kept = False
                self._not_written(items)
        is_in_table = self._set_in_table(items, stamp)
        return is_kept if self.redis is not None else is_in_table

    def _set(self, items: Sequence[Item]) -> int | None:
        assert self.redis is not None
        if len(items) == 1 and self.table is None:
            self.redis.call(self.redis.level.set_plain, *items[0])
            return None
        return self.redis.call(self.redis.level.set, items)

    def _set_in_table(self, items: Mapping[str, Item], stamp: int | None) -> bool:
        if self.table is None:
            return False
        named = [(physical, blob, ttl_ms) for physical, (_, blob, ttl_ms) in items.items()]
        mark = self.repairs.table.mark
        try:
            self.table.call(self.table.level.set_many, named, stamp)
        except CacheUnavailable:
            self.repairs.note(self.repairs.table, items)
            return False
        self.repairs.table.done(items, mark)
        return True

    def _not_written(self, physicals: Iterable[str]) -> None:
        """Redis may hold an older value: take it away, at once where it merely refused to store, else later."""
        assert self.redis is not None
        self._tally.count("not_written")
        self.repairs.note(self.repairs.redis, physicals)
        if not self.redis.is_open:
            with suppress(CacheUnavailable):
                self.redis.call(self.repairs.mend_redis)
                self.repairs.tell_mended()

    def delete_many(self, physicals: Sequence[str]) -> int:
        """Forget keys; returns how many there were. A level that is away forgets them when it is back."""
        lived, stamp = 0, None
        if self.redis is None:
            self._end_leases_in_table(physicals)
        else:
            stamp = now_us()
            try:
                lived, stamp = self.bury(physicals, self.buried_ms)
            except CacheUnavailable:
                self.repairs.note(self.repairs.redis, physicals)
                lived = len(physicals)
        lived_below = self._delete_in_table(physicals, stamp)
        if lived_below is None:
            self._bury_longer(physicals)
        return max(lived, lived_below or 0)

    def _end_leases_in_table(self, physicals: Iterable[str]) -> None:
        """Refuse what is being computed; first, so that nothing is stored behind the deletion that follows."""
        assert self.table is not None
        with suppress(CacheUnavailable):
            self.table.call(self.table.level.delete_many, [lease_key(physical) for physical in physicals])

    def bury(self, physicals: Iterable[str], buried_ms: int | None = None) -> tuple[int, int]:
        """Delete keys in Redis; returns how many there were and the stamp. Raises CacheUnavailable."""
        assert self.redis is not None
        keys, mark = [to_bytes(physical) for physical in physicals], self.repairs.redis.mark
        answer = self.redis.call(self.redis.level.delete, keys, self.buried_ms if buried_ms is None else buried_ms)
        self.repairs.redis.done(physicals, mark)
        return answer

    def _delete_in_table(self, physicals: Sequence[str], stamp: int | None) -> int | None:
        """Delete rows; returns how many lived, None when the table is away."""
        if self.table is None:
            return 0
        mark = self.repairs.table.mark
        try:
            lived = self.table.call(self.table.level.delete_many, physicals, stamp)
        except CacheUnavailable:
            self.repairs.note(self.repairs.table, physicals)
            return None
        self.repairs.table.done(physicals, mark)
        return lived

    def _bury_longer(self, physicals: Sequence[str]) -> None:
        """The table still has the rows: keep every process from looking there."""
        if self.redis is not None and not self.redis.is_open:
            try:
                self.bury(physicals, _LONG_BURIED_MS)
            except CacheUnavailable:
                self.repairs.note(self.repairs.redis, physicals)

    def bury_old(self, blobs: Mapping[str, bytes]) -> None:
        """See that no row that has just been deleted lives on in Redis, where somebody may have carried it."""
        if self.redis is not None and blobs:
            items = [(to_bytes(physical), blob) for physical, blob in blobs.items()]
            try:
                self.redis.call(self.redis.level.bury_old, items, self.buried_ms)
            except CacheUnavailable:
                self.repairs.note(self.repairs.redis, blobs)

    def forget_pattern(self, head: str, pattern: str, step: int, delete: Callable[[list[str]], object]) -> int:
        """Look for the keys that begin with `head` and then match, and delete them; returns how many there were.

        Keys that are being computed for the first time have only a lease, which goes with them.
        """
        gone = 0
        if self.redis is not None:
            globs = (to_bytes(escaped(start) + pattern) for start in (head, lease_key(head)))
            forget = lambda keys: delete([from_bytes(key).removeprefix(lease_key("")) for key in keys])  # noqa: E731
            gone, _ = (self.redis.call(self.redis.level.each_match, glob, forget, step) for glob in globs)
        if self.table is not None:
            rows = self._matching_rows(self.table, head, pattern, step)
            for first in range(0, len(rows), step):  # by way of Redis: somebody may be carrying them there
                delete(rows[first : first + step])
            gone = max(gone, len(rows))
        return gone

    def _matching_rows(self, table: Guard[DatabaseLevel], head: str, pattern: str, step: int) -> list[str]:
        matches, found = re.compile(translate(pattern)).match, list[str]()

        def note(start: str, key: str) -> bool:
            if matches(key.removeprefix(start)):
                found.append(key.removeprefix(lease_key("")))
            return False

        for start in (head, lease_key(head)):
            table.call(table.level.delete_prefix, start, partial(note, start), step)
        return list(dict.fromkeys(found))

    # --- what only one level can say ------------------------------------------------------------------------------

    def add(self, physical: str, item: Item) -> bool:
        """Store where there is nothing that lives; False also when the level that decides is away."""
        try:
            if self.redis is not None:
                return self._add_in_redis(physical, item)
            return self._add_to_table(physical, item)
        except CacheUnavailable:
            return False

    def _add_to_table(self, physical: str, item: Item) -> bool:
        """Store a row where none lives; one in its grace lives for the table, and for nobody else."""
        assert self.table is not None
        if self._is_dead_in_table(physical):
            self.table.call(self.table.level.delete_many, [physical])
        return self.table.call(self.table.level.add, physical, *item[1:])

    def _is_dead_in_table(self, physical: str) -> bool:
        """Tell whether a row is in its grace; one that is wrong is mended first. Raises CacheUnavailable."""
        assert self.table is not None
        if self.repairs.table.has(physical):
            self.table.call(self.repairs.mend_table)
        entry = self.read(physical, [])
        return entry is not None and entry.fresh_for <= 0

    def _add_in_redis(self, physical: str, item: Item) -> bool:
        assert self.redis is not None
        if self._bring_up(physical):
            return False
        stamp = self.redis.call(self.redis.level.add, *item)
        if stamp:
            self._set_in_table({physical: item}, stamp)
        return bool(stamp)

    def _bring_up(self, physical: str) -> bool:
        """See that Redis decides about what is true: without dirt, and with what only the table has left.

        Returns whether there is something that lives; with Redis alone it is not asked for that.
        """
        if self.repairs.redis.has(physical):
            self.bury([physical])
        entry = self.read_many([physical], []).get(physical) if self.table is not None else None
        return entry is not None and entry.fresh_for > 0

    def incr(self, physical: str, delta: Any) -> Any:
        """Add to a value; returns the sum. Raises KeyError without one, CacheUnavailable, and what adding raises."""
        if self.redis is None:
            return self._incr_in_table(physical, delta)
        self._bring_up(physical)
        for _ in range(_MAX_REPLACEMENTS):
            total, stamp = self._incr_in_redis(physical, delta)
            if stamp:
                self._delete_in_table([physical], stamp)
                return total
        raise CacheUnavailable(f"cache: {_MAX_REPLACEMENTS} others changed {physical!r} first")

    def _incr_in_redis(self, physical: str, delta: Any) -> tuple[Any, int]:
        """Return the sum and its stamp; 0 for the stamp when somebody else was faster."""
        assert self.redis is not None
        key, is_whole = to_bytes(physical), type(delta) is int
        # The server adds whole numbers; adding zero to anything else asks what there is.
        blob, stamp, is_changed = self.redis.call(self.redis.level.change, key, delta if is_whole else 0)
        opened = None if blob is None else self._opened(physical, blob)
        if opened is None:
            raise KeyError(physical)
        if is_whole and is_changed:
            return opened.value, stamp
        total = opened.value + delta
        sealed = self._sealer.seal(key, total, opened.meta)
        return total, self.redis.call(self.redis.level.replace, key, blob, sealed)

    def _incr_in_table(self, physical: str, delta: Any) -> Any:
        assert self.table is not None
        totals = []
        if self._is_dead_in_table(physical):
            raise KeyError(physical)

        def change(blob: bytes) -> bytes:
            opened = self._opened(physical, blob)
            if opened is None:
                raise KeyError(physical)
            totals.append(opened.value + delta)
            return self._sealer.seal(to_bytes(physical), totals[-1], opened.meta)

        if self.table.call(self.table.level.change, physical, change) is None:
            raise KeyError(physical)
        return totals[-1]

    def touch(self, physical: str, ttl: float | None) -> bool:
        """Give a value another life; False when there is none, or when the level that knows is away."""
        ttl_ms = None if ttl is None else max(1, round(ttl * 1e3))
        try:
            if self.redis is None:
                return self._touch_in_table_alone(physical, ttl_ms)
            self._bring_up(physical)
            grace = self.redis.call(self.redis.level.touch, to_bytes(physical), ttl_ms)
        except CacheUnavailable:
            return False
        if grace is not None and self.table is not None:
            self._touch_in_table(physical, None if ttl_ms is None else ttl_ms + grace)
        return grace is not None

    def _touch_in_table_alone(self, physical: str, ttl_ms: int | None) -> bool:
        assert self.table is not None
        if self._is_dead_in_table(physical):
            return False
        row = self.table.call(self.table.level.get_many, [physical]).get(physical)
        grace = 0 if row is None else grace_ms(row.value)
        return self.table.call(self.table.level.touch, physical, None if ttl_ms is None else ttl_ms + grace)

    def _touch_in_table(self, physical: str, ttl_ms: int | None) -> None:
        assert self.table is not None
        try:
            self.table.call(self.table.level.touch, physical, ttl_ms)
        except CacheUnavailable:
            self.repairs.note(self.repairs.table, [physical])

    # --- leases ---------------------------------------------------------------------------------------------------

    def take_lease(self, physical: str, token: bytes, ms: int) -> bool:
        """Take the lease of a key where nobody has it. Raises CacheUnavailable, as the next three do."""
        if self.redis is not None:
            return self.redis.call(self.redis.level.take_lease, lease_bytes(physical), token, ms)
        assert self.table is not None
        return self.table.call(self.table.level.add, lease_key(physical), token, ms)

    def renew_lease(self, physical: str, token: bytes, ms: int) -> None:
        """Prolong a lease that is still ours."""
        if self.redis is not None:
            self.redis.call(self.redis.level.renew_lease, lease_bytes(physical), token, ms)
        elif self._has_lease(physical, token):
            assert self.table is not None
            self.table.call(self.table.level.touch, lease_key(physical), ms)

    def end_lease(self, physical: str, token: bytes) -> None:
        """End a lease that is still ours."""
        if self.redis is not None:
            self.redis.call(self.redis.level.end_lease, lease_bytes(physical), token)
        elif self._has_lease(physical, token):
            assert self.table is not None
            self.table.call(self.table.level.delete_many, [lease_key(physical)])

    def store_leased(self, physical: str, token: bytes, item: Item, only_new: bool) -> bool:
        """Store a value under a lease, and end it; False when the lease is gone: the value has been invalidated."""
        if self.redis is None:
            return self._store_leased_in_table(physical, token, item, only_new)
        key = lease_bytes(physical)
        stamp = self.redis.call(self.redis.level.store_leased, key, token, item, only_new)
        if stamp:
            self._set_in_table({physical: item}, stamp)
        return bool(stamp)

    def _store_leased_in_table(self, physical: str, token: bytes, item: Item, only_new: bool) -> bool:
        assert self.table is not None
        if only_new:
            is_stored = self._add_to_table(physical, item)
        else:
            self.table.call(self.table.level.set_many, [(physical, *item[1:])])
            is_stored = True
        # Whoever invalidates ends the lease first: if it is still there now, what he deletes is deleted after this.
        is_ours = self._has_lease(physical, token)
        gone = lease_key(physical) if is_ours else physical
        if is_ours or is_stored:
            self.table.call(self.table.level.delete_many, [gone])
        return is_ours and is_stored

    def _has_lease(self, physical: str, token: bytes) -> bool:
        assert self.table is not None
        key = lease_key(physical)
        row = self.table.call(self.table.level.get_many, [key]).get(key)
        return row is not None and row.value == token
