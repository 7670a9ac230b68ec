"""One contract for each of the 16 faults of the textbook API that the shop grew from."""

from __future__ import annotations

import gzip
import re
import runpy
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client

import example_project
from example_project.shop import catalogue
from example_project.shop.models import Category, Product, ProductImage
from example_project.shop.pagination import Page

TIMING = re.compile(r"\d+\.\d{4}s")
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def test_every_answer_carries_the_timing_header(shop, make_product):
    """Fault 1: the middleware was written but never added to the app."""
    make_product()
    for path in ("/products", "/categories"):
        assert TIMING.fullmatch(shop.get(path).headers["X-Response-Time"])


@pytest.mark.django_db(transaction=True)
def test_the_list_answers_many_readers_at_once(make_product):
    """Fault 2: two queries at once on one connection, so the list never worked."""
    make_product()
    barrier = threading.Barrier(4)

    def read(_):
        barrier.wait(timeout=30)
        try:
            return Client(SERVER_NAME="localhost").get("/products").json()["total"]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as readers:
        assert list(readers.map(read, range(4))) == [1, 1, 1, 1]


def test_dates_and_prices_survive_the_cache_exactly(shop, make_product, django_assert_num_queries):
    """Fault 3: rows with a date could not be cached, and prices became floats."""
    product = make_product(price="9.90", created_at=MOMENT)
    cold = [shop.get(path).content for path in ("/products", f"/products/{product.pk}")]
    with django_assert_num_queries(0):
        warm = [shop.get(path).content for path in ("/products", f"/products/{product.pk}")]
    assert warm == cold
    item = shop.get(f"/products/{product.pk}").json()
    assert item["price"] == "9.90"
    assert datetime.fromisoformat(item["created_at"]) == MOMENT


def test_a_new_product_is_in_every_cached_list_at_the_next_get(shop, bikes, make_product):
    """Fault 4: DEL products:* deletes no key, so lists stayed old for 300 s."""
    make_product()
    paths = [f"/products?{filter_}per_page={size}" for filter_ in ("", "category=Bikes&") for size in range(1, 101)]
    assert {shop.get(path).json()["total"] for path in paths} == {1}
    shop.post("/products", {"name": "New", "price": "1.00", "category_id": bikes.pk})
    assert {shop.get(path).json()["total"] for path in paths} == {2}
    assert {shop.get(path).json()["items"][0]["name"] for path in paths} == {"New"}


def test_the_servers_id_wins_over_the_clients(shop, bikes):
    """Fault 5: {"id": id, **data} let the client's id override the real one."""
    answer = shop.post("/products", {"id": 999_999, "name": "New", "price": 1, "category_id": bikes.pk}).json()
    assert answer["id"] == Product.objects.get(name="New").pk != 999_999


def test_images_come_in_order_and_none_is_an_empty_list(shop, make_product):
    """Fault 6: a product without images had [null], and their order was undefined."""
    plain, pictured = make_product(), make_product()
    for url, position in (("https://x.example/b", 1), ("https://x.example/c", 2), ("https://x.example/a", 0)):
        ProductImage.objects.create(product=pictured, url=url, position=position)
    assert shop.get(f"/products/{plain.pk}").json()["images"] == []
    urls = shop.get(f"/products/{pictured.pk}").json()["images"]
    assert urls == ["https://x.example/a", "https://x.example/b", "https://x.example/c"]


