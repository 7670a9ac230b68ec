from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, connections
from hypothesis import given
from hypothesis import strategies as st

from django_perf import conf
from django_perf.checks import (
    check_cache_tables,
    check_caches,
    check_middleware,
    check_pools,
    check_settings,
    check_tables,
)
from django_perf.pool import options
from django_perf.pool.options import PoolOptions

ROOT = Path(__file__).parents[1]


def ids(messages):
    return [message.id for message in messages]


def test_the_project_as_it_is_passes(settings):
    assert ids(check_settings()) == ids(check_middleware()) == []


@pytest.mark.parametrize(
    ("name", "near"),
    [("FLUSH_INTERVALL", "FLUSH_INTERVAL"), ("SLOW_REQUESTS", "SLOW_REQUEST_SECONDS"), ("enabled", "ENABLED")],
)
def test_an_unknown_name_is_an_error_with_the_nearest_right_one(settings, name, near):
    settings.DJANGO_PERF = {name: 10}
    (message,) = check_settings()
    assert message.id == "django_perf.E001"
    assert name in message.msg
    assert near in message.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENABLED", "yes"),
        ("FLUSH_INTERVAL", 0),
        ("FLUSH_INTERVAL", "10"),
        ("FLUSH_INTERVAL", True),
        ("FLUSH_INTERVAL", float("nan")),
        ("SLOW_REQUEST_SECONDS", -1),
        ("IGNORE_ROUTES", "admin/*"),
        ("IGNORE_ROUTES", [1]),
        ("WORKER_SLOTS", 0),
        ("WORKER_SLOTS", 1.5),
        ("DATABASE", ""),
    ],
)
def test_an_ill_typed_value_is_an_error_that_says_what_it_takes(settings, name, value):
    settings.DJANGO_PERF = {name: value}
    (message,) = check_settings()
    assert message.id == "django_perf.E002"
    assert message.hint.startswith("It takes")
    with pytest.raises(ImproperlyConfigured, match=name):
        conf.get_settings()


def test_settings_that_are_no_dict_are_an_error(settings):
    settings.DJANGO_PERF = ["ENABLED"]
    assert ids(check_settings()) == ["django_perf.E002"]


def test_an_alias_that_does_not_exist_is_an_error_that_lists_those_that_do(settings):
    settings.DJANGO_PERF = {"DATABASE": "elsewhere"}
    (message,) = check_settings()
    assert message.id == "django_perf.E003"
    assert "default" in message.hint


def test_a_missing_middleware_is_a_warning(settings):
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    assert ids(check_middleware()) == ["django_perf.W001"]


def test_a_middleware_in_the_wrong_place_is_a_warning(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[1:], settings.MIDDLEWARE[0]]
    assert ids(check_middleware()) == ["django_perf.W002"]


POOLED = {"ENGINE": "django_perf.pool.postgresql", "OPTIONS": {}}


@pytest.fixture
def database(monkeypatch):
    """Return a function that configures one more database."""
    return lambda **more: monkeypatch.setitem(connections.settings, "more", {**POOLED, **more})


def test_wrong_options_of_a_pool_are_errors_that_name_the_database(database):
    database(OPTIONS={"pool": {"max_szie": 5, "timeout": "5"}})
    messages = check_pools()
    assert ids(messages) == ["django_perf.E004", "django_perf.E004"]
    assert "DATABASES['more']: OPTIONS['pool'] has no option 'max_szie'" in messages[0].msg
    assert messages[0].hint == "Did you mean 'max_size'?"


def test_connections_that_threads_keep_defeat_a_pool(database):
    database(CONN_MAX_AGE=60)
    assert ids(check_pools()) == ["django_perf.W004"]
    database(CONN_MAX_AGE=60, OPTIONS={"pool": False})
    assert check_pools() == []


@pytest.mark.parametrize(("max_size", "found"), [(2, ["django_perf.W005"]), (8, []), (None, [])])
def test_a_pool_smaller_than_the_threads_does_not_go_with_atomic_requests(settings, database, max_size, found):
    database(ATOMIC_REQUESTS=True, OPTIONS={"pool": {"max_size": max_size}})
    settings.DJANGO_PERF = {"WORKER_SLOTS": 8}
    assert ids(check_pools()) == found


def test_a_database_without_our_engine_is_none_of_our_business(database):
    database(ENGINE="django.db.backends.postgresql", OPTIONS={"pool": {"x": 1}})
    assert check_pools() == []


MULTI_LEVEL = {"BACKEND": "django_perf.cache.MultiLevelCache", "KEY_PREFIX": "site"}


