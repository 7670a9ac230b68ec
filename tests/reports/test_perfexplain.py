"""`perfexplain`: a plan for a person in a shell."""

from __future__ import annotations

import io
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from django_perf.db.fingerprint import shape_id
from django_perf.metrics.catalog import ENDPOINT_QUERY
from django_perf.metrics.recorder import recorder
from django_perf.store.models import Series
from example_project.shop.models import Category, Product, ProductImage
from tests.store.data import compact_at

from .data import series, store

pytestmark = pytest.mark.django_db(transaction=True)

SQL = 'SELECT "product_images"."url" FROM "product_images" WHERE "product_images"."product_id" = ?'


def run(sql):
    with connections["default"].cursor() as cursor:
        cursor.execute(sql)


def recorded(sql=SQL, alias="default"):
    store(series(ENDPOINT_QUERY, ("/list", "GET", alias, sql), [80]), minute=int(time.time()) // 60)
    return shape_id(alias, sql)


def explain(id_):
    out = io.StringIO()
    call_command("perfexplain", id_, stdout=out)
    return out.getvalue()


@pytest.fixture
def no_index():
    category = Category.objects.create(name="all", slug="all")
    products = Product.objects.bulk_create(Product(name=f"p{n}", price=1, category=category) for n in range(1_200))
    ProductImage.objects.bulk_create(ProductImage(product=product, url="http://x.org/") for product in products)
    run("DROP INDEX product_images_in_order")
    run("ANALYZE product_images")
    yield
    run("CREATE INDEX product_images_in_order ON product_images (product_id, position, id)")


def test_it_prints_the_statement_the_tree_and_the_lines_that_mend_it(no_index):
    text = explain(recorded())
    assert text.startswith(SQL)
    assert "Seq Scan on product_images" in text
    assert "Sequential scan: reads all 1,200 rows of product_images to keep 1" in text
    assert '  CREATE INDEX CONCURRENTLY "product_images_product_id_idx" ON "product_images" ("product_id");' in text
    assert '  models.Index(fields=["product"], name="product_images_product_id_idx")' in text
    assert "A generic plan" in text


def test_it_says_when_nothing_stands_out():
    text = explain(recorded())
    assert "Index" in text
    assert text.endswith("Nothing stands out.\n")


def test_a_query_that_is_merged_already_is_found_too():
    id_ = recorded()
    compact_at("default", int(time.time()) // 60 + 1)
    assert Series.objects.filter(kind="query").exists()
    assert explain(id_).startswith(SQL)


@pytest.mark.parametrize("id_", ["0" * 12, "", "x", "%", "0" * 11, "'; DROP TABLE products", "A" * 12, "٠" * 12])
def test_an_id_that_names_nothing_is_told(id_):
    recorded()
    with pytest.raises(CommandError, match="no query of that id is recorded; `perfstats queries` lists them"):
        explain(id_)


@pytest.mark.parametrize(
    ("sql", "alias", "why"),
    [
        ("DELETE FROM products", "default", "only a SELECT is explained"),
        ("SELECT nothing FROM nowhere", "default", r"the database refuses: 42P01 \(no such table\)"),
        ("SELECT ?", "elsewhere", "there is no database 'elsewhere' here"),
    ],
)
def test_why_a_query_is_not_explained_is_told(sql, alias, why):
    with pytest.raises(CommandError, match=why):
        explain(recorded(sql, alias))


def test_it_does_not_measure_itself():
    id_ = recorded()
    recorder.enabled = True
    explain(id_)
    assert recorder.drain() == {}


def test_a_store_without_tables_is_told():
    with connections["default"].schema_editor() as editor:
        editor.alter_db_table(Series, "django_perf_series", "hidden")
    try:
        with pytest.raises(CommandError, match="the store cannot be read"):
            explain("0" * 12)
    finally:
        with connections["default"].schema_editor() as editor:
            editor.alter_db_table(Series, "hidden", "django_perf_series")
