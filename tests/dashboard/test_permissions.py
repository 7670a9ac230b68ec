"""Only who holds django_perf.view_performance sees the pages; there is nothing that anybody could change.

Only who holds django_perf.explain_queries too has a database plan a query.
"""

from __future__ import annotations

from html import unescape
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client

from django_perf.dashboard.models import Performance
from django_perf.metrics.recorder import recorder
from django_perf.store.models import Delta, Sample
from tests.dashboard.conftest import ADDRESSES, EXPLAIN, OVERVIEW
from tests.dashboard.data import SQL
from tests.dashboard.markup import Markup

PAGES = pytest.mark.parametrize("page", [*ADDRESSES.values(), EXPLAIN])
# Who comes, with which traits and permissions.
PEOPLE = {
    "nobody": None,
    "customer": {"permissions": ["view_performance", "explain_queries"]},
    "staff": {"is_staff": True},
    "viewer": {"is_staff": True, "permissions": ["view_performance"]},
    "explainer": {"is_staff": True, "permissions": ["explain_queries"]},
    "both": {"is_staff": True, "permissions": ["view_performance", "explain_queries"]},
    "superuser": {"is_staff": True, "is_superuser": True},
    "manager": {"is_staff": True, "permissions": ["view_performance", "manage_performance"]},
}
# What the people of the table above get: to log in, refused, wrong method, or the page.
SEEN = {
    "GET": (302, 302, 403, 200, 403, 200, 200, 200),
    "POST with a token": (302, 302, 403, 200, 403, 200, 200, 200),
    "POST without": (403, 403, 403, 403, 403, 403, 403, 403),
}
DONE = {
    "GET": (302, 302, 403, 403, 403, 405, 405, 403),
    "POST with a token": (302, 302, 403, 403, 403, 200, 200, 403),
    "POST without": (403, 403, 403, 403, 403, 403, 403, 403),
}
# An action that does not exist is a bad request, to those who may ask for one.
MANAGED = {
    "GET": (302, 302, 403, 403, 403, 403, 405, 405),
    "POST with a token": (302, 302, 403, 403, 403, 403, 400, 400),
    "POST without": (403, 403, 403, 403, 403, 403, 403, 403),
}
EXPECTED = {
    "act": MANAGED,
    "overview": SEEN,
    "endpoint": SEEN,
    "requests": SEEN,
    "exceptions": SEEN,
    "processes": SEEN,
    "health": SEEN,
    "queries": SEEN,
    "query": SEEN,
    "sample": SEEN,
    "database": SEEN,
    "pool": SEEN,
    "cache": SEEN,
    "compression": SEEN,
    "advice": SEEN,
    "explain": DONE,
}
TOKEN = "t" * 32


def test_the_table_has_a_line_for_every_address():
    urls = admin.site.get_model_admin(Performance).get_urls()
    assert {str(url.pattern) for url in urls} == {"" if name == "overview" else f"{name}/" for name in EXPECTED}
    assert ADDRESSES.keys() == EXPECTED.keys() - {"explain", "act"}


@pytest.fixture
def enter(client_of):
    """Return a function that makes a client, which checks tokens as a browser's server does."""

    def make(permissions=(), **traits):
        client = client_of(*permissions, **traits) if traits or permissions else Client()
        client.handler.enforce_csrf_checks = True
        return client

    return make


@pytest.mark.parametrize(("position", "who"), list(enumerate(PEOPLE)))
@pytest.mark.parametrize("name", EXPECTED)
def test_everybody_gets_what_the_table_says(enter, fill, name, position, who):
    fill()
    client, address = enter(**(PEOPLE[who] or {})), ADDRESSES.get(name, f"{OVERVIEW}{name}/")
    about = fill.about.get(name, {})
    answers = {"GET": client.get(address, about), "POST without": client.post(f"{address}?{urlencode(about)}", about)}
    client.cookies["csrftoken"] = TOKEN
    answers["POST with a token"] = client.post(f"{address}?{urlencode(about)}", about, headers={"X-CSRFToken": TOKEN})
    found = {how: answer.status_code for how, answer in answers.items()}
    assert found == {how: statuses[position] for how, statuses in EXPECTED[name].items()}
    for answer in answers.values():
        assert answer.status_code != 302 or answer["Location"].startswith(f"/admin/login/?next={address}")
        assert answer.status_code == 200 or SQL not in unescape(answer.content.decode())


@PAGES
def test_staff_with_other_permissions_is_refused(client_of, page):
    client = client_of("view_user", "change_user", "view_delta", is_staff=True)
    assert (client.get(page).status_code, client.post(page).status_code) == (403, 403)


@PAGES
def test_an_inactive_user_sees_nothing(client_of, page):
    client = client_of("view_performance", is_staff=True)
    User.objects.update(is_active=False)
    response = client.get(page)
    assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next={page}")


def test_the_index_of_the_admin_shows_the_page_to_holders_only(client_of, reader):
    assert OVERVIEW in reader.get("/admin/").content.decode()
    other = client_of("view_user", is_staff=True)
    assert OVERVIEW not in other.get("/admin/").content.decode()


@PAGES
def test_a_post_changes_nothing(planner, fill, page):
    fill()
    before = Delta.objects.count(), Sample.objects.count()
    planner.post(page, {"action": "delete_selected", "_selected_action": "1", "post": "yes", "id": "1"})
    assert (Delta.objects.count(), Sample.objects.count()) == before


def test_only_who_may_explain_is_offered_to(reader, planner, fill):
    fill()
    viewed, planned = (
        Markup(client.get(ADDRESSES["query"], fill.about["query"]).content.decode()) for client in (reader, planner)
    )
    posting = [
        [one.attributes["action"] for one in page.elements if one.tag == "form" and "action" in one.attributes]
        for page in (viewed, planned)
    ]
    assert posting == [["/admin/logout/"], ["/admin/logout/", EXPLAIN]]


@pytest.mark.parametrize("name", ["add/", "1/change/", "1/delete/", "1/history/"])
def test_the_pages_of_an_ordinary_model_do_not_exist(client_of, name):
    root = client_of(is_staff=True, is_superuser=True)
    assert root.get(f"{OVERVIEW}{name}").status_code == 404


@PAGES
def test_the_pages_are_in_no_figure(planner, fill, page):
    fill()
    recorder.enabled = True
    about = fill.about.get(page.removeprefix(OVERVIEW).strip("/"), {})
    assert (planner.post if page == EXPLAIN else planner.get)(page, about).status_code == 200
    assert recorder.drain() == {}


def test_a_page_that_is_refused_is_measured_like_any_other(client_of):
    client = client_of(is_staff=True)
    recorder.enabled = True
    client.get(OVERVIEW)
    keys = [key for table in recorder.drain().values() for key in table]
    assert ("request", "admin/django_perf/performance/", "GET", "4xx") in keys