@pytest.fixture
def cached(settings):
    """Return a function that configures the one cache."""

    def configure(**more):
        settings.CACHES = {"default": {**MULTI_LEVEL, **more}}

    return configure


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"L4": {}}, "there is no option 'L4'"),
        ({"L1": {"max_entires": 5}}, "L1 has no option 'max_entires'"),
        ({"L1": {"max_entries": 0}}, "L1['max_entries'] is 0"),
        ({"L1": {"policy": "random"}}, "L1['policy'] is 'random'"),
        ({"L1": 5}, "L1 is 5; it takes a dict, or False"),
        ({"L1": False}, "no level is left"),
        ({"coherence": "magic"}, "coherence is 'magic'"),
        ({"serializer": "yaml"}, "serializer is 'yaml'"),
        ({"fail_safe": -1}, "fail_safe is -1"),
        ({"l1_exclude": "session"}, "l1_exclude is 'session'"),
    ],
)
def test_a_wrong_option_of_a_cache_is_an_error_before_the_start_and_at_the_first_use(cached, options, said):
    cached(OPTIONS=options)
    (message,) = check_caches()
    assert message.id == "django_perf.E005"
    assert said in message.msg
    with pytest.raises(ImproperlyConfigured, match=re.escape(said)):
        caches["default"].get("key")


def test_a_cache_without_a_prefix_cannot_be_tracked(cached):
    for more, found in (({}, ["django_perf.E006"]), ({"OPTIONS": {"coherence": "ttl"}}, [])):
        cached(LOCATION="redis://127.0.0.1:1/0", KEY_PREFIX="", **more)
        assert ids(check_caches()) == found
    cached(KEY_PREFIX="")
    assert check_caches() == []


def test_a_cache_names_the_database_that_its_table_has_not(cached):
    cached(OPTIONS={"L3": {"alias": "elsewhere"}})
    (message,) = check_caches()
    assert (message.id, "'elsewhere', which is not in DATABASES" in message.msg) == ("django_perf.E007", True)


@pytest.mark.django_db
def test_a_cache_whose_table_is_missing_is_a_warning_with_the_command(cached):
    cached(OPTIONS={"L3": {"table": "nowhere"}})
    (message,) = check_cache_tables(databases=["default"])
    assert (message.id, message.hint) == ("django_perf.W007", "Run `manage.py perfcache --cache default createtable`.")
    assert check_cache_tables(databases=[]) == []


pool_names = st.sampled_from([item.name for item in fields(PoolOptions)]) | st.text(max_size=10)


@given(
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.dictionaries(pool_names, st.floats() | st.integers() | st.none() | st.text(max_size=6), max_size=4)
)
def test_any_pool_options_either_have_problems_or_can_be_read(raw):
    if list(options.problems(raw)):
        with pytest.raises(ValueError, match="OPTIONS"):
            options.read(raw)
    else:
        options.read(raw)


def test_every_option_of_the_pool_is_documented_with_its_default():
    text = (ROOT / "docs" / "pool.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", text, re.MULTILINE))
    assert set(rows) == {item.name for item in fields(PoolOptions)}
    for item in fields(PoolOptions):
        shown = f'"{item.default}"' if isinstance(item.default, str) else str(item.default)
        assert f"`{shown}`" in rows[item.name]


@pytest.mark.django_db
def test_missing_tables_are_a_warning_because_an_error_would_stop_migrate():
    assert check_tables(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_perf_delta RENAME TO elsewhere")
    (message,) = check_tables(databases=["default"])
    assert message.id == "django_perf.W003"
    assert not message.is_serious()
    assert "migrate" in message.hint


def test_a_check_without_databases_asks_no_database():
    assert check_tables(databases=None) == []


@pytest.mark.django_db(databases="__all__")  # some checks of Django 6.1 look at the databases
def test_the_checks_are_registered(settings):
    settings.DJANGO_PERF = {"NONSENSE_NAME": 1}
    assert "django_perf.E001" in ids(run_checks())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([item.name.upper() for item in fields(conf.Settings)]) | st.text(max_size=20)


@given(json_values | st.dictionaries(names, json_values, max_size=4))
def test_any_settings_either_have_problems_or_can_be_read(raw):
    if not list(conf.problems(raw)):
        assert conf.Settings(**{key.lower(): value for key, value in raw.items()})


def test_override_settings_is_honoured_both_ways(settings):
    settings.DJANGO_PERF = {"FLUSH_INTERVAL": 3}
    assert conf.get_settings().flush_interval == 3
    settings.DJANGO_PERF = {}
    assert conf.get_settings().flush_interval == 10.0


def test_every_setting_is_documented_with_its_default():
    text = (ROOT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", text, re.MULTILINE))
    assert set(rows) == {item.name.upper() for item in fields(conf.Settings)}
    for item in fields(conf.Settings):
        shown = "[]" if item.default == () else "{}" if "of" in item.metadata else str(item.default)
        assert f"`{shown}`" in rows[item.name.upper()]


def test_every_check_is_documented():
    files = (ROOT / "django_perf" / "checks.py", ROOT / "django_perf" / "alerts" / "checks.py")
    source = "".join(path.read_text() for path in files)
    used = set(re.findall(r"django_perf\.([EWI]\d{3})", source))
    documented = set(re.findall(r"^## .*?([EWI]\d{3})", (ROOT / "docs" / "checks.md").read_text(), re.MULTILINE))
    assert used == documented


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "django_perf", check=True, dry_run=True, verbosity=0)
