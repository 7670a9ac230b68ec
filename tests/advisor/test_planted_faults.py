"""Each rule finds the fault that is planted in the shop, and is silent when it is gone."""

from __future__ import annotations

import time

import pytest
from django.db import connections
from django.test import Client

from django_perf.advisor import rules
from django_perf.advisor.advice import HIGH, MEDIUM, Advice, in_order
from django_perf.advisor.report import advise
from django_perf.advisor.rules import sql
from django_perf.metrics.recorder import recorder
from django_perf.reports.window import last
from django_perf.store.models import Delta
from django_perf.store.reader import consistent
from example_project.shop import faults
from example_project.shop.models import Category, Product, ProductImage, Review
from tests.store.data import put

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _shop(settings):
    settings.ROOT_URLCONF, settings.SHOP_FAULTS = "example_project.urls", {"all"}
    recorder.enabled = True


@pytest.fixture
def goods():
    """1,200 products of one category, with an image each, and 60 reviews."""
    category = Category.objects.create(name="all", slug="all")
    products = Product.objects.bulk_create(Product(name=f"p{n}", price=1, category=category) for n in range(1_200))
    ProductImage.objects.bulk_create(ProductImage(product=product, url="http://x.org/") for product in products)
    Review.objects.bulk_create(Review(product=product, author="a", rating=5) for product in products[:60])
    # The first request imports the shop, beside which no query takes a share of the time.
    assert Client(SERVER_NAME="localhost").get("/n-plus-one").status_code == 200
    recorder.fold()
    recorder.drain()
    return products


def said(rule, *paths):
    """Visit some pages, and return what a rule makes of it."""
    client = Client(SERVER_NAME="localhost", raise_request_exception=False)
    for path in paths:
        assert client.get(path).status_code == 200
    recorder.fold()
    tables, recorder.enabled = recorder.drain(), False
    put("default", tables, taken=time.time())
    found = consistent("default", lambda snapshot: advise(snapshot, last("1h"), [rule]))
    Delta.objects.all().delete()
    recorder.enabled = True
    return found


def is_silent(rule, *paths):
    """Tell whether a rule has nothing to say; on a busy machine anything may be slow once."""
    return any(said(rule, *paths) == [] for _ in range(3))


def test_one_query_for_each_row(goods):
    (advice,) = said(sql.n_plus_one, "/n-plus-one")
    line = faults.n_plus_one.__wrapped__.__code__.co_firstlineno
    assert advice.evidence.startswith("GET n-plus-one sends one query 50 times a request, ")
    assert f"at shop/faults.py:{line + 5} in n_plus_one" in advice.evidence
    assert advice.remedy == 'select_related("product") where Review is read'
    assert advice.page == "query"
    assert is_silent(sql.n_plus_one, "/n-plus-one?n=3", "/products")


def test_a_result_that_grows_with_the_table(goods):
    below = goods[-1].pk
    (advice,) = said(sql.unbounded_result, f"/unbounded?below={below}")
    assert advice.evidence.startswith("GET unbounded fetches 1,200 rows a request without a limit, at shop/faults.py:")
    assert is_silent(sql.unbounded_result, f"/unbounded?below={goods[500].pk}", "/products?per_page=100")


def test_a_transaction_that_waits_for_something_else(goods):
    (advice,) = said(sql.open_transaction, "/held-transaction")
    assert advice.evidence.startswith("GET held-transaction holds a transaction open for ")
    assert "in held_transaction" in advice.evidence
    assert (advice.severity, advice.page) == (HIGH, "endpoint")
    assert is_silent(sql.open_transaction, "/held-transaction?ms=0")


def test_a_slow_query_on_which_the_time_goes(goods):
    (advice,) = said(sql.slow_query, "/slow-sql?s=0.2", "/products")
    assert "1 calls, 2" in advice.evidence
    assert "SELECT pg_sleep(?)" in advice.evidence
    assert advice.remedy.startswith("see its plan: manage.py perfexplain ")
    assert is_silent(sql.slow_query, "/slow-sql?s=0", "/products")


def test_an_endpoint_that_sends_very_many_queries(goods):
    (advice,) = said(sql.chatty_endpoint, "/chatty")
    assert advice.evidence.startswith("GET chatty sends 40 queries a request, ")
    assert (advice.severity, advice.params) == (MEDIUM, {"route": "chatty", "method": "GET"})
    assert is_silent(sql.chatty_endpoint, "/chatty?n=20", "/products")


def test_the_same_question_again_and_again(goods):
    Review.objects.update(product=goods[0])
    recorder.drain()
    (advice,) = said(sql.duplicate_query, "/n-plus-one")
    assert "asks the very same again 49 times a request" in advice.evidence
    assert is_silent(sql.duplicate_query, "/products")


def test_an_index_that_is_missing_in_the_database(goods):
    assert is_silent(sql.database)
    with connections["default"].cursor() as cursor:
        cursor.execute("DROP INDEX product_images_in_order")
        cursor.execute("ANALYZE product_images")
    try:
        (advice,) = said(sql.database)
        assert (advice.severity, advice.rule, advice.page) == (HIGH, "missing_index", "database")
        assert advice.evidence.startswith("default: missing index, product_images (product_id): foreign key")
        assert advice.remedy.startswith("CREATE INDEX CONCURRENTLY")
        assert 'models.Index(fields=["product"]' in advice.remedy
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("CREATE INDEX product_images_in_order ON product_images (product_id, position, id)")


def test_without_any_fault_nobody_says_anything(goods):
    pages = ["/products", "/products?cursor=", f"/products/{goods[0].pk}", "/categories", "/catalogue"]
    for rule in rules.STORED:
        assert is_silent(rule, *pages)


def test_the_urgent_comes_first_and_of_those_the_dearest():
    pieces = [
        Advice("low", "a", "", "", cost_ms=9),
        Advice("high", "b", "", "", cost_ms=1),
        Advice("medium", "c", "", ""),
        Advice("high", "d", "", "", cost_ms=2),
    ]
    assert [one.rule for one in in_order(pieces)] == ["d", "b", "c", "a"]
