"""Cache what functions return: cache_result."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from threading import Lock
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

from .arguments import Arguments
from .computing import Policy, Ttl
from .multilevel import MultiLevelCache
from .pending import is_touched, on_commit

Tags = str | Sequence[str] | Callable[..., Sequence[str]]
Key = str | Callable[..., str]


def cache_result(
    ttl: Ttl = 300,
    *,
    tags: Tags = (),
    key: Key | None = None,
    early: float = 1.0,
    stale: float = 0.0,
    fail_safe: float | None = None,
    alias: str = "default",
) -> Callable[[Callable[..., Any]], CachedFunction]:
    """Cache the results of a function, a method or a coroutine function for `ttl` seconds, or what `ttl` makes of them.

    Calls with equal arguments share one entry, however they are written; `None` is a result. `key` and `tags` name the
    entry and what invalidates it: text with the arguments in braces ("product:{product_id}"), or a function of the
    arguments; without `key` it is made of the function's name and all arguments, `self` included. Of many that miss at
    the same time one computes. `early`: how eagerly a dear result is computed before its end (0: not). `stale`: for how
    many seconds after its end it is served while one computes it anew. `fail_safe`: the same for when the function
    raises (None: as the cache's options say). The function gets `.invalidate(*args)`, `.refresh(*args)`, `.stats()`.

    Raises, at the first call, TypeError for an argument that has no identity of its own.
    """

    def decorate(function: Callable[..., Any]) -> CachedFunction:
        policy = Policy(ttl, -1.0 if fail_safe is None else fail_safe, stale, early)
        return CachedFunction(function, policy, tags, key, alias)

    return decorate


class CachedFunction:
    """A function whose results are cached. Thread-safe."""

    def __init__(self, function: Callable[..., Any], policy: Policy, tags: Tags, key: Key | None, alias: str) -> None:
        update_wrapper(self, function)
        self.function, self.alias = function, alias
        self._policy, self._tags, self._key = policy, tags, key
        self._arguments = Arguments(function)
        self._is_async = inspect.iscoroutinefunction(function)
        if self._is_async:
            inspect.markcoroutinefunction(self) if hasattr(inspect, "markcoroutinefunction") else None
        self._lock = Lock()
        self._calls = self._computed = 0

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind to an instance, as a function does."""
        return self if instance is None else BoundFunction(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result, from the cache if it is there."""
        if self._is_async:
            return sync_to_async(self._value, thread_sensitive=False)(args, kwargs)
        return self._value(args, kwargs)

    def invalidate(self, *args: Any, **kwargs: Any) -> None:
        """Forget the result of this call, when the transaction commits if there is one."""
        key = self.key(*args, **kwargs)
        on_commit({f"{self.alias}:key:{key}"}, partial(self._forget, key))

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result anew, store it and return it."""
        if self._is_async:
            return sync_to_async(self._refreshed, thread_sensitive=False)(args, kwargs)
        return self._refreshed(args, kwargs)

    def stats(self) -> dict[str, int]:
        """Return what this process has counted: calls, and how many of them computed."""
        return {"calls": self._calls, "computed": self._computed, "hits": self._calls - self._computed}

    def key(self, *args: Any, **kwargs: Any) -> str:
        """Return the key of a call in the cache."""
        if self._key is None:
            return self._arguments.key(args, kwargs)
        if callable(self._key):
            return self._key(*args, **kwargs)
        return _filled(self._key, self._arguments.bound(args, kwargs))

    def tags(self, *args: Any, **kwargs: Any) -> list[str]:
        """Return the tags of a call."""
        if callable(self._tags):
            return list(self._tags(*args, **kwargs))
        names = [self._tags] if isinstance(self._tags, str) else self._tags
        if not any("{" in name for name in names):
            return list(names)
        bound = self._arguments.bound(args, kwargs)
        return [_filled(name, bound) for name in names]

    def _value(self, args: Any, kwargs: Any) -> Any:
        with self._lock:
            self._calls += 1
        key, tags, cache = self.key(*args, **kwargs), self.tags(*args, **kwargs), multilevel(self.alias)
        compute = partial(self._compute, args, kwargs)
        if cache is None or self._is_touched(key, tags):
            return compute()
        return cache.levels.computing.value(cache.physical(key), compute, self._policy_of(cache), tags, key)

    def _refreshed(self, args: Any, kwargs: Any) -> Any:
        key, tags, cache = self.key(*args, **kwargs), self.tags(*args, **kwargs), multilevel(self.alias)
        compute = partial(self._compute, args, kwargs)
        if cache is None or self._is_touched(key, tags):
            return compute()
        return cache.levels.computing.refresh(cache.physical(key), compute, self._policy_of(cache), tags, key)

    def _is_touched(self, key: str, tags: Sequence[str]) -> bool:
        """Tell whether this thread's transaction has changed what the result is made of: nobody else may see it yet."""
        return is_touched([f"{self.alias}:key:{key}", *(f"{self.alias}:tag:{tag}" for tag in tags)])

    def _compute(self, args: Any, kwargs: Any) -> Any:
        with self._lock:
            self._computed += 1
        function = async_to_sync(self.function) if self._is_async else self.function
        return function(*args, **kwargs)

    def _policy_of(self, cache: MultiLevelCache) -> Policy:
        policy = self._policy
        if policy.fail_safe >= 0:
            return policy
        return Policy(policy.ttl, cache.levels.fail_safe, policy.stale, policy.early)

    def _forget(self, key: str) -> None:
        cache = multilevel(self.alias)
        if cache is not None:
            cache.delete(key)


class BoundFunction:
    """A cached method of one instance."""

    def __init__(self, cached: CachedFunction, instance: Any) -> None:
        self._cached, self._instance = cached, instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result, from the cache if it is there."""
        return self._cached(self._instance, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Return invalidate, refresh, key or tags for the instance, and all else of the function."""
        found = getattr(self._cached, name)
        return partial(found, self._instance) if name in ("invalidate", "refresh", "key", "tags") else found


class _Format(string.Formatter):
    """Fill in arguments and their attributes; nothing of a value can be taken for a part of the text."""

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return super().convert_field(value, conversion or "s")


def _filled(text: str, bound: dict[str, Any]) -> str:
    return _Format().vformat(text, (), bound)


def multilevel(alias: str) -> MultiLevelCache | None:
    """Return a cache; None for a dummy one, which keeps nothing. Raises ImproperlyConfigured for any other."""
    cache = caches[alias]
    if isinstance(cache, MultiLevelCache):
        return cache
    if type(cache).__name__ == "DummyCache":
        return None
    raise ImproperlyConfigured(
        f"cache_result needs CACHES[{alias!r}] to be django_perf.cache.MultiLevelCache, not {type(cache).__name__}"
    )
