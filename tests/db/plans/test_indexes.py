"""Which index a scan lacks, from what PostgreSQL prints of its filter."""

from __future__ import annotations

import pytest

from django_perf.db.plans.indexes import missing
from django_perf.db.plans.plan import Table

FIELDS = {"product_id": "product", "created_at": "created_at", "id": "id", "price": "price"}
TABLE = Table("product_images", 500_000.0, (("id",), ("created_at", "id")), "shop.ProductImage", FIELDS)


@pytest.mark.parametrize(
    ("filter_", "columns"),
    [
        ("(product_images.product_id = $1)", ("product_id",)),
        ("((product_id = $1) AND (price = $2))", ("product_id", "price")),
        ("((price > $1) AND (product_id = $2))", ("product_id", "price")),
        ("((price > $1) AND (created_at < $2))", ("price",)),
        ("((product_images.url)::text = $1)", ("url",)),
        ("((t.url)::text = ($1)::text)", ("url",)),
        ("(product_id = ANY ($1))", ("product_id",)),
        ('("Odd Name" = $1)', ("Odd Name",)),
        ("((product_id = $1) AND ((url)::text ~~ $2))", ("product_id",)),
        ("((product_id = $1) AND ((price = $2) OR (price = $3)))", ("product_id",)),
        ("(deleted_at IS NULL)", None),
        ("((product_id = $1) OR (price = $2))", None),
        ("(upper((url)::text) = $1)", None),
        ("(a.product_id = b.product_id)", None),
        ("((url)::text ~~ $1)", None),
        ("(price <> $1)", None),
        ("(NOT hidden)", None),
        ("(id = $1)", None),
        ("((created_at = $1) AND (id > $2))", None),
        ("", None),
    ],
)
def test_plain_comparisons_make_an_index_equal_ones_first(filter_, columns):
    index = missing(TABLE, filter_)
    assert (index.columns if index else None) == columns


@pytest.mark.parametrize(
    ("filter_", "sort", "columns"),
    [
        ("", ("created_at DESC", "price"), ("-created_at", "price")),
        ("(product_id = $1)", ("t.created_at DESC", "t.id DESC"), ("product_id", "-created_at", "-id")),
        ("(product_id = $1)", ("product_id", "id"), ("product_id", "id")),
        ("((product_id = $1) AND (price > $2))", ("created_at DESC NULLS LAST",), ("product_id", "-created_at")),
        ("(product_id = $1)", ("lower((url)::text)",), ("product_id",)),
        ("", ("created_at",), None),
    ],
)
def test_the_order_of_the_first_rows_follows(filter_, sort, columns):
    index = missing(TABLE, filter_, sort)
    assert (index.columns if index else None) == columns


def test_the_index_is_written_for_the_shell_and_for_the_model():
    index = missing(TABLE, "(product_id = $1)", ("created_at DESC",))
    assert len(index.name) <= 30
    assert index.sql() == (
        f'CREATE INDEX CONCURRENTLY "{index.name}" ON "product_images" ("product_id", "created_at" DESC);'
    )
    assert index.django() == f'models.Index(fields=["product", "-created_at"], name="{index.name}")'


def test_a_short_name_is_as_one_would_write_it():
    assert missing(Table("reviews"), "(product_id = $1)").name == "reviews_product_id_idx"


def test_a_table_of_another_schema_without_a_model_has_the_statement_only():
    index = missing(Table("other.t", 1.0), "(a = $1)")
    assert index.sql() == 'CREATE INDEX CONCURRENTLY "t_a_idx" ON "other"."t" ("a");'
    assert index.django() == ""
