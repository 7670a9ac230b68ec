"""Build the levels of a cache as its options say: once per process, whatever the number of threads and aliases."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache.backends.base import get_key_func
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from .database import DatabaseLevel, LevelBusy
from .guard import Guard
from .keys import KeyFunction, Keys
from .levels import Levels
from .memory import Memory
from .options import Options, read_options
from .shared import Shared
from .signing import sealer
from .tally import Tally

if TYPE_CHECKING:
    from .redis import RedisLevel

_lock = threading.Lock()
_built: dict[str, Levels] = {}


def levels_of(location: Any, params: Mapping[str, Any]) -> Levels:
    """Return the levels that all aliases of this place and prefix share. Raises ImproperlyConfigured."""
    try:
        options = read_options(location, params)
    except ValueError as error:
        raise ImproperlyConfigured(f"CACHES, LOCATION {location!r}: {error}") from error
    function = get_key_func(params["KEY_FUNCTION"]) if params.get("KEY_FUNCTION") else None
    # By name: the same function may be given as a path and as itself.
    identity = repr((location, options, function and (function.__module__, function.__qualname__)))
    with _lock:  # critical section: two threads must not build the same levels
        if identity not in _built:
            _built[identity] = _build(location, params, options, function)
        return _built[identity]


def all_levels() -> list[Levels]:
    """Return the levels that this process has built."""
    return list(_built.values())


def _build(location: Any, params: Mapping[str, Any], options: Options, function: KeyFunction | None) -> Levels:
    from .observer import publish

    sealing = sealer(options.serializer, options.prefix)
    form = sealing.form
    memory = None
    if options.l1 is not None:
        l1 = options.l1
        memory = Memory(l1["max_entries"], l1["max_bytes"], l1["policy"], dumps=form.dumps, loads=form.loads)
    levels = Levels(
        Keys(options.prefix, options.l1_exclude, function),
        sealing,
        memory,
        options.l1["timeout"] if options.l1 else 0.0,
        Tally(_name(location, params)),
    )
    _attach(levels, location, params, options)
    levels.namespace.forget_parent()
    publish(levels)
    return levels


def _attach(levels: Levels, location: Any, params: Mapping[str, Any], options: Options) -> None:
    """Put the shared levels below."""
    levels.ttl_bound, levels.fail_safe = options.ttl_bound, options.fail_safe
    redis = _redis(levels, location, params, options) if options.l2 is not None else None
    table = _table(levels, options.l3) if options.l3 is not None else None
    if redis is None and table is None:
        return
    levels.shared = Shared(levels.sealer, levels.tally, redis, table, levels.clock)
    levels.shared.repairs.on_return = levels.local.evict_all
    levels.shared.repairs.on_overflow = levels.clear
    levels.shared.repairs.on_mended = levels.mended


def _on_down(levels: Levels) -> None:
    assert levels.shared is not None
    levels.shared.repairs.start()


def _redis(levels: Levels, location: Any, params: Mapping[str, Any], options: Options) -> Guard[RedisLevel]:
    # Here, because a cache without Redis works without django-redis.
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as RedisTimeoutError

    from .backplane import Backplane
    from .redis import RedisLevel, django_redis_cache

    level = RedisLevel(django_redis_cache(location, {**params, "OPTIONS": options.l2}, levels))
    if levels.memory is not None:
        # Without a prefix the server would tell of every key there is; the check says so.
        mode = options.coherence if level.is_single and options.prefix else "ttl"
        levels.backplane = Backplane(levels, level.connect_apart, levels.keys.tracked, mode)
    down = (RedisConnectionError, RedisTimeoutError, OSError)
    return Guard("redis", level, (RedisError, OSError), down, levels.tally, partial(_on_down, levels))


def _table(levels: Levels, l3: Mapping[str, Any]) -> Guard[DatabaseLevel]:
    level = DatabaseLevel(l3["alias"], l3["table"])
    return Guard("table", level, (DatabaseError, LevelBusy), (DatabaseError,), levels.tally, partial(_on_down, levels))


def _name(location: Any, params: Mapping[str, Any]) -> str:
    """Return the alias: Django does not tell a backend its name."""
    wanted = {key: value for key, value in params.items() if key != "BACKEND"}
    for alias, given in settings.CACHES.items():
        rest = {key: value for key, value in given.items() if key not in ("BACKEND", "LOCATION")}
        if given.get("LOCATION", "") == location and rest == wanted:
            return alias
    return str(params.get("KEY_PREFIX") or "cache")


def _forget_parent() -> None:
    global _lock
    _lock = threading.Lock()
    for levels in _built.values():
        levels.forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
