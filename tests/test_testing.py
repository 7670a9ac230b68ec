"""The test helpers fail where they should, name the line and the remedy, and see requests of the test client."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connections, transaction
from django.test import Client
from django.utils.connection import ConnectionDoesNotExist

from django_perf.testing import assert_max_queries as allow
from django_perf.testing import assert_no_n_plus_one as refuse_loops
from example_project.shop import faults
from example_project.shop.models import Category, Product, Review

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


@pytest.fixture
def reviews():
    category = Category.objects.create(name="all", slug="all")
    products = Product.objects.bulk_create(Product(name=f"p{n}", price=1, category=category) for n in range(4))
    return Review.objects.bulk_create(Review(product=product, author="a", rating=5) for product in products)


@pytest.fixture
def shop(settings):
    settings.ROOT_URLCONF, settings.SHOP_FAULTS = "example_project.urls", {"all"}
    return Client(SERVER_NAME="localhost")


def names_of_products():
    return [review.product.name for review in Review.objects.all()]


def failure(context, act):
    with pytest.raises(AssertionError) as caught, context:
        act()
    return str(caught.value)


def test_as_many_as_allowed_are_allowed(reviews):
    with allow(1):
        Review.objects.count()
    with allow(0):
        pass


def test_one_too_many_names_the_lines_the_most_frequent_first(reviews):
    text = failure(allow(4), names_of_products)
    line = names_of_products.__code__.co_firstlineno + 1
    first, second, *_ = [one for one in text.splitlines() if " x " in one]
    assert text.startswith("5 queries were sent, and 4 are the most allowed:")
    assert first == f"  4 x tests/test_testing.py:{line} in names_of_products"
    assert second == f"  1 x tests/test_testing.py:{line} in names_of_products"
    assert 'better: select_related("product") where Review is read' in text


def test_no_value_is_told():
    text = failure(allow(0), lambda: list(Review.objects.filter(author="s3cret")))
    assert "s3cret" not in text
    assert "%s" in text or "?" in text


def test_very_many_lines_are_not_all_listed():
    def act():
        for number in range(25):
            Review.objects.extra(select={f"n{number}": "1"}).first()

    assert failure(allow(0), act).endswith("and 5 more")


def test_every_alias_counts_unless_one_is_named():
    def act():
        for alias in ("default", "sqlite"):
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")

    assert failure(allow(1), act).startswith("2 queries")
    with allow(1, using="sqlite"):
        act()
    with pytest.raises(ConnectionDoesNotExist), allow(1, using="no"):
        pass


def test_one_query_for_each_row_is_refused(reviews):
    text = failure(refuse_loops(), names_of_products)
    assert "4 x tests/test_testing.py:" in text
    assert 'select_related("product") where Review is read' in text
    assert "1 x" not in text


def test_also_when_all_rows_have_the_same_parent(reviews):
    Review.objects.update(product=reviews[0].product)
    assert "4 x" in failure(refuse_loops(), names_of_products)


def test_what_is_fetched_at_once_is_fine(reviews):
    with refuse_loops():
        assert len([review.product.name for review in Review.objects.select_related("product")]) == 4


def test_how_often_is_too_often_can_be_said(reviews):
    with refuse_loops(repeats=5):
        names_of_products()


def test_savepoints_are_not_what_is_looked_for():
    with refuse_loops():
        for _ in range(4):
            with transaction.atomic():
                pass


def test_a_request_of_the_test_client_names_the_line_of_the_view(shop, reviews):
    line = faults.n_plus_one.__wrapped__.__code__.co_firstlineno + 5
    text = failure(refuse_loops(), lambda: shop.get("/n-plus-one"))
    assert f"4 x shop/faults.py:{line} in n_plus_one" in text


def test_several_requests_are_looked_at_one_by_one(shop, reviews):
    with refuse_loops():
        for _ in range(4):
            assert shop.get("/products").status_code == 200


def test_an_exception_of_the_block_is_the_one_that_is_raised(reviews):
    with pytest.raises(DatabaseError), allow(0), connections["sqlite"].cursor() as cursor:
        cursor.execute("SELECT no_such_column")
    with pytest.raises(DatabaseError), refuse_loops(), connections["sqlite"].cursor() as cursor:
        cursor.execute("SELECT no_such_column")


def test_nothing_is_left_behind():
    with allow(0):
        pass
    assert not any(connection.execute_wrappers for connection in connections.all())


def test_pytest_finds_them_by_itself(assert_max_queries, assert_no_n_plus_one):
    assert (assert_max_queries, assert_no_n_plus_one) == (allow, refuse_loops)
