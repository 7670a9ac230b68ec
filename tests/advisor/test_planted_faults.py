"""Each rule of SQL finds the fault that is planted in the shop, and is silent when it is gone."""

from __future__ import annotations

import pytest
from django.db import connections

from django_perf.advisor.advice import HIGH, MEDIUM, Advice, in_order
from django_perf.advisor.rules import STORED, sql
from django_perf.metrics.recorder import recorder
from example_project.shop import faults
from example_project.shop.models import Review

from .missing import without_index

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _all_faults(shop):
    shop.plant("all")


def said(shop, rule, *paths):
    """Visit some pages, and return what a rule makes of it."""
    shop.visit(*paths)
    return shop.advice(rule)


def is_silent(shop, rule, *paths):
    """Tell whether a rule has nothing to say; on a busy machine anything may be slow once."""
    return any(said(shop, rule, *paths) == [] for _ in range(3))


def test_one_query_for_each_row(shop):
    (advice,) = said(shop, sql.n_plus_one, "/n-plus-one")
    line = faults.n_plus_one.__wrapped__.__code__.co_firstlineno
    assert advice.evidence.startswith("GET n-plus-one sends one query 50 times a request, ")
    assert f"at shop/faults.py:{line + 5} in n_plus_one" in advice.evidence
    assert advice.remedy == 'select_related("product") where Review is read'
    assert advice.page == "query"
    assert is_silent(shop, sql.n_plus_one, "/n-plus-one?n=3", "/products")


def test_a_result_that_grows_with_the_table(shop):
    below = shop.goods[-1].pk
    (advice,) = said(shop, sql.unbounded_result, f"/unbounded?below={below}")
    assert advice.evidence.startswith("GET unbounded fetches 1,200 rows a request without a limit, at shop/faults.py:")
    assert is_silent(shop, sql.unbounded_result, f"/unbounded?below={shop.goods[500].pk}", "/products?per_page=100")


def test_a_transaction_that_waits_for_something_else(shop):
    (advice,) = said(shop, sql.open_transaction, "/held-transaction")
    assert advice.evidence.startswith("GET held-transaction holds a transaction open for ")
    assert "in held_transaction" in advice.evidence
    assert (advice.severity, advice.page) == (HIGH, "endpoint")
    assert is_silent(shop, sql.open_transaction, "/held-transaction?ms=0")


def test_a_slow_query_on_which_the_time_goes(shop):
    (advice,) = said(shop, sql.slow_query, "/slow-sql?s=0.2", "/products")
    assert "1 calls, 2" in advice.evidence
    assert "SELECT pg_sleep(?)" in advice.evidence
    assert advice.remedy.startswith("see its plan: manage.py perfexplain ")
    assert is_silent(shop, sql.slow_query, "/slow-sql?s=0", "/products")


def test_an_endpoint_that_sends_very_many_queries(shop):
    (advice,) = said(shop, sql.chatty_endpoint, "/chatty")
    assert advice.evidence.startswith("GET chatty sends 40 queries a request, ")
    assert (advice.severity, advice.params) == (MEDIUM, {"route": "chatty", "method": "GET"})
    assert is_silent(shop, sql.chatty_endpoint, "/chatty?n=20", "/products")


def test_the_same_question_again_and_again(shop):
    Review.objects.update(product=shop.goods[0])
    recorder.drain()
    (advice,) = said(shop, sql.duplicate_query, "/n-plus-one")
    assert "asks the very same again 49 times a request" in advice.evidence
    assert is_silent(shop, sql.duplicate_query, "/products")


def test_an_index_that_is_missing_in_the_database(shop):
    assert is_silent(shop, sql.database)
    with without_index(connections["default"]):
        (advice,) = said(shop, sql.database)
        assert (advice.severity, advice.rule, advice.page) == (HIGH, "missing_index", "database")
        assert advice.evidence.startswith("default: missing index, product_images (product_id): foreign key")
        assert advice.remedy.startswith("CREATE INDEX CONCURRENTLY")
        assert 'models.Index(fields=["product"]' in advice.remedy


def test_without_any_fault_no_rule_says_anything(shop):
    pages = ["/products", "/products?cursor=", f"/products/{shop.goods[0].pk}", "/categories", "/catalogue"]
    for rule in STORED:
        assert is_silent(shop, rule, *pages)


def test_the_urgent_comes_first_and_of_those_the_dearest():
    pieces = [
        Advice("low", "a", "", "", cost_ms=9),
        Advice("high", "b", "", "", cost_ms=1),
        Advice("medium", "c", "", ""),
        Advice("high", "d", "", "", cost_ms=2),
    ]
    assert [one.rule for one in in_order(pieces)] == ["d", "b", "c", "a"]
