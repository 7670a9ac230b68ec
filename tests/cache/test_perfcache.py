"""manage.py perfcache shows, clears, invalidates, warms and sweeps one cache, and refuses what makes no sense."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.cache import cache, caches
from django.core.management import CommandError, call_command

from django_perf.cache import cache_result, warming

pytestmark = pytest.mark.django_db


def perfcache(*args):
    out = StringIO()
    call_command("perfcache", *args, stdout=out, stderr=out, no_color=True)
    return out.getvalue()


def test_stats_show_each_level_and_its_state():
    shown = perfcache("stats")
    assert "L1 memory: up to 1000 entries" in shown
    assert "L2 Redis: closed, coherence tracking" in shown


def test_clear_forgets_this_cache_and_no_other_one(settings):
    settings.CACHES = {**settings.CACHES, "other": {**settings.CACHES["default"], "KEY_PREFIX": "other"}}
    caches["other"].set("key", 1)
    cache.set("key", 1)
    assert perfcache("clear") == "cleared\n"
    assert (cache.get("key"), caches["other"].get("key")) == (None, 1)
    caches["other"].clear()


def test_invalidate_takes_tags_and_patterns():
    calls = []

    @cache_result(tags=["shop"], key="answer")
    def answer():
        calls.append(1)
        return 42

    answer()
    cache.set_many({"page:1": 1, "page:2": 2, "other": 3})
    assert perfcache("invalidate", "shop", "page:*") == "shop: tag invalidated\npage:*: 2 keys forgotten\n"
    answer()
    assert len(calls) == 2
    assert cache.get_many(["page:1", "page:2", "other"]) == {"other": 3}


def test_warm_makes_the_calls_and_says_how_many(monkeypatch):
    made = []
    monkeypatch.setattr(warming, "_warmers", {"pages": lambda top: [lambda: made.append(1)] * 5})
    assert perfcache("warm", "--top", "2").startswith("2 entries warmed, 0 failed, in ")
    assert made == [1, 1]


def test_warm_fails_when_a_call_does_and_says_why(monkeypatch):
    monkeypatch.setattr(warming, "_warmers", {"pages": lambda top: [lambda: 1 / 0]})
    with pytest.raises(CommandError, match="1 calls failed"):
        perfcache("warm")
    monkeypatch.setattr(warming, "_warmers", {})
    with pytest.raises(CommandError, match="no warmer is registered"):
        perfcache("warm")


@pytest.mark.django_db(transaction=True)
def test_createtable_and_sweep_look_after_the_table(settings):
    options = {"L1": False, "L3": {"table": "perfcache_table"}}
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "", "OPTIONS": options}}
    level = cache.levels.shared.table.level
    try:
        assert perfcache("createtable") == "the table is there\n"
        assert perfcache("createtable") == "the table is there\n"
        level.set_many([(f"gone:{number}", b"x", 1) for number in range(3)])
        cache.set("stays", 1)
        swept = 0
        while swept < 3:
            swept += int(perfcache("sweep").split()[0])
        assert (swept, cache.get("stays")) == (3, 1)
        assert "L3 table: closed" in perfcache("stats")
    finally:
        level._connection.run(lambda cursor: cursor.execute("DROP TABLE IF EXISTS perfcache_table"))
        level.close()


def test_a_cache_that_has_no_table_has_none_to_create():
    with pytest.raises(CommandError, match="this cache has no level 3"):
        perfcache("createtable")


def test_an_alias_that_does_not_exist_or_is_another_backend_is_refused(settings):
    settings.CACHES = {**settings.CACHES, "stock": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with pytest.raises(CommandError, match="no cache 'nowhere' in CACHES; there are default, stock"):
        perfcache("--cache", "nowhere", "stats")
    with pytest.raises(CommandError, match=r"CACHES\['stock'\] is a LocMemCache, not a MultiLevelCache"):
        perfcache("--cache", "stock", "stats")
