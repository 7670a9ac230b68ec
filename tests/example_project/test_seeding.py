"""`manage.py shop_seed`: the same number always gives the same goods."""

from __future__ import annotations

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from example_project.shop import seeding
from example_project.shop.models import Category, Product, ProductImage, Review


def seed(**options):
    out = StringIO()
    call_command("shop_seed", stdout=out, **options)
    return out.getvalue()


def contents():
    """Everything but the ids, which the database counts on."""
    products = list(Product.objects.order_by("id").values_list("name", "price", "category__name", "created_at"))
    images = list(ProductImage.objects.order_by("id").values_list("product__name", "position"))
    return (
        products,
        images,
        list(Review.objects.order_by("id").values_list("product__name", "author", "rating", "text")),
    )


def test_seeding_makes_products_with_all_that_belongs_to_them(db):
    assert seed(products=120) == "Added 120 products.\n"
    assert (Product.objects.count(), Category.objects.count()) == (120, 20)
    assert {product.images.count() for product in Product.objects.all()} == {0, 1, 2, 3}
    assert {product.reviews.count() for product in Product.objects.all()} == {0, 1, 2, 3, 4}


def test_seeding_twice_from_nothing_gives_the_same_goods(db):
    seed(products=50)
    first = contents()
    Product.objects.all().delete()
    seed(products=50)
    assert contents() == first


def test_batches_leave_no_product_out(db, monkeypatch):
    monkeypatch.setattr(seeding, "BATCH_SIZE", 7)
    assert list(seeding.seed(20)) == [7, 7, 6]
    assert [product.name.rsplit(" ")[-1] for product in Product.objects.order_by("id")] == [
        str(n) for n in range(1, 21)
    ]


def test_products_share_timestamps_and_a_higher_id_is_never_older(db):
    seed(products=35)
    times = list(Product.objects.order_by("id").values_list("created_at", flat=True))
    assert times == sorted(times)
    assert len(set(times)) == 4


def test_seeding_shows_in_lists_that_were_cached(shop, django_capture_on_commit_callbacks):
    assert shop.get("/products").json()["total"] == 0
    with django_capture_on_commit_callbacks(execute=True):
        seed(products=3)
    assert shop.get("/products").json()["total"] == 3


def test_if_empty_leaves_a_filled_shop_alone(make_product):
    make_product()
    assert seed(products=50, if_empty=True) == "The shop has products already.\n"
    assert Product.objects.count() == 1


def test_the_user_may_log_in_to_the_admin(db, client):
    assert "Made the superuser demo" in seed(products=1, user=True)
    assert client.login(username="demo", password="demo")
    assert client.get("/admin/").status_code == 200
    assert "exists already" in seed(products=1, user=True)
    assert get_user_model().objects.count() == 1


@pytest.mark.parametrize("products", [0, -1, 10**9])
def test_a_senseless_number_is_refused(products):
    with pytest.raises(CommandError, match=f"--products is {products}"):
        seed(products=products)
