"""The pages are looked at when something is broken: they show what is stored though Redis hangs or the store waits."""

from __future__ import annotations

import copy
import socket
import time

import pytest
from django.conf import settings as own_settings
from django.core.cache import caches
from django.db import connection

from tests.dashboard.conftest import ADDRESSES, OVERVIEW


@pytest.fixture
def silent_redis(settings):
    """Put a server that answers nothing in the place of Redis; yields its socket, which nobody has accepted from."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        hung = copy.deepcopy(own_settings.CACHES)
        hung["default"]["LOCATION"] = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        settings.CACHES = hung
        yield listener


def test_the_server_that_answers_nothing_is_what_the_site_would_ask(silent_redis):
    caches["default"].get("anything", "the default")
    asked, _ = silent_redis.accept()
    with asked:
        assert asked.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("name", ADDRESSES)
def test_no_page_asks_redis(silent_redis, open_page, fill, name):
    fill("list", "SELECT 1 FROM shop_product WHERE id = 1")
    open_page(name)
    with pytest.raises(BlockingIOError):
        silent_redis.accept()


def test_a_slow_store_makes_the_page_slow_and_no_more(show, store):
    waits = []

    def wait(execute, sql, params, many, context):
        waits.append(time.sleep(0.02))
        return execute(sql, params, many, context)

    store(("request", "list", "GET", "2xx"), 100_000)
    with connection.execute_wrapper(wait):
        page = show(OVERVIEW)
    assert waits
    assert "list" in page.source
