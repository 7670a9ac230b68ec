"""Plans of a real server for statements as they were recorded; and the four attacks that explaining invites."""

from __future__ import annotations

import re
import time

import pytest
from django.db import connection, connections

from django_perf.db.fingerprint import normalise
from django_perf.db.plans import explain as explaining
from django_perf.db.plans.explain import explain
from django_perf.db.plans.judgement import judge
from django_perf.exceptions import Unexplainable
from django_perf.metrics.recorder import recorder
from example_project.shop.models import Category, Product, ProductImage, Review

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"], transaction=True)


@pytest.fixture
def images():
    """3,000 products with an image each, which the server has looked at."""
    category = Category.objects.create(name="all", slug="all")
    products = Product.objects.bulk_create(Product(name=f"p{n}", price=1, category=category) for n in range(3_000))
    ProductImage.objects.bulk_create(ProductImage(product=product, url="http://x.org/") for product in products)
    run("ANALYZE products; ANALYZE product_images")


def run(sql, alias="default"):
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def recorded(queryset):
    """Return the shape of what a queryset sends."""
    sql, _ = queryset.query.sql_with_params()
    return normalise(sql, "postgresql")


def test_the_plan_of_what_django_sends_needs_none_of_its_values(images):
    plan = explain("default", recorded(Product.objects.filter(name="secret", price__gt=5).order_by("-id")[:20]))
    assert (plan.vendor, plan.parameters, plan.is_executed) == ("postgresql", 3, False)
    assert {node.table for node in plan.root.walk()} >= {"products"}
    assert plan.tables["products"].rows == 3_000
    assert plan.tables["products"].model == "shop.Product"
    assert ("created_at", "id") in plan.tables["products"].indexes


def test_a_dropped_index_is_told_with_the_line_that_makes_it_and_gone_when_it_is_made(images):
    shape = recorded(ProductImage.objects.filter(product_id=5))
    assert judge(explain("default", shape)) == []
    run("DROP INDEX product_images_in_order")
    try:
        (remark,) = judge(explain("default", shape))
        assert "3,000 rows of product_images to keep 1" in remark.text
        name = remark.index.name
        assert remark.index.sql() == f'CREATE INDEX CONCURRENTLY "{name}" ON "product_images" ("product_id");'
        assert remark.index.django() == f'models.Index(fields=["product"], name="{name}")'
        run(remark.index.sql())
        assert judge(explain("default", shape)) == []
        run(f'DROP INDEX "{name}"')
    finally:
        run("CREATE INDEX IF NOT EXISTS product_images_in_order ON product_images (product_id, position, id)")


