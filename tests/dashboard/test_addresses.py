"""Each thing that a page of SQL names leads to the page about it, in the same range; an address of nothing says so."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from django.db import OperationalError

from django_perf.dashboard import views
from django_perf.db.fingerprint import shape_id
from django_perf.store.models import Sample
from tests.dashboard.conftest import ADDRESSES, ENDPOINT, EXPLAIN, OVERVIEW
from tests.dashboard.data import SQL
from tests.dashboard.markup import Markup, asked

NEW = ("queries", "query", "sample", "database", "advice")
WORDS = "x % %_ ² -1 1.5 1e3 {} [] None true ../../etc/passwd"
LONG = ("0" * 11, "0" * 12, "A" * 12, "٠" * 12, "9" * 19, "9" * 9_999, str(2**63), str(2**63 - 1))
GARBAGE = (*WORDS.split(), *LONG, "", " 1", "1\n", "\x00", "'; DROP TABLE products")


@pytest.mark.parametrize("name", [*ADDRESSES, "explain"])
def test_links_keep_the_range(fill, open_page, name):
    fill()
    own = [link for link in open_page(name, since="24h").links() if link.startswith(OVERVIEW) and link != OVERVIEW]
    assert own
    assert {asked(link)["since"] for link in own} == {"24h"}


def test_all_pages_are_reached_from_the_first_by_links_that_lead_somewhere(fill, planner):
    fill()
    waiting, seen = [f"{OVERVIEW}?since=24h"], set()
    while waiting:
        link = waiting.pop()
        seen.add(link)
        response = planner.get(link)
        assert response.status_code == 200, link
        links = {found for found in Markup(response.content.decode()).links() if found.startswith(f"{OVERVIEW}")}
        waiting += links - seen - {OVERVIEW} - set(waiting)
    assert {urlsplit(link).path for link in seen} == set(ADDRESSES.values())


@pytest.mark.usefixtures("two_queries")
def test_an_endpoint_leads_to_its_queries_and_these_to_their_examples_and_their_plan(open_page, planner):
    def follow(page, target):
        (link,) = {link for link in page.links() if link.startswith(target) and asked(link).get("since") == "1h"}
        return Markup(planner.get(link).content.decode())

    query = follow(open_page("endpoint"), f"{ADDRESSES['query']}?id=")
    example = follow(query, f"{ADDRESSES['sample']}?id=")
    assert follow(example, f"{ADDRESSES['query']}?id=").named("code")[1] == shape_id("default", SQL)
    assert "GET list" in follow(example, f"{ENDPOINT}?route=").named("h1")
    (form,) = [one for one in query.elements if one.attributes.get("action") == EXPLAIN]
    hidden = [one.attributes for one in query.elements if one.attributes.get("type") == "hidden"]
    fields = {field["name"]: field["value"] for field in hidden}
    assert form.attributes["method"] == "post"
    plan = Markup(planner.post(EXPLAIN, fields).content.decode())
    assert follow(plan, f"{ADDRESSES['query']}?id=").named("code")[1] == shape_id("default", SQL)


def test_what_has_no_page_of_its_own_is_no_link(keep, fill, show, open_page):
    # Of a statement that was cut nobody knows which one it was; a finding may have no statement at all.
    page = show(ADDRESSES["sample"], **keep())
    assert [asked(link)["id"] for link in page.links() if link.startswith(ADDRESSES["query"])] == [
        shape_id("default", SQL)
    ]
    fill()
    cells = [one for one in open_page("queries").elements if one.own == "open_transaction"]
    assert [one.tag for one in cells] == ["th"]


@pytest.mark.parametrize("page", ["query", "sample"])
def test_an_id_of_nothing_is_not_found_and_the_page_says_so(reader, fill, page):
    fill()
    why = {"query": "no query of that id is recorded", "sample": "there is no such example"}[page]
    for address in [{}, *({"id": id_} for id_ in GARBAGE), {"id": ["0" * 12, "1" * 12]}]:
        response = reader.get(ADDRESSES[page], address)
        assert response.status_code == 404, address
        (trouble,) = Markup(response.content.decode()).text_of("perf-trouble")
        assert trouble.startswith(why), address


def test_a_plan_for_an_id_of_nothing_says_so(planner, fill):
    fill()
    for address in [{}, *({"id": id_} for id_ in GARBAGE)]:
        response = planner.post(EXPLAIN, address)
        assert response.status_code == 200, address
        assert Markup(response.content.decode()).text_of("perf-trouble")[0].startswith("no query of that id"), address


def test_an_example_that_has_gone_is_not_found(keep, reader):
    about = keep()
    Sample.objects.all().delete()
    assert reader.get(ADDRESSES["sample"], about).status_code == 404


@pytest.mark.parametrize("page", NEW)
@pytest.mark.parametrize("since", ["yesterday", "5", "0m", "401d", "5m'", "\x00", "٥m"])
def test_a_wrong_range_is_refused_with_the_reason(reader, fill, page, since):
    fill()
    response = reader.get(ADDRESSES[page], {**fill.about.get(page, {}), "since": since})
    assert (response.status_code, response["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert "is no time range; write for instance 5m, 1h, 24h, 7d" in response.content.decode()


def test_a_wrong_order_is_refused_with_the_columns_there_are(reader):
    response = reader.get(ADDRESSES["queries"], {"sort": "no_such_column"})
    assert response.status_code == 400
    assert "it has id, sql, alias, total_ms" in response.content.decode()


@pytest.mark.parametrize("page", NEW)
def test_a_store_that_cannot_be_read_gives_a_page_that_says_so(show, monkeypatch, page):
    def fail(*args):
        raise OperationalError("password=secret")

    monkeypatch.setattr(views, "consistent", fail)
    found = show(ADDRESSES[page], id="0" * 12)
    assert found.text_of("perf-trouble")[0].startswith("The store cannot be read (OperationalError).")
    assert "secret" not in found.source
