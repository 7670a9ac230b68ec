"""The cache backend: CACHES = {"default": {"BACKEND": "django_perf.cache.MultiLevelCache", ...}}."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic, monotonic_ns
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from ..exceptions import CacheUnavailable
from ..metrics.trace import current
from .assembly import levels_of
from .computing import Policy
from .keys import MAX_KEY
from .memory import MISSING
from .shared import Entry

_FOLD_AT = 2_048
# Keys below this length are their own physical keys.
_PLAIN_KEY = MAX_KEY - 20


class MultiLevelCache(BaseCache):
    """Django's cache API over a process's memory, Redis and a table.

    Django makes one object per thread; all of them share the levels of their place. Thread-safe and fork-safe. No
    method raises because a level is away, except incr() and decr() (CacheUnavailable). What is not part of Django's
    API (lock, ttl, iter_keys, client, ...) is django-redis's own.
    """

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.levels = levels_of(location, params)
        self._namespace = self.levels.namespace
        self._tally = self.levels.tally
        self._hits = self._tally.l1_hits
        self._keys = self.levels.keys
        memory = self.levels.memory
        # What the path of a hit in memory needs; without memory nothing is ever found there.
        self._from_memory: Callable[[str, float], Any] = memory.get if memory is not None else lambda key, now: MISSING
        self._local = "" if self._keys.is_special or type(self.version) is not int else f"{self.version}:"

    def __getattr__(self, name: str) -> Any:
        """Return what django-redis has of that name."""
        shared = self.__dict__["levels"].shared if "levels" in self.__dict__ else None
        if shared is None or shared.redis is None or name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(shared.redis.level.cache, name)

    # --- reading --------------------------------------------------------------------------------------------------

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """Return the value, or `default`."""
        began = monotonic_ns()
        namespace = self._namespace
        head = namespace.head
        now = began * 1e-9
        if head and now < namespace.trusted_until:
            if version is None and key.__class__ is str and len(key) < _PLAIN_KEY and key.isascii():
                physical = head + self._local + key if self._local else self._keys.entry(head, key, self.version)
            else:
                self.validate_key(self.make_key(key, version))
                key = str(key)
                physical = self._keys.entry(head, key, self.version if version is None else version)
            value = self._from_memory(physical, now)
            if value is not MISSING:
                # To 16 ns: fewer different times are counted faster.
                elapsed = monotonic_ns() - began & -16
                hits = self._hits
                hits.append((key, elapsed))
                if len(hits) >= _FOLD_AT:
                    self._tally.fold()
                trace = current.get()
                if trace is not None:
                    trace.cache_hits += 1
                    trace.cache_ns += elapsed
                return value
        return self._get_below(key, default, version, began)

    def _get_below(self, key: str, default: Any, version: int | None, began: int) -> Any:
        now = monotonic()
        self._validate(key, version)
        entry = self.levels.read_below(self.physical(key, version, now), now)
        is_hit = entry is not None and entry.fresh_for > 0
        self.levels.note(entry.level if entry is not None and is_hit else "miss", [key], began)
        return entry.value if entry is not None and is_hit else default

    def _validate(self, key: str, version: int | None) -> None:
        """Warn of keys that memcached would not take; what most keys are made of is seen at once."""
        if not (type(key) is str and len(key) < MAX_KEY and key.isascii() and key.isprintable() and " " not in key):
            self.validate_key(self.make_key(key, version))

    def physical(self, key: str, version: int | None = None, now: float | None = None) -> str:
        """Return the key that the levels know."""
        head = self.levels.head(monotonic() if now is None else now)
        return self._keys.entry(head, key, self.version if version is None else version)

    def _physicals(self, keys: Iterable[str], version: int | None) -> dict[str, str]:
        """Return physical key -> key, for reading."""
        return self._named(self.levels.head(monotonic()), keys, version)

    def _written(self, keys: Iterable[str], version: int | None) -> dict[str, str]:
        """Return physical key -> key, for writing."""
        return self._named(self.levels.head_to_write(monotonic()), keys, version)

    def _named(self, head: str, keys: Iterable[str], version: int | None) -> dict[str, str]:
        version = self.version if version is None else version
        found = {}
        for key in keys:
            self._validate(key, version)
            found[self._keys.entry(head, key, version)] = key
        return found

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """Return the values that there are."""
        began = monotonic_ns()
        physicals = self._physicals(keys, version)
        entries = self.levels.read_many(list(physicals)) if physicals else {}
        fresh = {physicals[p]: entry for p, entry in entries.items() if entry.fresh_for > 0}
        self._note_reads(physicals.values(), fresh, began)
        return {key: fresh[key].value for key in physicals.values() if key in fresh}

    def _note_reads(self, keys: Iterable[str], fresh: Mapping[str, Entry], began: int) -> None:
        """Count keys by the level that had them; the time was that of the lowest level which was asked."""
        found: dict[str, list[str]] = {}
        for key in keys:
            found.setdefault(fresh[key].level if key in fresh else "miss", []).append(key)
        for level in sorted(found):
            self.levels.note(level, found[level], began if level == max(found) else None)

    def get_or_set(self, key: str, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """Return the value, or store what `default` is or returns; it is called once, however many ask at a time.

        An old value is returned instead when `default` fails.
        """
        value = self.get(key, MISSING, version)
        if value is not MISSING:
            return value
        (physical,) = self._written([key], version)
        policy = Policy(self._ttl(timeout), fail_safe=self.levels.fail_safe, is_addition=True)
        began = monotonic_ns()
        value = self.levels.computing.value(physical, default if callable(default) else lambda: default, policy)
        # Somebody may have set another one while this was computed.
        entry = self.levels.read(physical)
        self.levels.note("set", [key], began)
        return entry.value if entry is not None and entry.fresh_for > 0 else value

    def has_key(self, key: str, version: int | None = None) -> bool:
        """Tell whether there is a value."""
        return self.get(key, MISSING, version) is not MISSING

    # --- writing --------------------------------------------------------------------------------------------------

    def set(  # type: ignore[override]
        self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None, *, nx: bool = False
    ) -> bool | None:
        """Store a value for `timeout` seconds, None for ever; with `nx`, as django-redis has it, only where is none."""
        if nx:
            return self.add(key, value, timeout, version)
        self.set_many({key: value}, timeout, version)
        return None

    def set_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Store values; returns the keys that no shared level took."""
        began = monotonic_ns()
        physicals = self._written(data, version)
        if not physicals:
            return []
        failed = self.levels.write_many({p: data[key] for p, key in physicals.items()}, self._ttl(timeout))
        self.levels.note("set", list(physicals.values()), began)
        return [physicals[p] for p in failed]

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store a value where there is none; False also when the level that decides is away."""
        began = monotonic_ns()
        (physical,) = self._written([key], version)
        is_new = self.levels.add(physical, value, self._ttl(timeout))
        self.levels.note("set", [key], began)
        return is_new

    def incr(self, key: str, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False) -> Any:
        """Add to a value. Raises ValueError when there is none, CacheUnavailable when nobody can tell.

        With `ignore_key_check`, as django-redis has it, nothing counts as 0.
        """
        if ignore_key_check:
            self.add(key, 0, version=version)
        began = monotonic_ns()
        (physical,) = self._written([key], version)
        try:
            return self.levels.incr(physical, delta)
        except KeyError as error:
            raise ValueError(f"Key {key!r} not found") from error
        finally:
            self.levels.note("set", [key], began)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Give a value another life."""
        began = monotonic_ns()
        (physical,) = self._written([key], version)
        is_there = self.levels.touch(physical, self._ttl(timeout))
        self.levels.note("set", [key], began)
        return is_there

    def delete(self, key: str, version: int | None = None) -> bool:
        """Forget a value; with Redis away, as soon as it is back."""
        return bool(self._delete([key], version))

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> int | None:  # type: ignore[override]
        """Forget values; returns how many there were, as django-redis does, and None where none was named."""
        names = list(keys)
        return self._delete(names, version) if names else None

    def delete_pattern(self, pattern: str, version: int | None = None, itersize: int = 500) -> int:
        """Forget all keys that match, in steps of `itersize`; returns how many there were.

        For operators: it looks at every key of the server. Matches are the server's: `*`, `?` and `[...]`.
        """
        head = self.physical("", version)
        gone = self.levels.forget_pattern(head, pattern, itersize)
        if self._keys.is_special:  # those that no process keeps in its memory
            gone += self.levels.forget_pattern(f"untracked:{head}", pattern, itersize)
        return gone

    def _delete(self, keys: Iterable[str], version: int | None) -> int:
        began = monotonic_ns()
        physicals = self._written(keys, version)
        lived = self.levels.delete_many(list(physicals)) if physicals else 0
        self.levels.note("delete", list(physicals.values()), began)
        return lived

    def clear(self) -> bool:  # type: ignore[override]
        """Forget all values of this cache; other caches and keys on the same server stay."""
        self.levels.clear()
        return True

    def close(self, **kwargs: Any) -> None:
        """Keep everything open, unless django-redis is told to close; Django calls this after every request."""
        shared = self.levels.shared
        if shared is not None and shared.redis is not None:
            shared.redis.level.cache.close()

    def _ttl(self, timeout: Any) -> float | None:
        """Return seconds; Django's sign for the default is an object."""
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return None if seconds is None else float(seconds)


__all__ = ["CacheUnavailable", "MultiLevelCache"]
