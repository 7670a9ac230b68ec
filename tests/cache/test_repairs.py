"""What was written while a level was away is not undone by what that level remembers."""

from __future__ import annotations

from tests.waiting import wait_until


def test_a_process_that_begins_while_redis_is_away_leaves_no_old_value_behind(make, server):
    old = make("L1", "L2", location=server.url(), prefix="begins")
    old.set("key", "old")
    assert old.get("key") == "old"
    new = make.process(old)
    with server.frozen():
        assert new.delete("key") is True
        assert new.levels.shared.redis.is_open
    wait_until(lambda: not new.levels.shared.redis.is_open and not new.levels.shared.repairs.redis)
    assert new.get("key") is None
    wait_until(lambda: old.get("key") is None)
    # On a busy machine this may time out too, and is then taken back: a cache may forget.
    wait_until(lambda: new.set("key", "new") or old.get("key") == "new")


def test_what_could_not_be_deleted_is_deleted_when_redis_is_back(make, server):
    cache = make("L1", "L2", location=server.url(), prefix="back")
    other = make.process(cache)
    cache.set_many({"key": "old", "other": "kept"})
    assert other.get("key") == "old"
    with server.frozen():
        assert cache.delete("key") is True
        assert cache.get("key") is None
    assert cache.get("key") is None, "dirty, until it is mended"
    wait_until(lambda: not cache.levels.shared.redis.is_open and not cache.levels.shared.repairs.redis)
    wait_until(lambda: other.get("key") is None)
    assert (cache.get("key"), cache.get("other"), other.get("other")) == (None, "kept", "kept")


def test_when_nobody_knows_what_is_wrong_all_is_forgotten(make, server, monkeypatch):
    monkeypatch.setattr("django_perf.cache.repairs._MAX_KEYS", 10)
    cache = make("L1", "L2", location=server.url(), prefix="everything")
    cache.set_many({f"key:{number}": number for number in range(30)})
    with server.frozen():
        for number in range(20):
            cache.delete(f"key:{number}")
        assert cache.levels.shared.repairs.redis.is_everything
    wait_until(lambda: not cache.levels.shared.redis.is_open and not cache.levels.shared.repairs.redis)
    assert cache.get_many([f"key:{number}" for number in range(30)]) == {}
    cache.set("key:1", "new")
    assert cache.get("key:1") == "new"
