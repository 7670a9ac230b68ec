"""Say which cached answers a change makes wrong, whoever makes it: the API, the admin or a shell.

`bulk_create` and `QuerySet.update` send no signals; code that uses them calls `invalidate_on_commit` itself.
"""

from __future__ import annotations

from typing import Any

from django.db.models import F
from django.db.models.signals import post_delete, post_save

from example_project.shop.caching import invalidate_on_commit
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
    """Connect the signals; connecting twice is harmless."""
    for signal in (post_save, post_delete):
        signal.connect(product_changed, Product, dispatch_uid="shop.product_changed")
        signal.connect(image_changed, ProductImage, dispatch_uid="shop.image_changed")
        signal.connect(category_changed, Category, dispatch_uid="shop.category_changed")


def product_changed(instance: Product, **kwargs: Any) -> None:
    """Forget the product and the lists it is or was in."""
    lists = {list_tag(category) for category in (None, instance.category_id, instance.stored_category_id)}
    invalidate_on_commit({product_tag(instance.pk), *lists})
    instance.stored_category_id = instance.category_id


def image_changed(instance: ProductImage, **kwargs: Any) -> None:
    """Forget the product's detail; lists show no images."""
    invalidate_on_commit([product_tag(instance.product_id)])


def category_changed(instance: Category, created: bool = False, **kwargs: Any) -> None:
    """Forget everything that shows category names, which is all the shop caches."""
    if not created:
        # The detail shows the name, so a new name is a new version: a 304 would keep the old one alive.
        Product.objects.filter(category=instance.pk).update(version=F("version") + 1)
    invalidate_on_commit([CATEGORIES])