def test_pages_of_equal_timestamps_show_every_product_once(shop, bikes):
    """Fault 7: ordered by time alone, ten pages of 20 held 197 different products of 200."""
    rows = (Product(name="Same", price=1, category=bikes, created_at=MOMENT) for _ in range(200))
    expected = sorted((row.pk for row in Product.objects.bulk_create(rows)), reverse=True)
    pages = [shop.get(f"/products?page={page}").json()["items"] for page in range(1, 11)]
    assert [item["id"] for items in pages for item in items] == expected


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "page=", "page=1e3", "per_page=0", "per_page=101", "per_page=" + "9" * 5000],
)
def test_a_page_outside_the_limits_is_a_400(shop, query):
    """Fault 8: page=0 was a database error, per_page=0 a division by zero, per_page without limit."""
    answer = shop.get(f"/products?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [query.partition("=")[0]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", -5),
        ("price", "9.999"),
        ("price", "NaN"),
        ("price", True),
        ("price", 100_000_000),
        ("price", 10**4000),
        ("category_id", 10**9),
        ("category_id", 10**30),
        ("category_id", "1"),
        ("category_id", True),
        ("name", 123),
        ("name", "   "),
        ("name", "x" * 201),
        ("name", "a\0b"),
        ("name", "\ud800"),
        ("description", None),
        ("images", "http://x.example"),
        ("images", ["javascript:alert(1)"]),
        ("images", [None]),
        ("images", ["http://["]),
        ("images", ["http://x.example/"] * 51),
    ],
)
def test_a_wrong_value_is_a_400_that_names_the_field(shop, bikes, field, value):
    """Fault 9: presence was all that was checked; the rest was stored, or a 500."""
    answer = shop.post("/products", {"name": "New", "price": "1.00", "category_id": bikes.pk} | {field: value})
    assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])
    assert not Product.objects.exists()


@pytest.mark.parametrize("name", ["None", "*", "Bikes:1", "Bikes%3A1"])
def test_no_category_name_shares_a_key_with_another_list(shop, make_product, name):
    """Fault 10: the category "None" shared its key with no category."""
    make_product()
    make_product(name="Odd", category=Category.objects.create(name=name, slug="odd"))
    assert shop.get("/products").json()["total"] == 2
    answer = shop.get(f"/products?category={quote(name)}").json()
    assert [item["name"] for item in answer["items"]] == ["Odd"]


def test_an_unknown_product_costs_one_query_and_then_none(shop, django_assert_num_queries):
    """Fault 11, first part: a 404 was never cached, so each one cost a query."""
    with django_assert_num_queries(1):
        assert shop.get("/products/123456").status_code == 404
    with django_assert_num_queries(0):
        assert shop.get("/products/123456").status_code == 404


def test_a_reader_overtaken_by_a_write_leaves_no_old_list_behind(shop, bikes, make_product, monkeypatch):
    """Fault 11, second part: a reader that computed before the commit stored the old list after the delete."""
    make_product()
    count = catalogue.product_count.function

    def overtaken(key, shelf):
        old = count(key, shelf)
        shop.post("/products", {"name": "New", "price": 1, "category_id": bikes.pk})
        return old

    monkeypatch.setattr(catalogue.product_count, "function", overtaken)
    assert shop.get("/products").json()["total"] == 1
    monkeypatch.undo()
    assert shop.get("/products").json()["total"] == 2


def test_a_compressed_answer_says_its_length_and_what_it_varies_on(shop, bikes, client):
    """Fault 12: the length was that of the body before compression, and Vary was overwritten."""
    Product.objects.bulk_create(Product(name="Same", price=1, category=bikes) for _ in range(20))
    plain = shop.get("/products", Accept_Encoding="gzip;q=0")
    packed = shop.get("/products", Accept_Encoding="gzip")
    assert plain.headers["Content-Length"] == str(len(plain.content))
    assert packed.headers["Content-Length"] == str(len(packed.content)) != plain.headers["Content-Length"]
    assert gzip.decompress(packed.content) == plain.content
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    login = client.get("/admin/login/", headers={"Accept-Encoding": "gzip"}, SERVER_NAME="localhost")
    assert {"Cookie", "Accept-Encoding"} <= {name.strip() for name in login.headers["Vary"].split(",")}