def test_json_operators_lists_and_casts_are_planned():
    for sql in (
        "SELECT 1 FROM products WHERE to_jsonb(name) ? %s AND to_jsonb(name) ?| %s",
        "SELECT id FROM products WHERE id IN (%s, %s, %s) AND name = ANY(%s)",
        "SELECT count(*) FROM products WHERE price %% 2 = 0 AND created_at > now() - '1 day'::interval",
    ):
        assert explain("default", normalise(sql, "postgresql")).root.kind


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT interval '1 day'", "42601"),
        ("SELECT 1 FROM products WHERE %s IS NULL", "42P18"),
        ("SELECT nothing FROM nowhere", "42P01"),
        ("SELECT 'odd' AS \"it's odd\"", "42601"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_code_and_no_text(sql, code):
    with pytest.raises(Unexplainable) as caught:
        explain("default", normalise(sql, "postgresql"))
    assert caught.value.code == code
    assert re.fullmatch(rf"the database refuses: {code}( \([a-z ]+\))?", str(caught.value))
    assert caught.value.__cause__ is None


# --- attacks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def victim():
    run("CREATE TABLE victim (secret text)")
    run("INSERT INTO victim VALUES ('hunter2')")
    yield lambda: run("SELECT secret FROM victim")
    run("DROP FUNCTION IF EXISTS leak(), slow(), wipe()")
    run("DROP TABLE victim")


@pytest.mark.parametrize("sql", ["SELECT 1; DROP TABLE victim", "SELECT 1 /* */ ;--\nDROP TABLE victim"])
def test_stacked_statements_are_never_sent(victim, sql):
    with pytest.raises(Unexplainable, match="more than one statement"):
        explain("default", normalise(sql, "postgresql"))
    assert victim() == [("hunter2",)]


def test_what_a_function_of_the_planner_says_in_an_error_is_never_seen(victim):
    run(
        "CREATE FUNCTION leak() RETURNS int LANGUAGE plpgsql STABLE AS "
        "$$ BEGIN RETURN (SELECT secret FROM victim)::int; END $$"
    )
    run("ANALYZE victim")
    with pytest.raises(Unexplainable) as caught:
        explain("default", "SELECT ? FROM victim WHERE length(secret) = leak()")
    assert "hunter2" not in repr(caught.value)
    assert caught.value.code == "22P02"
    assert caught.value.__context__ is None or "hunter2" not in str(caught.value)


def test_a_function_that_is_slow_while_planning_is_ended(victim):
    run("CREATE FUNCTION slow() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 FROM pg_sleep(30) $$")
    began = time.monotonic()
    with pytest.raises(Unexplainable) as caught:
        explain("default", "SELECT slow()")
    assert caught.value.code == "57014"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("analyze", [False, True])
def test_a_statement_that_changes_data_changes_none(victim, settings, analyze):
    settings.DJANGO_PERF = {"EXPLAIN_ANALYZE": analyze}
    run("CREATE FUNCTION wipe() RETURNS int LANGUAGE sql VOLATILE AS $$ DELETE FROM victim RETURNING 1 $$")
    for sql in ("DELETE FROM victim", "WITH x AS (DELETE FROM victim RETURNING *) SELECT * FROM x"):
        with pytest.raises(Unexplainable):
            explain("default", sql)
    if analyze:
        with pytest.raises(Unexplainable) as caught:
            explain("default", "SELECT wipe()")
        assert caught.value.code == "25006"
    else:
        explain("default", "SELECT wipe()")
    assert victim() == [("hunter2",)]


# --- around it ------------------------------------------------------------------------------------------------------


def test_with_analyze_there_are_actual_figures(images, settings):
    settings.DJANGO_PERF = {"EXPLAIN_ANALYZE": True}
    plan = explain("default", recorded(Product.objects.all()))
    assert plan.is_executed
    assert plan.root.actual_rows == 3_000


def test_the_role_of_the_settings_is_who_asks(settings, images):
    run("DROP ROLE IF EXISTS perf_nobody")
    run("CREATE ROLE perf_nobody")
    settings.DJANGO_PERF = {"EXPLAIN_ROLE": "perf_nobody"}
    try:
        with pytest.raises(Unexplainable) as caught:
            explain("default", recorded(Product.objects.all()))
        assert caught.value.code == "42501"
    finally:
        run("DROP ROLE perf_nobody")


def test_the_connection_is_our_own_is_closed_and_is_measured_by_nobody():
    recorder.enabled = True
    before = connections["default"].connection
    explain("default", "SELECT ?")
    assert connections["default"].connection is before
    assert recorder.drain() == {}
    left = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%django_perf_explained%' AND pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 10
    while run(left) != [(0,)] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run(left) == [(0,)]


def test_a_database_that_is_not_there_is_refused_with_its_name():
    with pytest.raises(Unexplainable, match="there is no database 'elsewhere' here"):
        explain("elsewhere", "SELECT ?")


@pytest.mark.parametrize(
    ("shape", "why"),
    [("SELECT ?", "mysql: a statement with parameters cannot be planned"), ("SELECT a", "mysql: not supported")],
)
def test_another_vendor_is_refused_with_the_reason(monkeypatch, shape, why):
    monkeypatch.setattr(type(connections["default"]), "vendor", "mysql")
    with pytest.raises(Unexplainable, match=why):
        explain("default", shape)


def test_a_server_that_cannot_be_reached_is_refused_with_a_code(monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")
    with pytest.raises(Unexplainable, match="the database refuses"):
        explain("default", "SELECT ?")


@pytest.fixture
def lite():
    """A file with a table of 2,000 rows."""
    run("CREATE TABLE IF NOT EXISTS lite (id integer PRIMARY KEY, a text, b int)", "sqlite")
    run(
        "INSERT INTO lite (a, b) WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 2000) "
        "SELECT x, x FROM t",
        "sqlite",
    )
    run("CREATE INDEX lite_b ON lite (b)", "sqlite")
    yield
    run("DROP TABLE lite", "sqlite")


def test_sqlite_explains_too(lite):
    plan = explain("sqlite", normalise("SELECT a FROM lite WHERE a = %s AND b %% 2 = 0", "sqlite"))
    assert (plan.vendor, plan.parameters, plan.root.describe()) == ("sqlite", 2 + 1, "Scan on lite")
    assert plan.tables["lite"].rows == 2_000
    (remark,) = judge(plan)
    assert "2,000 rows of lite" in remark.text


def test_sqlite_uses_an_index_and_nothing_is_remarked(lite):
    plan = explain("sqlite", "SELECT a FROM lite WHERE b = ?")
    assert plan.root.describe() == "Search on lite using lite_b"
    assert judge(plan) == []
    assert plan.tables["lite"].indexes == (("b",),)


def test_sqlite_knows_the_functions_of_django(lite):
    plan = explain("sqlite", "SELECT django_datetime_trunc(?, a, ?, ?) FROM lite")
    assert plan.root.kind == "Scan"


def test_what_sqlite_cannot_plan_is_refused_by_name(lite):
    with pytest.raises(Unexplainable) as caught:
        explain("sqlite", "SELECT nothing FROM nowhere")
    assert caught.value.code == "SQLITE_ERROR"


def test_a_database_in_memory_cannot_be_read_by_another(monkeypatch):
    monkeypatch.setitem(connections["sqlite"].settings_dict, "NAME", "file:memorydb_x?mode=memory&cache=shared")
    with pytest.raises(Unexplainable, match="in memory"):
        explain("sqlite", "SELECT ?")


def test_the_file_is_opened_read_only(lite):
    from django_perf.db.inspection import reading

    with reading("sqlite") as cursor, pytest.raises(connections["sqlite"].Database.OperationalError) as caught:
        cursor.cursor.execute("DELETE FROM lite")
    assert "readonly" in str(caught.value)
    assert run("SELECT count(*) FROM lite", "sqlite") == [(2_000,)]


def test_the_own_connection_is_never_one_of_a_pool():
    from django_perf.db.inspection import _own
    from django_perf.pool.postgresql.base import DatabaseWrapper

    pooled = DatabaseWrapper({**connection.settings_dict, "OPTIONS": {"pool": {"max_size": 1}}}, "pooled")
    assert pooled.pool is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(connections._connections), "pooled", pooled)
        own = _own("pooled")
    assert own.pool is None
    assert explaining.explain is explain
    assert Review._meta.db_table
    pooled.close_pool()
