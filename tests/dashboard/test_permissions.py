"""Only who holds django_perf.view_performance sees the pages; there is nothing that anybody could change."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_perf.metrics.recorder import recorder
from django_perf.store.models import Delta
from tests.dashboard.conftest import CACHE_PAGE, ENDPOINT, OVERVIEW, POOL_PAGE

PAGES = pytest.mark.parametrize("page", [OVERVIEW, ENDPOINT, POOL_PAGE, CACHE_PAGE])


def assert_sent_to_login(response, page):
    assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={page}")


@PAGES
def test_a_visitor_is_asked_to_log_in(db, page):
    assert_sent_to_login(Client().get(page), page)


@PAGES
def test_a_customer_is_asked_to_log_in_as_staff(client_of, page):
    assert_sent_to_login(client_of("view_performance").get(page), page)


@PAGES
def test_staff_without_the_permission_is_refused(client_of, page):
    assert client_of(is_staff=True).get(page).status_code == 403


@PAGES
def test_staff_with_other_permissions_is_refused(client_of, page):
    assert client_of("view_user", "change_user", "view_delta", is_staff=True).get(page).status_code == 403


@PAGES
def test_staff_with_the_permission_sees_the_pages(reader, page):
    assert reader.get(page).status_code == 200


@PAGES
def test_an_inactive_user_sees_nothing(client_of, page):
    client = client_of("view_performance", is_staff=True)
    User.objects.update(is_active=False)
    assert_sent_to_login(client.get(page), page)


def test_the_index_of_the_admin_shows_the_page_to_holders_only(client_of, reader):
    assert OVERVIEW in reader.get("/admin/").content.decode()
    other = client_of("view_user", is_staff=True)
    assert OVERVIEW not in other.get("/admin/").content.decode()


@PAGES
def test_a_post_changes_nothing(reader, store, page):
    store(("request", "fine", "GET", "2xx"), 1_000)
    assert reader.post(page, {"action": "delete_selected"}).status_code == 200
    assert Delta.objects.count() == 1


@pytest.mark.parametrize("name", ["add/", "1/change/", "1/delete/", "1/history/"])
def test_the_pages_of_an_ordinary_model_do_not_exist(client_of, name):
    root = client_of(is_staff=True, is_superuser=True)
    assert root.get(f"{OVERVIEW}{name}").status_code == 404


@PAGES
def test_the_pages_are_in_no_figure(reader, page):
    recorder.enabled = True
    reader.get(page)
    assert recorder.drain() == {}


def test_a_page_that_is_refused_is_measured_like_any_other(client_of):
    client = client_of(is_staff=True)
    recorder.enabled = True
    client.get(OVERVIEW)
    keys = [key for table in recorder.drain().values() for key in table]
    assert ("request", "admin/django_perf/performance/", "GET", "4xx") in keys
