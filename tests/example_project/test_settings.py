"""The environment variables of the example project, and what Django makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from example_project.environment import cache_from_url, comma_separated, database_from_url, with_small_pool

FILE = Path("shop.sqlite3")


def test_a_postgres_url_names_every_part():
    database = database_from_url("postgres://us%40er:pa%2Fss@db.example:5433/sh%20op", FILE)
    assert database["ENGINE"] == "django_perf.pool.postgresql"
    parts = {name: database[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")}
    assert parts == {"USER": "us@er", "PASSWORD": "pa/ss", "HOST": "db.example", "PORT": "5433", "NAME": "sh op"}


def test_absent_parts_are_left_to_the_server():
    database = database_from_url("postgresql:///shop", FILE)
    assert [database[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")] == ["", "", "", "", "shop"]


@pytest.mark.parametrize(
    ("url", "name"), [("", "shop.sqlite3"), ("sqlite:////data/a%20b", "/data/a b"), ("sqlite:///x", "x")]
)
def test_sqlite_is_a_file_that_several_processes_may_write(url, name):
    database = database_from_url(url, FILE)
    assert (database["ENGINE"], database["NAME"]) == ("django.db.backends.sqlite3", name)
    assert "WAL" in database["OPTIONS"]["init_command"]


@pytest.mark.parametrize(
    ("url", "fault", "aliases"),
    [
        ("postgres://h/shop", "held-connection", ["default", "small"]),
        ("postgres://h/shop", "slow", ["default"]),
        ("sqlite:///x", "held-connection", ["default"]),
    ],
)
def test_a_pool_of_one_connection_is_there_only_where_it_is_asked_for(url, fault, aliases):
    databases = with_small_pool({"default": database_from_url(url, FILE)}, {fault})
    assert list(databases) == aliases
    assert databases.get("small", {"OPTIONS": {"pool": {"max_size": 1}}})["OPTIONS"] == {"pool": {"max_size": 1}}


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://", "nonsense"])
def test_another_database_is_refused_with_the_spelling_that_works(url):
    with pytest.raises(ValueError, match=r"use postgres://.* or sqlite:///file"):
        database_from_url(url, FILE)


def test_the_cache_is_redis_or_each_process_for_itself():
    assert cache_from_url("redis://h/0", 20)["LOCATION"] == "redis://h/0"
    assert cache_from_url("redis://h/0", 20, "entries")["OPTIONS"]["L3"] == {"table": "entries"}
    assert (cache_from_url("", 20)["LOCATION"], cache_from_url("", 20)["OPTIONS"]) == ("", {})


def test_faults_may_be_spelt_with_spaces_and_underscores():
    assert comma_separated(" slow, n_plus_one ,,") == {"slow", "n-plus-one"}
    assert comma_separated("") == frozenset()


def test_the_textbook_names_are_in_the_settings():
    shop = settings.SHOP
    assert (shop.cache_ttl, shop.negative_ttl, shop.pool_max_size, shop.compression_threshold) == (300, 30, 20, 1000)


@pytest.mark.django_db  # closing a response closes old connections, which counts as access
def test_the_admin_has_its_styles_without_debug(client):
    answer = client.get("/static/admin/css/base.css", SERVER_NAME="localhost")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/css")
    assert b"".join(answer.streaming_content)
    answer.close()


def test_debug_is_off():
    assert settings.DEBUG is False
    assert settings.ALLOWED_HOSTS[:2] == ["127.0.0.1", "localhost"]


def test_the_admins_link_to_the_site_leads_to_the_products(admin_client):
    assert 'href="/products"' in admin_client.get("/admin/", SERVER_NAME="localhost").content.decode()
