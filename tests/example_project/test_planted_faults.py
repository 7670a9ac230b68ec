"""The planted faults: off unless named, bounded in what they take, and as bad as they claim."""

from __future__ import annotations

import time

import pytest
from django.core.cache import cache

from example_project.shop import checks, faults
from example_project.shop.models import Review

pytestmark = pytest.mark.usefixtures("_no_leak")
NAMES = [
    *("slow", "slow-sql", "n-plus-one", "chatty", "unbounded", "held-transaction"),
    *("leak", "error", "big", "cold-burst"),
    *("held-connection", "uncompressed", "cold-keys", "tiny-memory"),
]


@pytest.fixture
def _no_leak():
    yield
    faults.leaked.clear()


@pytest.fixture
def naps(monkeypatch):
    taken = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


def test_all_faults_have_a_test():
    assert list(faults.FAULTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_a_404_unless_it_is_named(shop, settings, name, naps):
    settings.SHOP_FAULTS = frozenset(NAMES) - {name}
    assert shop.get(f"/{name}?ms=0&s=0&kb=0&n=0&below=0").status_code == 404
    for names in ({name}, {"all"}):
        settings.SHOP_FAULTS = frozenset(names)
        assert shop.get(f"/{name}?ms=0&s=0&kb=0&n=0&below=0").status_code == (500 if name == "error" else 200)


@pytest.mark.usefixtures("_all_faults")
@pytest.mark.parametrize(
    "path", ["slow?ms=10001", "slow?ms=-1", "slow?ms=nan", "slow?ms=x", "slow-sql?s=61", "n-plus-one?n=501",
             "big?kb=10241", "cold-burst?ms=inf"],
)  # fmt: skip
def test_an_argument_outside_its_limits_is_a_400(shop, path, naps):
    answer = shop.get(f"/{path}")
    assert answer.status_code == 400
    assert "must be a number from 0 to" in answer.json()["error"]
    assert naps == []


@pytest.mark.usefixtures("_all_faults")
def test_slow_sleeps_as_long_as_asked(shop, naps):
    assert shop.get("/slow?ms=900").json() == {"slept_ms": 900}
    assert naps == [0.9]


@pytest.mark.usefixtures("_all_faults")
def test_slow_sql_sleeps_in_the_database(shop, django_assert_num_queries):
    with django_assert_num_queries(1) as queries:
        assert shop.get("/slow-sql?s=0.01").json() == {"slept_s": 0.01}
    assert "pg_sleep" in queries.captured_queries[0]["sql"]


@pytest.mark.usefixtures("_all_faults")
def test_n_plus_one_asks_51_times_for_50_reviews(shop, make_product, django_assert_num_queries):
    product = make_product()
    Review.objects.bulk_create(Review(product=product, author="Ada", rating=5) for _ in range(60))
    with django_assert_num_queries(51):
        assert len(shop.get("/n-plus-one").json()["items"]) == 50


@pytest.mark.usefixtures("_all_faults")
def test_chatty_sends_forty_different_queries(shop, make_product, django_assert_num_queries):
    make_product()
    with django_assert_num_queries(40) as queries:
        assert shop.get("/chatty").json() == {"queries": 40}
    assert len({query["sql"] for query in queries.captured_queries}) == 40


@pytest.mark.usefixtures("_all_faults")
def test_unbounded_fetches_all_of_them(shop, make_product, django_assert_num_queries):
    products = [make_product() for _ in range(3)]
    with django_assert_num_queries(1):
        assert shop.get(f"/unbounded?below={products[1].pk}").json() == {"products": 2}


@pytest.mark.usefixtures("_all_faults")
def test_the_held_transaction_waits_inside(shop, naps, django_assert_num_queries):
    with django_assert_num_queries(3) as queries:
        assert shop.get("/held-transaction").json() == {"held_ms": 150}
    assert "SAVEPOINT" in queries.captured_queries[0]["sql"]
    assert naps == [0.15]


@pytest.mark.usefixtures("_all_faults")
def test_the_leak_keeps_a_megabyte_per_call_up_to_its_limit(shop):
    assert [shop.get("/leak").json()["leaked_mb"] for _ in range(3)] == [1, 2, 3]
    assert {len(kept) for kept in faults.leaked} == {2**20}
    assert faults.leaked.maxlen == faults.MAX_LEAKED_MB


@pytest.mark.usefixtures("_all_faults")
def test_error_is_a_json_500_that_tells_nothing(shop):
    answer = shop.get("/error")
    assert (answer.status_code, answer.json()) == (500, {"error": "Internal server error"})


@pytest.mark.usefixtures("_all_faults")
def test_big_sends_the_size_asked_for(shop):
    assert len(shop.get("/big?kb=100").content) == pytest.approx(100 * 1024, rel=0.01)


@pytest.mark.usefixtures("_all_faults")
def test_a_cold_burst_computes_when_cold_and_not_when_warm(shop, naps):
    assert [shop.get("/cold-burst").json()["computed"] for _ in range(2)] == [True, False]
    assert naps == [0.2]


@pytest.mark.usefixtures("_all_faults")
def test_the_held_connection_asks_first_and_waits_then(shop, naps, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert shop.get("/held-connection").json() == {"held_ms": 100}
    assert naps == [0.1]


@pytest.mark.usefixtures("_all_faults")
def test_what_is_uncompressed_may_not_be_compressed(shop):
    answer = shop.get("/uncompressed?kb=100", accept_encoding="gzip, zstd, br")
    assert "Content-Encoding" not in answer.headers
    assert len(answer.content) == pytest.approx(100 * 1024, rel=0.01)


@pytest.mark.usefixtures("_all_faults")
def test_cold_keys_never_come_again(shop):
    cache.levels.tally.take()
    assert [shop.get("/cold-keys?n=30").json()["cached"] for _ in range(2)] == [30, 30]
    visits = cache.levels.tally.take().patterns["visit:*"]
    assert (visits.miss, visits.set, visits.l1 + visits.l2) == (60, 60, 0)


@pytest.mark.usefixtures("_all_faults")
def test_a_tiny_memory_never_has_all_of_its_values(shop):
    for _ in range(5):
        shop.get("/tiny-memory?n=500")
    assert 100 < shop.get("/tiny-memory?n=500").json()["missed"] < 300


@pytest.mark.parametrize(("name", "advice"), [("n-plus-on", "'n-plus-one'"), ("zzz", "Choose from: all, big")])
def test_a_misspelt_fault_is_a_system_check(settings, name, advice):
    settings.SHOP_FAULTS = frozenset({name, "slow"})
    [error] = checks.check_faults()
    assert (error.id, repr(name) in error.msg, advice in error.hint) == ("shop.E001", True, True)


def test_every_fault_and_all_pass_the_check(settings):
    settings.SHOP_FAULTS = frozenset({"all", *NAMES})
    assert checks.check_faults() == []
