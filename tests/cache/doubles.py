"""Doubles of the shared levels, with the interfaces and the order of RedisLevel and DatabaseLevel, under a fake clock.

They fail as told, and let something else happen between any two steps of those who use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from django_perf.cache.database import Row
from django_perf.cache.dialects import BURIED_MS
from django_perf.cache.keys import from_bytes
from django_perf.cache.leases import lease_key
from django_perf.cache.redis import FIRST_SEEN, Found
from django_perf.cache.sealing import TOMBSTONE, grace_ms
from tests.pool.fakes import Clock

LEASE = lease_key("").encode()


class Gone(Exception):
    """The level does not answer."""


class Refusing(Exception):
    """The level answers that it will not."""


class Steps:
    """Count the calls of levels; in the middle of an operation something else may happen."""

    def __init__(self) -> None:
        self._left, self._interruption = 0, None

    def interrupt(self, after: int, interruption: Callable[[], None]) -> None:
        """Have something happen before a later call."""
        self._left, self._interruption = after, interruption

    def step(self) -> None:
        self._left -= 1
        if self._interruption is not None and self._left < 0:
            interruption, self._interruption = self._interruption, None
            interruption()

    def end(self) -> None:
        """Forget an interruption that found no place."""
        self._interruption = None


@dataclass
class Link:
    """How a process reaches a level: `up`, `down` (nothing arrives), `lost` (no answer arrives), `refused`."""

    state: str = "up"

    def before(self) -> None:
        if self.state == "down":
            raise Gone

    def after(self) -> None:
        if self.state == "lost":
            raise Gone

    def before_write(self) -> None:
        self.before()
        if self.state == "refused":
            raise Refusing


@dataclass
class Item:
    blob: bytes
    ends_ms: float | None
    stamp: int | None = None


class Server:
    """What a Redis server holds; `told` are those who listen to its changes."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.told = clock, list[list[bytes | None]]()
        self.items: dict[bytes, Item] = {}

    def now_ms(self) -> float:
        return self.clock() * 1e3

    def get(self, key: bytes) -> Item | None:
        item = self.items.get(key)
        if item is not None and item.ends_ms is not None and item.ends_ms <= self.now_ms():
            self.remove(key)
            return None
        return item

    def lives(self, key: bytes) -> Item | None:
        item = self.get(key)
        if item is None or item.blob == TOMBSTONE:
            return None
        is_dead = item.ends_ms is not None and item.ends_ms - self.now_ms() <= grace_ms(item.blob)
        return None if is_dead and grace_ms(item.blob) else item

    def put(self, key: bytes, blob: bytes, ttl_ms: int | None) -> None:
        self.items[key] = Item(blob, None if not ttl_ms else self.now_ms() + ttl_ms)
        self.tell(key)

    def remove(self, key: bytes) -> None:
        if self.items.pop(key, None) is not None:
            self.tell(key)

    def flush(self) -> None:
        self.items.clear()
        self.tell(None)

    def tell(self, key: bytes | None) -> None:
        for listener in self.told:
            if key is None or not key.startswith(b"untracked:"):
                listener.append(key)

    def stamp(self) -> int:
        return int(self.clock() * 1e6)


