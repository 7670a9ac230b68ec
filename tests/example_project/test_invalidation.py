"""A committed change is visible at the next read, whoever made it; a rollback changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache
from django.db import connection, transaction

from django_perf.cache.computing import Policy
from example_project.shop import catalogue
from example_project.shop.models import Category, ProductImage


def epochs(*tags):
    return cache.levels.computing.epochs(tags)


def entry(key):
    return cache.levels.read(cache.physical(key))


def total(shop, category):
    return shop.get(f"/products?category={category}").json()["total"]


def test_a_product_that_moves_changes_both_categories(shop, make_product, bikes, lamps):
    path = f"/products/{make_product().pk}"
    assert (total(shop, "Bikes"), total(shop, "Lamps")) == (1, 0)
    assert shop.patch(path, {"category_id": lamps.pk}).json()["category_name"] == "Lamps"
    assert (total(shop, "Bikes"), total(shop, "Lamps")) == (0, 1)


def test_a_product_that_moves_back_and_forth_in_one_instance_changes_both_each_time(
    shop, make_product, bikes, lamps, django_capture_on_commit_callbacks
):
    product = make_product()
    for category, counts in ((lamps, (0, 1)), (bikes, (1, 0))):
        assert (total(shop, "Bikes"), total(shop, "Lamps")) == counts[::-1]
        product.category = category
        with django_capture_on_commit_callbacks(execute=True):
            product.save()
        assert (total(shop, "Bikes"), total(shop, "Lamps")) == counts


def test_a_change_in_one_category_leaves_the_others_cached(shop, make_product, lamps, django_assert_num_queries):
    product = make_product()
    make_product(name="Desk lamp", category=lamps)
    total(shop, "Lamps")
    shop.patch(f"/products/{product.pk}", {"price": "2.00"})
    with django_assert_num_queries(0):
        assert total(shop, "Lamps") == 1


def test_a_renamed_category_is_renamed_everywhere(shop, make_product, bikes, django_capture_on_commit_callbacks):
    path = f"/products/{make_product().pk}"
    etag = shop.get(path).headers["ETag"]
    shop.get("/products")
    bikes.name = "Bicycles"
    with django_capture_on_commit_callbacks(execute=True):
        bikes.save()
    assert shop.get("/categories").json()["items"][0]["name"] == "Bicycles"
    assert shop.get("/products").json()["items"][0]["category_name"] == "Bicycles"
    answer = shop.get(path, If_None_Match=etag)
    assert (answer.status_code, answer.json()["category_name"]) == (200, "Bicycles")


def test_an_image_added_elsewhere_is_in_the_detail(shop, make_product, django_capture_on_commit_callbacks):
    product = make_product()
    assert shop.get(f"/products/{product.pk}").json()["images"] == []
    with django_capture_on_commit_callbacks(execute=True):
        ProductImage.objects.create(product=product, url="https://x.example/1")
    assert shop.get(f"/products/{product.pk}").json()["images"] == ["https://x.example/1"]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_invalidates_nothing(make_product):
    product = make_product()
    before = epochs("products", f"product:{product.pk}")
    with transaction.atomic():
        product.save()
        transaction.set_rollback(True)
    assert epochs("products", f"product:{product.pk}") == before


@pytest.mark.django_db(transaction=True)
def test_nothing_is_invalidated_before_the_commit(make_product):
    product = make_product()
    before = epochs("products")
    with transaction.atomic():
        product.save()
        assert epochs("products") == before
    assert epochs("products") != before


@pytest.mark.django_db(transaction=True)
def test_a_writer_reads_its_own_change_before_the_commit_and_nobody_else_does(make_product):
    product = make_product()
    assert catalogue.product_detail(product.pk)["name"] == "Red bike"
    with transaction.atomic():
        product.name = "Blue bike"
        product.save()
        assert catalogue.product_detail(product.pk)["name"] == "Blue bike"
        with ThreadPoolExecutor() as another:
            assert another.submit(_name_elsewhere, product.pk).result() == "Red bike"
    assert catalogue.product_detail(product.pk)["name"] == "Blue bike"


def _name_elsewhere(product_id):
    try:
        return catalogue.product_detail(product_id)["name"]
    finally:
        connection.close()


def test_a_lost_epoch_never_brings_an_old_value_back(shop, make_product, django_assert_num_queries):
    path = f"/products/{make_product().pk}"
    shop.get(path)
    with django_assert_num_queries(0):
        shop.get(path)
    cache.levels.delete_many([cache.levels.keys.tag("categories")])
    with django_assert_num_queries(2):
        shop.get(path)


def test_the_keys_say_what_they_hold(shop, make_product, committed):
    product = make_product()
    star = committed(lambda: Category.objects.create(name="*", slug="star"))
    make_product(name="Odd", category=star)
    for path in ("/products?per_page=5", "/products?category=*&page=1", f"/products/{product.pk}"):
        shop.get(path)
    lists = ["products:*:count", "products:*:1:5", "categories", "products:%2A:count", "products:%2A:1:20"]
    assert all(entry(key) for key in [*lists, f"product:{product.pk}"])


def test_an_id_that_no_column_can_hold_is_not_remembered(shop):
    for product_id in (2**63, "9" * 300):
        assert shop.get(f"/products/{product_id}").json() == {"error": "Product not found"}
        assert entry(f"product:{product_id}") is None


def test_a_ttl_is_spread_and_never_longer_than_asked_for():
    ttls = {Policy(300).ttl_of("value") for _ in range(100)}
    assert all(270 <= ttl <= 300 for ttl in ttls)
    assert len(ttls) > 50


def test_an_unknown_product_is_remembered_for_the_negative_ttl(db, make_product):
    with pytest.raises(Exception, match="Product not found"):
        catalogue.product_detail(123456)
    assert 26 < entry("product:123456").fresh_for <= 30
    product = make_product()
    catalogue.product_detail(product.pk)
    assert 265 < entry(f"product:{product.pk}").fresh_for <= 300


def test_an_edit_in_the_admin_is_a_new_version(shop, make_product, admin_client, django_capture_on_commit_callbacks):
    product = make_product()
    path = f"/products/{product.pk}"
    assert shop.get(path).json()["version"] == 1
    form = {"name": "Blue bike", "description": "", "price": "9.90", "category": product.category_id}
    formset = {"images-TOTAL_FORMS": 1, "images-INITIAL_FORMS": 0, "images-0-position": 0}
    image = {"images-0-url": "https://x.example/1"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(f"/admin/shop/product/{product.pk}/change/", form | formset | image)
    assert answer.status_code == 302
    detail = shop.get(path).json()
    assert (detail["name"], detail["version"], detail["images"]) == ("Blue bike", 2, ["https://x.example/1"])


@pytest.mark.parametrize("model", ["category", "product", "review"])
def test_the_admin_lists_and_opens_each_model(admin_client, make_product, model):
    product = make_product()
    product.reviews.create(author="Ada", rating=5)
    row = product.category if model == "category" else product if model == "product" else product.reviews.get()
    for path in ("", "?q=bike", f"{row.pk}/change/"):
        assert admin_client.get(f"/admin/shop/{model}/{path}").status_code == 200


def test_names_are_what_the_admin_shows(make_product, bikes):
    product = make_product()
    image = ProductImage(product=product, url="https://x.example/1")
    review = product.reviews.create(author="Ada", rating=5)
    assert [str(row) for row in (bikes, product, image, review)] == ["Bikes", "Red bike", image.url, "Ada: 5/5"]
