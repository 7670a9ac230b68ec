"""What can be done on the pages: by whom, to what, and what it leaves in the admin's log."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.db import connections

from django_perf import cache_result
from django_perf.dashboard.actions import ACTIONS
from django_perf.store.models import Delta, Order
from tests.dashboard.conftest import ADDRESSES, CACHE_PAGE, OVERVIEW, POOL_PAGE
from tests.dashboard.markup import Markup

ACT = f"{OVERVIEW}act/"
PLAIN = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


@pytest.fixture
def manager(client_of):
    return client_of("view_performance", "manage_performance", is_staff=True)


def post(client, name, target="", text="", **more):
    fields = {"action": name, "target": target, "text": text, "is_sure": "1", "since": "24h"}
    return client.post(ACT, {**fields, **more}, follow=True)


def messages(response):
    return [str(message) for message in response.context["messages"]]


@pytest.fixture(autouse=True)
def _a_cache_of_another_kind(settings):
    settings.CACHES = {**settings.CACHES, "plain": PLAIN}


def test_a_cache_is_cleared_and_who_did_it_is_in_the_log(manager):
    cache.set("key", "value")
    response = post(manager, "clear_cache", "default")
    assert response.redirect_chain == [(f"{CACHE_PAGE}?since=24h", 302)]
    assert messages(response) == ["cache default: cleared"]
    assert cache.get("key") is None
    (entry,) = LogEntry.objects.all()
    assert (entry.user.username, entry.object_repr) == ("user0", "cache default: cleared")


def test_a_tag_is_invalidated(manager):
    made = []
    tagged = cache_result(60, key="tagged", tags=["shop"])(lambda: made.append(1) or len(made))
    assert (tagged(), tagged()) == (1, 1)
    assert messages(post(manager, "invalidate", "default", " shop ")) == ["cache default: tag shop invalidated"]
    assert tagged() == 2


@pytest.mark.parametrize(
    ("action", "target", "text", "why"),
    [
        ("clear_cache", "nowhere", "", "there is no cache 'nowhere' of django_perf"),
        ("clear_cache", "plain", "", "there is no cache 'plain' of django_perf"),
        ("clear_cache", "<b>\x1b", "", "there is no cache '<b>\\\\x1b' of django_perf"),
        ("invalidate", "default", " ", "a tag has 1 to 200 characters"),
        ("invalidate", "default", "x" * 201, "a tag has 1 to 200 characters"),
        ("retire", "nowhere", "", "there is no database 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(manager, action, target, text, why):
    assert messages(post(manager, action, target, text)) == [why]
    assert not LogEntry.objects.exists()
    assert not Order.objects.exists()


def test_the_connections_of_a_pool_are_replaced_by_an_order_to_all_processes(manager):
    response = post(manager, "retire", "default")
    assert response.redirect_chain == [(f"{POOL_PAGE}?since=24h", 302)]
    assert [(order.what, order.target) for order in Order.objects.all()] == [("retire", "default")]


@pytest.mark.django_db(transaction=True)
def test_all_measurements_are_deleted(manager, store):
    store(("request", "fine", "GET", "2xx"), 1_000)
    assert messages(post(manager, "clear_measurements")) == ["all measurements are deleted"]
    assert not Delta.objects.exists()
    connections.close_all()


@pytest.mark.parametrize("fields", [{"is_sure": ""}, {"action": "no such"}, {"action": ""}])
def test_an_action_has_to_exist_and_to_be_meant(manager, store, fields):
    store(("request", "fine", "GET", "2xx"), 1_000)
    assert post(manager, "clear_measurements", **fields).status_code == 400
    assert Delta.objects.exists()


@pytest.mark.parametrize("name", ["cache", "pool", "health"])
def test_the_buttons_are_there_for_those_who_may(client_of, manager, reader, store, name):
    for client, expected in ((manager, name == "health"), (reader, False)):
        page = Markup(client.get(ADDRESSES[name]).content.decode())
        forms = [one for one in page.elements if one.attributes.get("action") == ACT]
        assert bool(forms) is expected
    assert {action.page for action in ACTIONS.values()} == {"cache", "pool", "health"}
