"""Django's cache API, on every combination of levels; Django's own suite for it is run by django_cache_suite.py."""

from __future__ import annotations

import asyncio
import warnings

import pytest
from django.conf import settings as django_settings
from django.core.cache import CacheKeyWarning, caches
from django.core.cache.backends.base import InvalidCacheBackendError

from django_perf.exceptions import CacheUnavailable

COMBINATIONS = ["L1", "L2", "L3", "L1+L2", "L1+L3", "L2+L3", "L1+L2+L3"]
TABLE = "multilevel_table"


@pytest.fixture(params=COMBINATIONS)
def cache(request, settings, transactional_db):
    """A cache of these levels alone."""
    levels = request.param.split("+")
    options = {"L1": {} if "L1" in levels else False, "L3": {"table": TABLE} if "L3" in levels else False}
    settings.CACHES = {
        "default": {
            "BACKEND": "django_perf.cache.MultiLevelCache",
            "LOCATION": django_settings.CACHES["default"]["LOCATION"] if "L2" in levels else "",
            "KEY_PREFIX": "multilevel",
            "OPTIONS": options,
        }
    }
    made = caches["default"]
    table = made.levels.shared.table if made.levels.shared is not None else None
    if table is not None:
        table.level.create_table()
    made.clear()
    yield made
    made.clear()
    if table is not None:
        table.level._connection.run(lambda cursor: cursor.execute(f"DROP TABLE {TABLE}"))
        table.level.close()


def test_what_is_set_is_there_until_it_is_deleted(cache):
    for value in (None, 0, "", "text", b"bytes", 1.5, 2**70, True, [1, {"a": (1, 2)}], {1, 2}):
        cache.set("key", value)
        found = [cache.get("key", "missing") for _ in range(3)]
        assert found == [value] * 3
        assert {type(one) for one in found} == {type(value)}
    assert cache.delete("key") is True
    assert cache.delete("key") is False
    assert (cache.get("key", "missing"), "key" in cache) == ("missing", False)


def test_nobody_changes_what_another_one_gets(cache):
    value = {"list": [1]}
    cache.set("key", value)
    value["list"].append(2)
    for _ in range(3):
        found = cache.get("key")
        assert found == {"list": [1]}
        found["list"].append(3)


def test_many_at_once(cache):
    assert cache.set_many({"a": 1, "b": [2], "c": None}) == []
    assert cache.get_many(["c", "a", "missing", "b"]) == {"c": None, "a": 1, "b": [2]}
    assert list(cache.get_many(["c", "a", "b"])) == ["c", "a", "b"]
    assert cache.delete_many(["a", "b", "missing"]) == 2
    assert cache.get_many(["a", "b", "c"]) == {"c": None}
    assert (cache.set_many({}), cache.get_many([]), cache.delete_many([])) == ([], {}, None)


def test_add_touch_and_incr_are_decided_by_what_is_there(cache):
    assert cache.add("key", 1) is True
    assert cache.add("key", 2) is False
    assert (cache.incr("key"), cache.incr("key", 10), cache.decr("key", 5), cache.get("key")) == (2, 12, 7, 7)
    assert (cache.touch("key", 100), cache.touch("missing", 100)) == (True, False)
    for wrong in ("missing", "key2"):
        with pytest.raises(ValueError, match=f"Key '{wrong}' not found"):
            cache.incr(wrong)
    cache.set("real", 1.5)
    assert (cache.incr("real", 2), cache.get("real")) == (3.5, 3.5)
    cache.set("large", 2**63 - 1)
    assert (cache.incr("large"), cache.get("large")) == (2**63, 2**63)
    cache.set("text", "text")
    with pytest.raises(TypeError):
        cache.incr("text")


@pytest.mark.parametrize("timeout", [0, -1])
def test_what_has_no_time_is_not_there(cache, timeout):
    cache.set("key", 1)
    cache.set("key", 2, timeout)
    assert cache.get("key") is None
    assert cache.add("key", 3, timeout) is True
    assert cache.get("key") is None
    cache.set("key", 1)
    assert cache.touch("key", timeout) is True
    assert cache.get("key") is None


def test_clear_forgets_all_and_new_entries_are_kept(cache):
    cache.set_many({"a": 1, "b": 2})
    assert cache.clear() is True
    assert cache.get_many(["a", "b"]) == {}
    cache.set("a", 3)
    assert cache.get("a") == 3


def test_versions_are_apart(cache):
    cache.set("key", "one")
    cache.set("key", "two", version=2)
    assert (cache.get("key"), cache.get("key", version=2)) == ("one", "two")
    assert cache.incr_version("key") == 2
    assert (cache.get("key"), cache.get("key", version=2)) == (None, "one")