@dataclass
class RedisDouble:
    """RedisLevel on a Server."""

    server: Server
    link: Link
    steps: Steps

    def _run(self, do: Callable, *args: object) -> object:
        self.steps.step()
        self.link.before()
        answer = do(*args)
        self.steps.step()
        self.link.after()
        return answer

    def _write(self, do: Callable, *args: object) -> object:
        self.link.before_write()
        return self._run(do, *args)

    def read(self, keys: Sequence[bytes]) -> list[Found | None]:
        return self._run(lambda: [self._found(key) for key in keys])

    def read_one(self, key: bytes) -> Found | None:
        return self.read([key])[0]

    def _found(self, key: bytes) -> Found | None:
        item = self.server.get(key)
        if item is None:
            return None
        return Found(item.blob, None if item.ends_ms is None else round(item.ends_ms - self.server.now_ms()))

    def ping(self) -> None:
        self._run(lambda: None)

    def publish(self, channel: str, keys: Iterable[bytes]) -> None:
        raise AssertionError("the server itself tells")

    def set(self, items: Sequence[tuple[bytes, bytes, int | None]]) -> int:
        return self._write(self._set, items)

    def _set(self, items: Sequence[tuple[bytes, bytes, int | None]]) -> int:
        for key, blob, ttl_ms in items:
            self._put(key, blob, ttl_ms)
        return self.server.stamp()

    def _put(self, key: bytes, blob: bytes, ttl_ms: int | None) -> None:
        self.server.put(key, blob, ttl_ms)
        self.server.remove(LEASE + key)

    def set_plain(self, key: bytes, blob: bytes, ttl_ms: int | None) -> None:
        self.set([(key, blob, ttl_ms)])

    def add(self, key: bytes, blob: bytes, ttl_ms: int | None) -> int:
        return self._write(lambda: 0 if self.server.lives(key) else self._set([(key, blob, ttl_ms)]))

    def carry(self, items: Sequence[tuple[bytes, bytes, int | None]], quiet_ms: int) -> None:
        self._write(self._carry, items, quiet_ms)

    def _carry(self, items: Sequence[tuple[bytes, bytes, int | None]], quiet_ms: int) -> None:
        since = self.server.get(FIRST_SEEN)
        if since is None:
            self.server.put(FIRST_SEEN, b"%d" % self.server.stamp(), None)
        elif self.server.stamp() - int(since.blob) >= quiet_ms * 1000:
            for key, blob, ttl_ms in items:
                if self.server.get(key) is None:
                    self.server.put(key, blob, ttl_ms)

    def replace(self, key: bytes, expected: bytes, blob: bytes) -> int:
        return self._write(self._replace, key, expected, blob)

    def _replace(self, key: bytes, expected: bytes, blob: bytes) -> int:
        item = self.server.get(key)
        if item is None or item.blob != expected:
            return 0
        item.blob = blob
        self.server.remove(LEASE + key)
        self.server.tell(key)
        return self.server.stamp()

    def change(self, key: bytes, delta: int) -> tuple[bytes | None, int, bool]:
        return self._write(self._change, key, delta)

    def _change(self, key: bytes, delta: int) -> tuple[bytes | None, int, bool]:
        item = self.server.lives(key)
        is_number = item is not None and item.blob.removeprefix(b"-").isdigit()
        if is_number:
            item.blob = b"%d" % (int(item.blob) + delta)
            self.server.remove(LEASE + key)
            self.server.tell(key)
        return None if item is None else item.blob, self.server.stamp(), is_number

    def touch(self, key: bytes, ttl_ms: int | None) -> int | None:
        return self._write(self._touch, key, ttl_ms)

    def _touch(self, key: bytes, ttl_ms: int | None) -> int | None:
        item = self.server.lives(key)
        if item is None:
            return None
        item.ends_ms = None if ttl_ms is None else self.server.now_ms() + ttl_ms + grace_ms(item.blob)
        self.server.tell(key)
        return grace_ms(item.blob)

    def delete(self, keys: Sequence[bytes], tombstone_ms: int = 0) -> tuple[int, int]:
        return self._write(self._delete, keys, tombstone_ms)

    def _delete(self, keys: Sequence[bytes], tombstone_ms: int) -> tuple[int, int]:
        lived = sum(self.server.lives(key) is not None for key in keys)
        for key in keys:
            self.server.remove(LEASE + key)
            if tombstone_ms:
                self._put(key, TOMBSTONE, tombstone_ms)
            else:
                self.server.remove(key)
        return lived, self.server.stamp()

    def bury_old(self, items: Sequence[tuple[bytes, bytes]], tombstone_ms: int) -> None:
        self._write(self._bury_old, items, tombstone_ms)

    def _bury_old(self, items: Sequence[tuple[bytes, bytes]], tombstone_ms: int) -> None:
        for key, blob in items:
            item = self.server.get(key)
            if item is None or item.blob == blob:
                self._put(key, TOMBSTONE, tombstone_ms)

    def take_lease(self, key: bytes, token: bytes, ms: int) -> bool:
        return self._write(self._take_lease, key, token, ms)

    def _take_lease(self, key: bytes, token: bytes, ms: int) -> bool:
        if self.server.get(key) is not None:
            return False
        self.server.put(key, token, ms)
        return True

    def end_lease(self, key: bytes, token: bytes) -> None:
        item = self._write(self.server.get, key)
        if item is not None and item.blob == token:
            self.server.remove(key)

    def store_leased(self, lease: bytes, token: bytes, item: tuple[bytes, bytes, int | None], only_new: bool) -> int:
        return self._write(self._store_leased, lease, token, item, only_new)

    def _store_leased(self, lease: bytes, token: bytes, item: tuple, only_new: bool) -> int:
        held = self.server.get(lease)
        if held is None or held.blob != token:
            return 0
        self.server.remove(lease)
        return 0 if only_new and self.server.lives(item[0]) else self._set([item])


