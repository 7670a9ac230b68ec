"""Whatever a name is made of, the pages of SQL show it as text: no element, no attribute, no control character more."""

from __future__ import annotations

import pytest
from django.db import connection

from django_perf.metrics.names import clean
from django_perf.store.models import Delta, Sample
from tests.dashboard.conftest import ADDRESSES, EXPLAIN
from tests.dashboard.markup import Markup
from tests.hostile import HOSTILE, unsafe_characters

# Those that show what the store knows of statements.
PAGES = ("overview", "endpoint", "queries", "query", "sample", "advice", "explain")
OUR_ADDRESSES = ("/admin/", "/static/", "/products", "?", "#")
EVERY_NAME = pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:30]))


@pytest.fixture
def pages_with(fill, open_page):
    """Return a function that stores one name as all that may have one, and reads the pages that show it."""

    def read(name):
        Delta.objects.all().delete()
        Sample.objects.all().delete()
        fill(name, f"SELECT {name}", name)
        fill.about["endpoint"]["route"] = clean(name)
        return {page: open_page(page) for page in PAGES}

    return read


@pytest.fixture(scope="module")
def _known_shapes():
    """The shapes of pages with harmless names, by the length of those: they are the same for every test."""
    return {}


@pytest.fixture
def calm_shapes(pages_with, _known_shapes):
    """Return a function that gives the shapes of the pages with a harmless name, no shorter where that is cut."""

    def shapes(name):
        length = 4 if len(name) < 100 else len(name)
        if length not in _known_shapes:
            _known_shapes[length] = {page: markup.shape() for page, markup in pages_with("n" * length).items()}
        return _known_shapes[length]

    return shapes


@EVERY_NAME
def test_a_name_of_any_kind_is_text_on_every_page(calm_shapes, pages_with, name):
    calm, pages = calm_shapes(name), pages_with(name)
    for page, markup in pages.items():
        assert markup.shape() == calm[page], page
        assert unsafe_characters(markup.source) == set(), page
        shown = "".join("".join(one.text for one in markup.elements).split())
        assert "".join(clean(name, 120).rstrip("…").split())[:100] in shown or page == "explain", page
        assert not [link for link in markup.links() if not link.startswith(OUR_ADDRESSES)], page


@pytest.mark.parametrize("page", ["endpoint", "query", "sample", "explain"])
def test_an_address_with_any_name_makes_the_page_of_a_plain_one(planner, page):
    def ask(name):
        text = name.encode("utf-8", "replace").decode()
        given = {"id": text, "route": text, "method": text}
        response = planner.post(EXPLAIN, given) if page == "explain" else planner.get(ADDRESSES[page], given)
        assert response.status_code == (404 if page in ("query", "sample") else 200), name
        return response.content.decode()

    plain = Markup(ask("plain")).shape()
    for name in HOSTILE:
        source = ask(name)
        assert Markup(source).shape() == plain, name
        assert unsafe_characters(source) == set(), name


def quoted(name, mark='"'):
    return mark + name.replace(mark, 2 * mark) + mark


@pytest.fixture
def catalogue(transactional_db):
    """Return a function that gives names to tables, indexes, a session, and the texts in the definition of a view."""
    made = []

    def make(names):
        clear()
        branches = []
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE goods AS SELECT id, id::text AS c, id::text AS d FROM generate_series(1, 1500) id"
            )
            cursor.execute(f"SET application_name = {quoted(names[0], chr(39))}")
            for name in names:
                text = quoted(name, "'")
                cursor.execute(f"CREATE INDEX {quoted(f'{name}..')} ON goods (id) WHERE c = {text}")
                branches += [f"SELECT id FROM goods WHERE c = {text}", f"SELECT id FROM goods WHERE d = {text}"]
            for name in names[::2]:
                # Few and large: they have to be among those that the page shows.
                made.append(quoted(name))
                cursor.execute(f"CREATE TABLE {made[-1]} AS SELECT generate_series(1, 8000) id")
                cursor.execute(f"CREATE INDEX {quoted(f'{name}.')} ON {made[-1]} (id)")
            cursor.execute(f"CREATE VIEW shelf AS {' UNION ALL '.join(branches)}")
            cursor.execute("ANALYZE goods")

    def clear():
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {', '.join(['goods', *made])} CASCADE")
            cursor.execute("RESET application_name")
        made.clear()

    yield make
    clear()


def test_names_in_the_catalogue_and_texts_in_a_plan_are_text(catalogue, fill, open_page):
    def read(names):
        catalogue(names)
        fill(sql="SELECT id FROM shelf")
        return [open_page(page) for page in ("database", "explain")]

    # What a server takes as a name.
    names = [name[:40] for name in HOSTILE if not {"\x00", "\ud800"} & set(name)]
    calm, hostile = read([f"calm{number}" for number in range(len(names))]), read(names)
    for before, after, expected in zip(calm, hostile, (names[::2], names), strict=True):
        assert after.shape() == before.shape()
        assert unsafe_characters(after.source) == set()
        shown = "".join(one.text for one in after.elements)
        assert [name for name in expected if clean(name).strip() not in shown] == []
    assert f"Index Only Scan on goods using {names[0]}.." in hostile[1].text_of("perf-step")
    assert f".d = '{names[0]}'::text))" in "".join(one.text for one in hostile[1].elements if "keep 1" in one.text)