def test_the_cursor_reads_on_without_counting_or_skipping(shop, bikes, django_assert_num_queries):
    """Fault 13: each page view counted all rows, and deep pages read all rows before them."""
    rows = Product.objects.bulk_create(Product(name="Same", price=1, category=bikes) for _ in range(25))
    seen, cursor = [], ""
    while cursor is not None:
        with django_assert_num_queries(1) as queries:
            answer = shop.get(f"/products?per_page=10&cursor={cursor}").json()
        assert not re.search("COUNT|OFFSET", queries.captured_queries[0]["sql"])
        seen += [item["id"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert sorted(seen) == sorted(row.pk for row in rows)
    assert seen == list(Product.objects.order_by("-created_at", "-id").values_list("pk", flat=True))


def test_the_next_page_is_not_counted_again(shop, bikes, django_assert_num_queries):
    """Fault 13, the other half: the count of a numbered list is kept until a product changes."""
    Product.objects.bulk_create(Product(name="Same", price=1, category=bikes) for _ in range(25))
    shop.get("/products?per_page=10")
    with django_assert_num_queries(1) as queries:
        assert shop.get("/products?per_page=10&page=2").json()["total"] == 25
    assert "COUNT" not in queries.captured_queries[0]["sql"]


def test_the_category_filter_is_the_indexed_column(bikes, django_assert_num_queries):
    """Fault 14: `(x IS NULL OR c.name = x)` hid the index of the category."""
    catalogue.categories()
    Product.objects.create(name="Red bike", price=1, category=bikes)
    with django_assert_num_queries(2) as queries:
        catalogue.product_page("Bikes", Page(1, 20))
    for query in queries.captured_queries:
        condition = query["sql"].partition(" WHERE ")[2]
        assert condition.startswith(f'"products"."category_id" = {bikes.pk}')
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {queries.captured_queries[1]['sql']}")
        assert "products_category_newest" in str(cursor.fetchall())


@pytest.mark.parametrize(
    ("table", "columns", "orders"),
    [
        ("products", ["created_at", "id"], ["DESC", "DESC"]),
        ("products", ["category_id", "created_at", "id"], ["ASC", "DESC", "DESC"]),
        ("product_images", ["product_id", "position", "id"], ["ASC", "ASC", "ASC"]),
    ],
)
def test_the_indexes_behind_list_and_detail_exist(db, table, columns, orders):
    """Fault 15: without indexes page 1 took 135 ms instead of 1 and a detail 64 ms instead of 2.5."""
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table).values()
    found = [(entry["columns"], entry["orders"]) for entry in constraints if entry["index"] and not entry["unique"]]
    assert (columns, orders) in found


@pytest.mark.usefixtures("_all_faults")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/products?page=0", 400),
        ("GET", "/products/1", 404),
        ("GET", "/no/such/path", 404),
        ("PUT", "/products", 405),
        ("GET", "/error", 500),
    ],
)
def test_errors_carry_the_timing_header_too(shop, method, path, status):
    """Fault 16: the header was missing on errors, and it left out the compression."""
    answer = shop.send(method, path)
    assert answer.status_code == status
    assert TIMING.fullmatch(answer.headers["X-Response-Time"])
    assert settings.MIDDLEWARE[0] == "django_perf.middleware.TimingMiddleware"


def test_gunicorn_gets_an_import_string_and_starts_four_workers_of_four_threads():
    """Fault 16, last part: workers=4 with an app object started no workers."""
    config = runpy.run_path(str(Path(example_project.__file__).with_name("gunicorn.conf.py")))
    assert config["wsgi_app"] == "example_project.wsgi:application"
    assert (config["worker_class"], config["workers"], config["threads"]) == ("gthread", 4, 4)
    assert config["control_socket_disable"]


def test_a_cache_that_does_not_answer_changes_no_answer(shop, make_product, monkeypatch):
    """Fault 11, last part: an outage of the cache must neither fail a request nor look like an unknown product."""
    product = make_product()
    for method, nothing in (("get", None), ("get_many", {}), ("add", False), ("set", None)):
        monkeypatch.setattr(cache, method, lambda *_args, _nothing=nothing, **_options: _nothing)
    assert shop.get(f"/products/{product.pk}").status_code == 200
    assert shop.get("/products").json()["total"] == 1