def test_keys_may_be_any_text(cache):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheKeyWarning)
        keys = ["", " ", "a b", "ä", "\ud800", "\0", "x" * 100, "x" * 500, "x" * 501, "~", "a:b", "%s", 7, (1, "a")]
        for number, key in enumerate(keys):
            cache.set(key, number)
        assert [cache.get(key) for key in keys] == list(range(len(keys)))
        assert cache.get_many(keys) == {key: number for number, key in enumerate(keys)}


def test_get_or_set_computes_what_is_missing_and_what_is_set_can_be_counted_with(cache):
    made = []

    def make():
        made.append(1)
        return 41

    assert [cache.get_or_set("key", make), cache.get_or_set("key", make)] == [41, 41]
    assert made == [1]
    assert cache.incr("key") == 42
    assert cache.get_or_set("other", [1]) == [1]


def test_the_asynchronous_api_is_the_same(cache):
    async def use():
        await cache.aset("key", 1)
        await cache.aset_many({"a": 1, "b": 2})
        found = await cache.aget("key"), await cache.aget_many(["a", "b"]), await cache.ahas_key("key")
        changed = await cache.aincr("key"), await cache.aadd("key", 5), await cache.atouch("key", 50)
        made = await cache.aget_or_set("made", lambda: 3)
        return found, changed, made, await cache.adelete("key"), await cache.aget("key")

    assert asyncio.run(use()) == ((1, {"a": 1, "b": 2}, True), (2, False, True), 3, True, None)


def test_what_cannot_be_pickled_is_an_error_and_leaves_the_old_value_alone(cache):
    cache.set("key", "old")
    with pytest.raises(Exception, match=r"[Pp]ickle"):
        cache.set("key", lambda: None)
    assert cache.get("key") in ("old", None)


@pytest.fixture
def redis_cache(settings):
    """A cache on Redis, with a key prefix that never lies in memory."""
    base = settings.CACHES["default"]
    settings.CACHES = {"default": {**base, "KEY_PREFIX": "multilevel", "OPTIONS": {"l1_exclude": ["session:"]}}}
    yield caches["default"]
    caches["default"].clear()


def test_all_else_is_django_redis(redis_cache):
    redis_cache.set("key", "value", 100)
    assert 90 < redis_cache.ttl("key") <= 100
    assert list(redis_cache.iter_keys("*")) == redis_cache.keys("k*") == ["key"]
    redis_cache.sadd("set", "member", (1, 2))
    assert redis_cache.smembers("set") == {"member", (1, 2)}
    with redis_cache.lock("lock", timeout=5) as lock:
        assert lock.owned()
    with pytest.raises(AttributeError, match="no_such_method"):
        redis_cache.no_such_method()


def test_a_cache_without_redis_has_nothing_of_django_redis(settings):
    settings.CACHES = {"default": {"BACKEND": "django_perf.cache.MultiLevelCache", "KEY_PREFIX": "multilevel-alone"}}
    with pytest.raises(AttributeError, match="'MultiLevelCache' object has no attribute 'ttl'"):
        caches["default"].ttl("key")


def test_excluded_keys_lie_below_another_prefix_and_never_in_memory(redis_cache):
    redis_cache.set_many({"session:1": "secret", "page:1": "public"})
    raw = redis_cache.client.get_client()
    assert list(raw.scan_iter("untracked:multilevel:*")) == [redis_cache.physical("session:1").encode()]
    for _ in range(3):
        assert redis_cache.levels.read(redis_cache.physical("session:1")).level == "l2"
    redis_cache.clear()
    assert redis_cache.get("session:1") is None


def test_a_level_that_is_away_makes_incr_an_error_and_nothing_else(settings):
    base = settings.CACHES["default"]
    settings.CACHES = {"default": {**base, "LOCATION": "redis://127.0.0.1:1/0", "KEY_PREFIX": "multilevel-away"}}
    away = caches["default"]
    away.set("key", 1)
    assert away.get("key") == 1, "a process keeps its own writes for a moment"
    assert away.set_many({"a": 1}) == ["a"]
    assert (away.add("new", 1), away.delete("key"), away.get("key"), away.touch("a")) == (False, True, None, False)
    assert (away.get_or_set("made", lambda: 5), away.clear(), away.get("made")) == (5, True, None)
    with pytest.raises(CacheUnavailable, match="cache level redis"):
        away.incr("key")


def test_a_backend_path_that_does_not_exist_is_djangos_error(settings):
    settings.CACHES = {"default": {"BACKEND": "django_perf.cache.NoSuchCache"}}
    with pytest.raises(InvalidCacheBackendError):
        caches["default"].get("key")