@dataclass
class Rows:
    """What the table holds."""

    clock: Clock
    items: dict[str, Item] = field(default_factory=dict)

    def now_ms(self) -> float:
        return self.clock() * 1e3

    def alive(self, key: str) -> Item | None:
        item = self.items.get(key)
        is_over = item is None or (item.ends_ms is not None and item.ends_ms <= self.now_ms())
        return None if is_over or not item.blob else item


@dataclass
class TableDouble:
    """DatabaseLevel on Rows; a stamp that is not higher than the row's leaves a dead row."""

    rows: Rows
    link: Link
    steps: Steps

    def _run(self, do: Callable, *args: object) -> object:
        self.steps.step()
        self.link.before_write()
        answer = do(*args)
        self.steps.step()
        self.link.after()
        return answer

    def get_many(self, keys: Sequence[str]) -> dict[str, Row]:
        return self._run(lambda: {key: self._row(item) for key in keys if (item := self.rows.alive(key))})

    def _row(self, item: Item) -> Row:
        return Row(item.blob, None if item.ends_ms is None else round(item.ends_ms - self.rows.now_ms()))

    def set_many(self, items: Sequence[tuple[str, bytes, int | None]], stamp: int | None = None) -> None:
        self._run(lambda: [self._set(key, blob, ttl_ms, stamp or None) for key, blob, ttl_ms in items])

    def _set(self, key: str, blob: bytes, ttl_ms: int | None, stamp: int | None) -> None:
        old = self.rows.items.get(key)
        is_late = old is not None and stamp is not None and stamp <= (old.stamp or 0)
        if is_late:
            blob, ttl_ms, stamp = b"", BURIED_MS, old.stamp
        elif old is not None and stamp is None:
            stamp = old.stamp
        self.rows.items[key] = Item(blob, None if ttl_ms is None else self.rows.now_ms() + ttl_ms, stamp)

    def add(self, key: str, value: bytes, ttl_ms: int | None) -> bool:
        return self._run(self._add, key, value, ttl_ms)

    def _add(self, key: str, value: bytes, ttl_ms: int | None) -> bool:
        if self.rows.alive(key):
            return False
        self._set(key, value, ttl_ms, None)
        return True

    def change(self, key: str, change: Callable[[bytes], bytes]) -> bytes | None:
        return self._run(self._change, key, change)

    def _change(self, key: str, change: Callable[[bytes], bytes]) -> bytes | None:
        item = self.rows.alive(key)
        if item is None:
            return None
        item.blob = change(item.blob)
        return item.blob

    def touch(self, key: str, ttl_ms: int | None) -> bool:
        return self._run(self._touch, key, ttl_ms)

    def _touch(self, key: str, ttl_ms: int | None) -> bool:
        item = self.rows.alive(key)
        if item is not None:
            item.ends_ms = None if ttl_ms is None else self.rows.now_ms() + ttl_ms
        return item is not None

    def delete_many(self, keys: Iterable[str], stamp: int | None = None) -> int:
        return self._run(self._delete, list(keys), stamp)

    def _delete(self, keys: list[str], stamp: int | None) -> int:
        lived = sum(self.rows.alive(key) is not None for key in keys)
        for key in keys:
            old = self.rows.items.pop(key, None)
            if stamp:
                highest = max(stamp, (old.stamp if old else 0) or 0)
                self.rows.items[key] = Item(b"", self.rows.now_ms() + BURIED_MS, highest)
        return lived


def heard(keys: Iterable[bytes | None]) -> list[str] | None:
    """Return what a process is told in one message; None for everything."""
    keys = list(keys)
    return None if None in keys else [from_bytes(key) for key in keys if key is not None]
