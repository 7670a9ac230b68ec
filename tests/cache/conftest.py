"""Caches of every combination of levels, several "processes" of one cache, and a Redis that may be stopped."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

import pytest
from django.core.cache import caches
from django.db import connections

from django_perf.cache import assembly
from django_perf.cache.backplane import MAX_SILENCE_S
from django_perf.cache.database import DatabaseLevel
from django_perf.cache.levels import Levels
from django_perf.cache.multilevel import MultiLevelCache
from tests.cache.redis_server import RedisServer
from tests.waiting import wait_until

TABLE = f"cache_of_levels_{os.environ.get('PYTEST_XDIST_WORKER', '')}"
ALL = [("L1",), ("L2",), ("L3",), ("L1", "L2"), ("L1", "L3"), ("L2", "L3"), ("L1", "L2", "L3")]
_numbers = itertools.count(1)


def fence(levels: Levels) -> None:
    """Wait until the process has been told of all that was written before this call."""
    asked = time.monotonic()
    if levels.backplane is not None and levels.backplane.mode != "ttl":
        levels.head(asked)
        # A PING that was sent after `asked` has been answered.
        wait_until(lambda: levels.namespace.trusted_until > asked + MAX_SILENCE_S)


def close(levels: Levels) -> None:
    """End the threads and connections of a cache."""
    if levels.backplane is not None:
        levels.backplane.stop()
    if levels.shared is not None and levels.shared.table is not None:
        levels.shared.table.level.close()
    if levels.shared is not None and levels.shared.redis is not None:
        levels.shared.redis.level.client.connection_pool.disconnect()


class Factory:
    """Make caches; each call of `process` is another process's view of the same one."""

    def __init__(self, settings) -> None:
        self._settings, self._made = settings, []

    def __call__(self, *names: str, location: str = "", prefix: str = "", **options) -> MultiLevelCache:
        """Return a cache with the levels that are named, on a key prefix of its own."""
        alias = f"cache{next(_numbers)}"
        given = {"L1": {} if "L1" in names else False, **options}
        if "L3" in names:
            given["L3"] = {"table": TABLE}
        params = {
            "BACKEND": "django_perf.cache.MultiLevelCache",
            "LOCATION": (location or self._settings.CACHES["default"]["LOCATION"]) if "L2" in names else "",
            "KEY_PREFIX": prefix or f"{alias}of{time.monotonic_ns()}",
            "OPTIONS": given,
        }
        self._settings.CACHES = {**self._settings.CACHES, alias: params}
        cache = caches[alias]
        cache.alias = alias
        self._made.append(cache.levels)
        return cache

    def process(self, cache: MultiLevelCache) -> MultiLevelCache:
        """Return the same cache as another process has it."""
        for identity in [key for key, levels in assembly._built.items() if levels is cache.levels]:
            del assembly._built[identity]
        del caches[cache.alias]
        other = caches[cache.alias]
        other.alias = cache.alias
        assert other.levels is not cache.levels
        self._made.append(other.levels)
        return other

    def close(self) -> None:
        for levels in self._made:
            close(levels)
        for identity in [key for key, levels in assembly._built.items() if levels in self._made]:
            del assembly._built[identity]


@pytest.fixture(scope="session")
def _table(django_db_setup, django_db_blocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        level = DatabaseLevel("default", TABLE)
        level.create_table()
        level.close()
        yield
        with connections["default"].cursor() as cursor:
            cursor.execute(f"DROP TABLE {TABLE}")
        connections["default"].close()


@pytest.fixture
def make(settings, _table, django_db_blocker) -> Iterator[Factory]:
    """Return what makes caches."""
    with django_db_blocker.unblock():
        factory = Factory(settings)
        yield factory
        factory.close()


@pytest.fixture(params=ALL, ids="".join)
def names(request) -> tuple[str, ...]:
    """The levels of a cache: every combination."""
    return request.param


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis that may be stopped, frozen and emptied."""
    server = RedisServer()
    yield server
    server.stop()
