"""Say which cached answers a change makes wrong, whoever makes it: the API, the admin or a shell.

`bulk_create` and `QuerySet.update` send no signals; code that uses them calls `invalidate` itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F
from django.db.models.signals import post_save

from django_perf.cache import Tag, register_entity
from example_project.shop.models import Category, Product, ProductImage

ALL_PRODUCTS = "products"
CATEGORIES = "categories"


def product_tag(product_id: int) -> str:
    """Return the tag of one product's detail."""
    return f"product:{product_id}"


def list_tag(category_id: int | None) -> str:
    """Return the tag of a category's product list; None means the list of all products."""
    return ALL_PRODUCTS if category_id is None else f"category:{category_id}"


def connect() -> None:
    """Say what each model changes; connecting twice is harmless."""
    register_entity(Product, product_tags)
    # Lists show no images.
    register_entity(ProductImage, lambda image: [Tag(product_tag(image.product_id))])
    # Everything that the shop caches shows category names.
    register_entity(Category, lambda category: [Tag(CATEGORIES)])
    post_save.connect(category_changed, Category, dispatch_uid="shop.category_changed")


def product_tags(product: Product) -> Iterator[Tag]:
    """Yield the detail of a product and the lists it is in."""
    yield Tag(product_tag(product.pk))
    yield Tag(list_tag(None))
    yield Tag(list_tag(product.category_id))


def category_changed(instance: Category, created: bool = False, **kwargs: Any) -> None:
    """Give the products of a renamed category a new version: a 304 would keep the old name alive."""
    if not created:
        Product.objects.filter(category=instance.pk).update(version=F("version") + 1)
