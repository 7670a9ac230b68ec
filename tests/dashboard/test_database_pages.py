"""The page of the databases and that of a plan, of a real server: each looks on a connection of its own."""

from __future__ import annotations

import time
from threading import Thread
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError, connection, connections

from django_perf.dashboard import views
from django_perf.db.fingerprint import shape_id
from tests.dashboard.conftest import ADDRESSES, EXPLAIN
from tests.dashboard.data import SQL
from tests.dashboard.markup import Markup, asked


@pytest.fixture
def near(run):
    """A table with a sequence whose numbers are nearly used up, and large enough to be among those that are shown."""
    run("CREATE TABLE near (id serial PRIMARY KEY)")
    run("INSERT INTO near SELECT generate_series(1, 20000)")
    run("SELECT setval('near_id_seq', 2000000000)")
    yield
    run("DROP TABLE near")


@pytest.mark.usefixtures("near")
def test_the_page_of_the_databases_shows_them_as_they_are(open_page):
    page = open_page("database")
    assert page.tables["database"][1][:4] == ["default", "act", "sequence", "near_id_seq"]
    assert "near" in [row[1] for row in page.tables["database_tables"]]
    assert "near_pkey" in [row[1] for row in page.tables["database_indexes"]]
    figures = dict(zip(page.named("dt"), page.text_of("perf-figure"), strict=True))
    assert list(figures) == ["To be done", "Connections", "From memory", "Sessions waiting", "Size", "Version"]
    assert (figures["To be done"], figures["Sessions waiting"]) == ("1", "0")
    assert figures["Version"] == ".".join(map(str, divmod(connection.pg_version, 10_000)))
    ((tone, text, link),) = open_page("advice").notes()
    assert (tone, asked(link), urlsplit(link).path) == ("perf-high", {"since": "1h"}, ADDRESSES["database"])
    assert text == "default: sequence, near_id_seq: 93% of its numbers used"


def test_who_waits_for_a_lock_is_on_the_page_with_who_holds_it(run, open_page):
    holder, waiter = (connection.copy() for _ in range(2))
    for one in (holder, waiter):
        one.set_autocommit(False)
    holder.connection.cursor().execute("LOCK TABLE products")
    pids = [one.connection.info.backend_pid for one in (waiter, holder)]
    thread = Thread(target=waiter.connection.cursor().execute, args=["LOCK TABLE products"])
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while (page := open_page("database")).text_of("perf-figure")[3] != "1" and time.monotonic() < deadline:
            pass  # the page takes its time
    finally:
        holder.close()
        thread.join()
        waiter.close()
    (row,) = [row for row in page.tables["database_sessions"] if row[9] == "LOCK TABLE products" and row[8]]
    assert row[1:9:7] == [str(pid) for pid in pids]
    assert page.tables["database"][1][1:3] == ["act", "blocked session"]
    assert page.text_of("perf-figure")[3] == "1"


def test_a_server_that_cannot_be_reached_is_on_the_page(fill, open_page, monkeypatch):
    fill()
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")
    page = open_page("database")
    (row,) = page.tables["database"][1:]
    assert row[1:3] == ["unknown", "server"]
    assert row[5].startswith("the server cannot be reached: ")
    assert (page.text_of("perf-figure"), list(page.tables)) == ([], ["database"])
    assert len(open_page("advice").notes()) == 2


@pytest.fixture
def explain(planner, store):
    """Return a function that stores a query, asks for its plan, and reads the page."""

    def ask(sql=SQL, alias="default", **parameters):
        store(("endpoint_query", "list", "GET", alias, sql), 500)
        response = planner.post(EXPLAIN, {"id": shape_id(alias, sql), **parameters})
        assert response.status_code == 200
        return Markup(response.content.decode())

    return ask


@pytest.fixture
def goods(run):
    """A table without an index, large enough for one to be missed."""
    run("CREATE TABLE goods AS SELECT id, id AS shelf FROM generate_series(1, 20000) id")
    run("ANALYZE goods")
    yield
    run("DROP TABLE goods")


@pytest.mark.usefixtures("goods")
def test_the_plan_is_a_tree_with_its_dear_step_marked_and_the_index_that_it_lacks(explain):
    page = explain("SELECT COUNT(*) FROM goods WHERE shelf = ?")
    steps = [
        (one.own, "perf-bad" in one.attributes["class"]) for one in page.elements if "perf-step" in str(one.attributes)
    ]
    assert steps == [("Aggregate", False), ("Seq Scan on goods", True)]
    assert page.named("strong")[-1] == "expensive"
    assert any("filter: (goods.shelf = $1)" in text and "rows expected: 1" in text for text in page.named("small"))
    assert [one.tag for one in page.elements if one.tag in ("ul", "li")][-4:] == ["ul", "li", "ul", "li"]
    assert any(text.startswith("Sequential scan: reads all 20,000 rows of goods to keep 1") for text in page.named("p"))
    assert 'CREATE INDEX CONCURRENTLY "goods_shelf_idx" ON "goods" ("shelf");' in page.named("code")
    assert page.text_of("perf-quiet") == [
        "A generic plan: made without the values of its parameters, which nobody has kept."
    ]


def test_an_index_for_a_model_has_its_line_for_the_model(run, explain):
    run(
        "INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, "
        "date_joined) SELECT '', false, id, '', id, '', false, true, now() FROM generate_series(1, 2000) id"
    )
    run("ANALYZE auth_user")
    page = explain("SELECT username FROM auth_user WHERE last_name = ?")
    django = 'models.Index(fields=["last_name"], name="auth_user_last_name_idx")'
    assert any(text.endswith(f'("last_name");\n{django}') for text in page.named("code"))
    assert page.text_of("perf-quiet")[-1].startswith("The second line is for Meta.indexes of auth.User;")


@pytest.mark.django_db
def test_a_plan_with_nothing_wrong_says_so(explain):
    page = explain()
    assert page.text_of("perf-quiet")[-1] == "Nothing stands out."
    assert page.text_of("perf-step")
    assert page.named("code")[0].startswith('SELECT "products"."id"\nFROM')


@pytest.mark.parametrize(
    ("sql", "alias", "why"),
    [
        ("DELETE FROM products", "default", "only a SELECT is explained"),
        ("SELECT nothing FROM nowhere", "default", "the database refuses: 42P01 (no such table)"),
        ("SELECT ?", "elsewhere", "there is no database 'elsewhere' here"),
        ("SELECT a …", "default", "the statement is longer than what is kept of it"),
    ],
)
def test_why_a_query_is_not_explained_is_on_the_page(explain, sql, alias, why):
    page = explain(sql, alias)
    assert (page.text_of("perf-trouble"), page.text_of("perf-step")) == ([why], [])


def test_only_the_id_is_taken_from_who_asks_for_a_plan(explain):
    assert explain().shape() == explain(sql_="DROP TABLE products", alias_="elsewhere", analyze="1").shape()


def test_a_store_that_does_not_answer_gives_a_page_of_a_plan_that_says_so(explain, monkeypatch):
    def fail(*args):
        raise OperationalError("password=secret")

    monkeypatch.setattr(views, "explained", fail)
    page = explain()
    assert page.text_of("perf-trouble")[0].startswith("The store cannot be read (OperationalError).")
    assert "secret" not in page.source
