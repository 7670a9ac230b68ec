"""The shop's API: statuses, shapes and headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from example_project.shop import validation, writing
from example_project.shop.errors import ApiError
from example_project.shop.models import Product, ProductImage, Review
from example_project.shop.pagination import Cursor

ITEM = {
    "id", "name", "description", "price", "category_id", "category_name", "created_at", "updated_at", "version",
}  # fmt: skip


def test_the_list_has_the_textbook_shape(shop, make_product):
    make_product()
    answer = shop.get("/products?per_page=5")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    page = answer.json()
    [item] = page.pop("items")
    assert page == {"total": 1, "page": 1, "per_page": 5, "pages": 1}
    assert set(item) == ITEM
    assert item["category_name"] == "Bikes"


def test_the_list_is_newest_first_in_pages_of_20(shop, make_product):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for day in range(21):
        make_product(name=f"day {day}", created_at=start + timedelta(days=day))
    page = shop.get("/products").json()
    assert [item["name"] for item in page["items"]] == [f"day {day}" for day in range(20, 0, -1)]
    assert (page["total"], page["per_page"], page["pages"]) == (21, 20, 2)


def test_the_category_filter_is_the_exact_name(shop, make_product, lamps):
    make_product()
    make_product(name="Desk lamp", category=lamps)
    assert [item["name"] for item in shop.get("/products?category=Lamps").json()["items"]] == ["Desk lamp"]
    for unknown in ("lamps", "Lamp", "%00", "x" * 3000):
        page = shop.get(f"/products?category={unknown}").json()
        assert (page["items"], page["total"], page["pages"]) == ([], 0, 0)


def test_a_page_after_the_last_costs_nothing(shop, make_product, django_assert_num_queries):
    make_product()
    shop.get("/products")
    with django_assert_num_queries(0):
        page = shop.get("/products?page=999999999").json()
    assert (page["items"], page["total"]) == ([], 1)


def test_the_cursor_list_has_its_own_shape(shop, make_product):
    newest = max(make_product().pk for _ in range(2))
    page = shop.get("/products?cursor=&per_page=1").json()
    assert set(page) == {"items", "per_page", "next_cursor"}
    assert page["items"][0]["id"] == newest
    last = shop.get(f"/products?per_page=1&cursor={page['next_cursor']}").json()
    assert (len(last["items"]), last["next_cursor"]) == (1, None)


def test_the_cursor_stays_in_its_category(shop, make_product, lamps):
    make_product()
    make_product(name="Desk lamp", category=lamps)
    assert [item["name"] for item in shop.get("/products?cursor=&category=Lamps").json()["items"]] == ["Desk lamp"]
    assert shop.get("/products?cursor=&category=Unknown").json()["items"] == []


def test_the_cursor_follows_the_time_also_where_ids_run_against_it(shop, make_product):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    expected = [make_product(created_at=start - timedelta(days=day)).pk for day in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = shop.get(f"/products?per_page=1&cursor={cursor}").json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == expected


def test_a_cursor_survives_the_round_trip():
    cursor = Cursor(datetime(2026, 11, 20, 10, 11, 12, 345678, tzinfo=UTC), 42)
    assert Cursor.decode(cursor.encode()) == cursor


@pytest.mark.parametrize(
    "token", ["x", "%C3%A9", "MQ", "MS4w", "MS4tMQ", "MS54", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkuMQ", "A" * 9999]
)
def test_a_forged_cursor_is_a_400(shop, token):
    assert shop.get(f"/products?cursor={token}").json()["fields"] == {"cursor": "is not a cursor of this list"}


def test_page_and_cursor_exclude_each_other(shop):
    assert shop.get("/products?cursor=&page=2").status_code == 400


def test_the_detail_is_the_item_with_images_and_an_etag(shop, make_product):
    product = make_product()
    answer = shop.get(f"/products/{product.pk}")
    assert set(answer.json()) == ITEM | {"images"}
    assert answer.headers["ETag"] == f'"{product.pk}-1"'


@pytest.mark.parametrize("product_id", ["0", "1", "9" * 18, "9" * 40])
def test_an_unknown_product_is_a_404(shop, product_id):
    answer = shop.get(f"/products/{product_id}")
    assert (answer.status_code, answer.json()) == (404, {"error": "Product not found"})


def test_a_product_made_after_its_404_is_found(shop, bikes):
    assert shop.get("/products/1234").status_code == 404
    with_id = Product(pk=1234, name="New", price=1, category=bikes)
    with shop._capture_commits(execute=True):
        with_id.save()
    assert shop.get("/products/1234").json()["name"] == "New"


def test_post_answers_201_with_location_and_the_product(shop, bikes):
    images = ["https://x.example/1", "http://x.example/2"]
    answer = shop.post("/products", {"name": " New ", "price": 9.9, "category_id": bikes.pk, "images": images})
    assert answer.status_code == 201
    assert shop.get(answer.headers["Location"]).json() == answer.json()
    assert (answer.json()["name"], answer.json()["price"], answer.json()["images"]) == ("New", "9.90", images)
    assert list(ProductImage.objects.order_by("position").values_list("url", "position")) == [
        (images[0], 0),
        (images[1], 1),
    ]
    assert answer.headers["ETag"] == f'"{answer.json()["id"]}-1"'


def test_post_names_the_fields_that_are_missing(shop):
    answer = shop.post("/products", {"name": "New"})
    assert answer.status_code == 400
    missing = {"price": "is required", "category_id": "is required"}
    assert answer.json() == {"error": "Missing required fields", "fields": missing}


@pytest.mark.parametrize(
    "body", ["", "{", "NaN", b"\xff", "[" * 100_000, '{"price": 1e-99999999999999999999}', "[]", "1"]
)
def test_a_body_that_is_no_json_object_is_a_400(shop, body):
    assert shop.post("/products", body).status_code == 400


def test_a_body_above_the_limit_is_a_413(shop, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    answer = shop.post("/products", {"name": "longer than ten bytes"})
    assert (answer.status_code, answer.json()) == (413, {"error": "Request body too large"})


@pytest.mark.django_db(transaction=True)
def test_a_category_that_vanishes_before_the_commit_is_a_400(bikes):
    with pytest.raises(ApiError) as raised:
        writing.create_product({"name": "New", "price": Decimal(1), "category_id": bikes.pk + 1})
    assert (raised.value.status, raised.value.fields) == (400, {"category_id": "is no category"})
    assert not Product.objects.exists()


def test_patch_changes_the_fields_given_and_no_other(shop, make_product):
    product = make_product()
    answer = shop.patch(f"/products/{product.pk}", {"price": "12.00", "id": 7, "version": 7})
    assert answer.status_code == 200
    assert (answer.json()["price"], answer.json()["name"], answer.json()["version"]) == ("12.00", "Red bike", 2)
    assert answer.json()["id"] == product.pk
    assert answer.json()["updated_at"] > answer.json()["created_at"]
    assert shop.get(f"/products/{product.pk}").json() == answer.json()


def test_a_patch_of_nothing_is_no_new_version(shop, make_product):
    product = make_product()
    assert shop.patch(f"/products/{product.pk}", {}).json()["version"] == 1


def test_patch_replaces_the_images(shop, bikes):
    body = {"name": "New", "price": 1, "category_id": bikes.pk, "images": ["https://x.example/old"]}
    path = shop.post("/products", body).headers["Location"]
    assert shop.patch(path, {"images": ["https://x.example/new"]}).json()["images"] == ["https://x.example/new"]
    assert shop.patch(path, {"images": []}).json()["images"] == []


def test_patch_refuses_what_post_refuses(shop, make_product):
    path = f"/products/{make_product().pk}"
    answer = shop.patch(path, {"price": -1})
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid fields")
    assert shop.get(path).json()["version"] == 1


def test_delete_answers_204_and_the_product_is_gone(shop, make_product):
    path = f"/products/{make_product().pk}"
    assert shop.get(path).status_code == 200
    answer = shop.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert shop.get(path).status_code == 404
    assert shop.get("/products").json()["total"] == 0


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_changing_an_unknown_product_is_a_404(shop, method):
    answer = shop.send(method, "/products/12345", {})
    assert (answer.status_code, answer.json()) == (404, {"error": "Product not found"})


def test_a_get_with_the_known_etag_is_a_304_without_body(shop, make_product):
    path = f"/products/{make_product().pk}"
    etag = shop.get(path).headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = shop.get(path, If_None_Match=known)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    shop.patch(path, {"price": "2.00"})
    changed = shop.get(path, If_None_Match=etag)
    assert (changed.status_code, changed.headers["ETag"] != etag) == (200, True)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_if_match_with_an_old_etag_is_a_412_and_changes_nothing(shop, make_product, method):
    path = f"/products/{make_product().pk}"
    old = shop.get(path).headers["ETag"]
    shop.patch(path, {"price": "2.00"})
    for wrong in (old, "nonsense"):
        answer = shop.send(method, path, {"price": "3.00"}, If_Match=wrong)
        assert (answer.status_code, answer.json()) == (412, {"error": "Precondition failed"})
    assert shop.get(path).json()["price"] == "2.00"


def test_if_match_with_the_present_etag_passes_also_when_compression_made_it_weak(shop, make_product):
    path = f"/products/{make_product().pk}"
    for price in ("2.00", "3.00", "4.00"):
        etag = shop.get(path).headers["ETag"]
        match = {"2.00": etag, "3.00": f"W/{etag}", "4.00": "*"}[price]
        assert shop.patch(path, {"price": price}, If_Match=match).json()["price"] == price


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_the_row_is_locked_before_if_match_is_compared(shop, make_product, method, django_assert_max_num_queries):
    path = f"/products/{make_product().pk}"
    with django_assert_max_num_queries(20) as queries:
        shop.send(method, path, {"price": "2.00"})
    first = next(query["sql"] for query in queries.captured_queries if '"products"' in query["sql"])
    assert first.endswith("FOR UPDATE")


@pytest.mark.parametrize(
    ("price", "stored"),
    [("-0", "0.00"), (0, "0.00"), ("7", "7.00"), (0.1, "0.10"), (1e3, "1000.00"), ("99999999.99",) * 2],
)
def test_a_price_is_kept_to_the_cent_as_written(shop, bikes, price, stored):
    answer = shop.post("/products", {"name": "New", "price": price, "category_id": bikes.pk})
    assert answer.json()["price"] == stored
    assert shop.get(answer.headers["Location"]).json()["price"] == stored
    assert str(validation.clean_price(Decimal(str(price)))) == stored


def test_head_is_get_without_the_body(shop, make_product):
    path = f"/products/{make_product().pk}"
    head, get = shop.send("HEAD", path), shop.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/products", {"GET", "POST"}), ("/products/1", {"GET", "PATCH", "DELETE"}), ("/categories", {"GET"})],
)
def test_another_method_is_a_405_that_names_the_allowed_ones(shop, path, allowed):
    answer = shop.send("PUT", path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed | {"HEAD", "OPTIONS"}


def test_categories_come_by_name(shop, lamps, bikes):
    items = shop.get("/categories").json()["items"]
    assert items == [{"id": row.pk, "name": row.name, "slug": row.slug} for row in (bikes, lamps)]


def test_reviews_come_newest_first_in_pages(shop, make_product):
    product, other = make_product(), make_product()
    for author in ("Ada", "Grace", "Ken"):
        Review.objects.create(product=product, author=author, rating=5)
    page = shop.get(f"/products/{product.pk}/reviews?per_page=2").json()
    assert [item["author"] for item in page["items"]] == ["Ken", "Grace"]
    assert set(page["items"][0]) == {"id", "author", "rating", "text"}
    assert (page["total"], page["pages"]) == (3, 2)
    assert shop.get(f"/products/{other.pk}/reviews").json()["items"] == []


def test_reviews_of_an_unknown_product_are_a_404(shop):
    assert shop.get("/products/1/reviews").json() == {"error": "Product not found"}


def test_an_unknown_path_is_a_json_404(shop):
    answer = shop.get("/no/such/path")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not found"})
