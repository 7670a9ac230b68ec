"""A shop with goods in it, none of whose faults is planted."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test import Client

from django_perf.cache import MultiLevelCache, assembly
from django_perf.metrics.recorder import recorder
from example_project.shop import faults
from example_project.shop.models import Category, Product, ProductImage, Review

from .shop import Shop


@pytest.fixture
def goods(settings, transactional_db):
    """1,200 products of one category, with an image each, and 60 reviews."""
    settings.ROOT_URLCONF = "example_project.urls"
    category = Category.objects.create(name="all", slug="all")
    products = Product.objects.bulk_create(Product(name=f"p{n}", price=1, category=category) for n in range(1_200))
    ProductImage.objects.bulk_create(ProductImage(product=product, url="http://x.org/") for product in products)
    Review.objects.bulk_create(Review(product=product, author="a", rating=5) for product in products[:60])
    # The first request imports the shop, beside which no query takes a share of the time.
    assert Client(SERVER_NAME="localhost").get("/products").status_code == 200
    return products


@pytest.fixture
def shop(goods, settings, monkeypatch):
    """The shop; `plant` switches faults on and all others off."""
    # Not those of other tests' caches and pools, which may be as ill as they like.
    monkeypatch.setattr(recorder, "_gauges", {})
    own = [cache.levels, MultiLevelCache("", faults.TINY_MEMORY).levels]
    monkeypatch.setattr(assembly, "_built", {name: one for name, one in assembly._built.items() if one in own})
    settings.SHOP_FAULTS = frozenset()

    def plant(*names):
        settings.SHOP_FAULTS = frozenset(names)

    return Shop(goods, plant, own)
