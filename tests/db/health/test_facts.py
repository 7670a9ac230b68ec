"""What a real server tells: planted faults are there, and gone when they are mended."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import psycopg2
import pytest
from django.db import connections

from django_perf.db.health.checks import ACT, LOOK, UNKNOWN, vitals
from django_perf.db.health.facts import facts
from django_perf.db.plans.models import models_by_table
from django_perf.metrics.recorder import recorder
from example_project.shop.models import Category, Product, ProductImage

pytestmark = pytest.mark.django_db(transaction=True)


def run(sql):
    with connections["default"].cursor() as cursor:
        cursor.execute(sql)


def told(check):
    """Return {what: vital} of one check."""
    found = facts("default")
    assert found.unanswered == {}
    return {vital.what: vital for vital in vitals(found, models_by_table()) if vital.check == check}


@contextmanager
def session(**options):
    """Another client of the same database."""
    settings = connections["default"].settings_dict
    other = psycopg2.connect(
        dbname=settings["NAME"],
        user=options.pop("user", settings["USER"]),
        password=options.pop("password", settings["PASSWORD"]),
        host=settings["HOST"],
        port=settings["PORT"],
        application_name="another client",
        **options,
    )
    try:
        yield other
    finally:
        other.close()


@pytest.fixture
def images():
    category = Category.objects.create(name="all", slug="all")
    products = Product.objects.bulk_create(Product(name=f"p{n}", price=1, category=category) for n in range(1_200))
    ProductImage.objects.bulk_create(ProductImage(product=product, url="http://x.org/") for product in products)
    run("ANALYZE product_images")


def test_a_healthy_database_needs_nothing():
    found = facts("default")
    assert found.unanswered == {}
    assert [vital for vital in vitals(found, models_by_table()) if vital.state in (ACT, UNKNOWN)] == []
    assert found.server.max_connections > found.server.connections > 0
    assert {table.name for table in found.tables} >= {"products", "product_images"}


def test_a_foreign_key_without_an_index_is_told_with_both_lines_and_gone_when_it_has_one(images):
    assert told("missing index") == {}
    run("DROP INDEX product_images_in_order")
    try:
        vital = told("missing index")["product_images (product_id)"]
        assert (vital.state, vital.value) == (ACT, "foreign key to products without an index, 1,200 rows")
        name = "product_images_product_id_idx"
        line = f'CREATE INDEX CONCURRENTLY "{name}" ON "product_images" ("product_id");'
        assert vital.advice.startswith(line)
        assert f'shop.ProductImage: models.Index(fields=["product"], name="{name}")' in vital.advice
        run(line)
        assert told("missing index") == {}
        run(f'DROP INDEX "{name}"')
    finally:
        run("CREATE INDEX IF NOT EXISTS product_images_in_order ON product_images (product_id, position, id)")


def test_an_index_of_several_columns_serves_only_the_keys_that_it_begins_with():
    run("CREATE TABLE pair (a int REFERENCES categories, b int REFERENCES products)")
    run("CREATE INDEX pair_ab ON pair (a, b)")
    try:
        assert set(told("missing index")) == {"pair (b)"}
    finally:
        run("DROP TABLE pair")


def test_an_index_that_another_one_repeats_is_told_once():
    run("CREATE INDEX again ON product_images (product_id, position, id)")
    try:
        vital = told("duplicate index")["again"]
        assert (vital.state, vital.value) == (LOOK, "the same as product_images_in_order")
        assert vital.advice == "DROP INDEX CONCURRENTLY public.again;"
        assert "product_images_in_order" not in told("duplicate index")
    finally:
        run("DROP INDEX again")


@pytest.mark.parametrize(
    ("kept", "duplicate"),
    [
        ("CREATE INDEX kept ON made (a) INCLUDE (b)", "CREATE INDEX duplicate ON made (a)"),
        ("ALTER TABLE made ADD CONSTRAINT kept UNIQUE (a)", "CREATE UNIQUE INDEX duplicate ON made (a)"),
        ("ALTER TABLE made ADD CONSTRAINT kept PRIMARY KEY (a)", "CREATE UNIQUE INDEX duplicate ON made (a)"),
        ("ALTER TABLE made ADD CONSTRAINT kept PRIMARY KEY (a)", "CREATE INDEX duplicate ON made (a)"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_the_one_that_is_to_go_can_go(kept, duplicate, is_first):
    run("CREATE TABLE made (a int NOT NULL, b int)")
    try:
        for statement in (duplicate, kept) if is_first else (kept, duplicate):
            run(statement)
        assert list(told("duplicate index")) == ["duplicate"]
        run(told("duplicate index")["duplicate"].advice)
        assert told("duplicate index") == {}
    finally:
        run("DROP TABLE made")


def test_indexes_of_one_name_in_two_schemas_are_told_apart():
    run("CREATE SCHEMA tenant; CREATE TABLE made (a int); CREATE TABLE tenant.made (a int)")
    run("CREATE INDEX made_a ON made (a); CREATE INDEX made_a ON tenant.made (a)")
    run('CREATE INDEX "odd ""name" ON tenant.made (a)')
    try:
        ((what, vital),) = told("duplicate index").items()
        assert what == 'tenant.odd "name'
        assert vital.advice == 'DROP INDEX CONCURRENTLY tenant."odd ""name";'
    finally:
        run("DROP SCHEMA tenant CASCADE; DROP TABLE made")


@pytest.mark.parametrize(
    "definition",
    [
        "UNIQUE INDEX other ON product_images (product_id, position, id)",
        "INDEX other ON product_images (product_id DESC, position, id)",
        "INDEX other ON product_images (product_id, position, id) WHERE position > 0",
        "INDEX other ON product_images USING hash (product_id)",
        "INDEX other ON product_images (id, product_id)",
        "INDEX other ON product_images ((product_id + 1))",
    ],
)
def test_an_index_that_does_something_else_is_no_duplicate(definition):
    run(f"CREATE {definition}")
    try:
        assert "other" not in told("duplicate index")
    finally:
        run("DROP INDEX other")


def test_an_index_whose_building_failed_is_told(images):
    with session() as other:
        other.autocommit = True
        with pytest.raises(psycopg2.Error):
            other.cursor().execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON product_images (url)")
    try:
        vital = told("invalid index")["broken"]
        assert vital.state == ACT
        assert vital.advice.startswith("DROP INDEX CONCURRENTLY public.broken;")
    finally:
        run("DROP INDEX broken")


def test_who_waits_and_who_makes_him_wait_is_told_and_no_value_of_their_statements():
    Category.objects.create(name="locked", slug="x")
    with session() as holder, session() as waiter:
        holder.cursor().execute("UPDATE categories SET slug = 'secret@example.org' WHERE name = 'locked'")
        thread = threading.Thread(
            target=lambda: waiter.cursor().execute("UPDATE categories SET slug = 'secret2' WHERE name = 'locked'")
        )
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not (blocked := told("blocked session")) and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            holder.rollback()
            thread.join()
        ((what, vital),) = blocked.items()
        pids = holder.info.backend_pid, waiter.info.backend_pid
    assert what == f"pid {pids[1]} another client: UPDATE categories SET slug = ? WHERE name = ?"
    assert vital.value.endswith(f"for pid {pids[0]}")
    assert "idle in transaction" in vital.advice
    assert "secret" not in repr(vital)


def test_no_value_of_any_statement_is_kept():
    with session() as other:
        other.cursor().execute("SELECT 'secret@example.org' -- secret too")
        (mine,) = [one for one in facts("default").sessions if one.pid == other.info.backend_pid]
    assert mine.sql == "SELECT ?"
    assert (mine.application, mine.state) == ("another client", "idle in transaction")


def test_what_the_server_counts_stands_beside_ours():
    run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    run("SELECT pg_stat_statements_reset()")
    for length in (1, 2, 3):
        list(Category.objects.filter(pk__in=range(length)))
    found = facts("default")
    assert found.has_statements
    (row,) = [one for one in found.statements if one.sql.endswith('IN (?) ORDER BY "categories"."name" ASC')]
    assert row.calls == 3


def test_without_the_extension_it_says_how_to_get_it():
    run("DROP EXTENSION IF EXISTS pg_stat_statements")
    (vital,) = told("statements").values()
    assert "CREATE EXTENSION pg_stat_statements" in vital.advice


def test_a_sequence_that_nears_its_end_is_told_by_the_type_of_its_column():
    run("CREATE TABLE near (id serial)")
    run("SELECT setval('near_id_seq', 1900000000)")
    try:
        vital = told("sequence")["near_id_seq"]
        assert (vital.state, vital.value) == (ACT, "88% of its numbers used")
    finally:
        run("DROP TABLE near")


@pytest.fixture
def stranger():
    """A role that may log in and see nothing of others."""
    run("DROP ROLE IF EXISTS perf_stranger")
    run("CREATE ROLE perf_stranger LOGIN PASSWORD 'x'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connections["default"].settings_dict, "USER", "perf_stranger")
        patch.setitem(connections["default"].settings_dict, "PASSWORD", "x")
        yield
    run("DROP ROLE perf_stranger")


def test_without_pg_monitor_it_shows_what_it_may_and_says_what_is_missing(stranger):
    run("DROP EXTENSION IF EXISTS pg_stat_statements")
    found = facts("default")
    assert found.server.user == "perf_stranger"
    (vital,) = [one for one in vitals(found, {}) if one.check == "permissions"]
    assert (vital.state, vital.advice) == (LOOK, 'GRANT pg_monitor TO "perf_stranger";')
    assert found.indexes
    assert found.unanswered == {}


def test_a_question_that_fails_costs_no_other(monkeypatch):
    monkeypatch.setattr("django_perf.db.health.questions.TABLES", "SELECT nothing FROM nowhere")
    found = facts("default")
    assert found.unanswered == {"tables": "42P01"}
    assert found.indexes
    (vital,) = [one for one in vitals(found, {}) if one.state == UNKNOWN]
    assert vital.advice == "the question for its tables failed: 42P01"


def test_a_question_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr("django_perf.db.inspection._LIMITS", {"statement_timeout": 50})
    monkeypatch.setattr("django_perf.db.health.questions.TABLES", "SELECT pg_sleep(20)")
    assert facts("default").unanswered["tables"] == "57014"


def test_a_server_that_cannot_be_reached_is_one_answer(monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")
    found = facts("default")
    assert list(found.unanswered) == ["server"]
    (vital,) = vitals(found, {})
    assert vital.advice.startswith("the server cannot be reached")


def test_asking_writes_nothing_and_is_measured_by_nobody():
    recorder.enabled = True
    facts("default")
    assert recorder.drain() == {}
