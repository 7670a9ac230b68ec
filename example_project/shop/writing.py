"""Change the catalogue: one transaction per request; the signals invalidate the cache after its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction

from example_project.shop.errors import ApiError
from example_project.shop.models import Product, ProductImage


@contextmanager
def one_transaction() -> Iterator[None]:
    """Commit all or nothing; a category that vanishes between its check and the commit is the client's 400."""
    try:
        # PostgreSQL checks Django's foreign keys at COMMIT, so the error comes out of the block's end.
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise ApiError(400, "Invalid fields", {"category_id": "is no category"}) from error


def create_product(fields: dict[str, Any]) -> Product:
    """Insert a product with its images."""
    images = fields.pop("images", [])
    with one_transaction():
        product = Product.objects.create(**fields)
        add_images(product, images)
    return product


def change_product(product_id: int, fields: dict[str, Any], check: Callable[[Product], None]) -> None:
    """Change the fields given; `check` sees the locked row and may raise to leave it as it is."""
    images = fields.pop("images", None)
    with one_transaction():
        product = locked_product(product_id)
        check(product)
        if not fields and images is None:
            return
        for name, value in fields.items():
            setattr(product, name, value)
        product.touch()
        product.save()
        if images is not None:
            product.images.all().delete()
            add_images(product, images)


def delete_product(product_id: int, check: Callable[[Product], None]) -> None:
    """Delete a product with its images and reviews, unless `check` raises."""
    with transaction.atomic():
        product = locked_product(product_id)
        check(product)
        product.delete()


def locked_product(product_id: int) -> Product:
    """Return the product, locked until the end of the transaction: two PATCHes must not both pass one If-Match."""
    product = Product.objects.select_for_update().filter(pk=product_id).first()
    if product is None:
        raise ApiError(404, "Product not found")
    return product


def add_images(product: Product, urls: list[str]) -> None:
    """Insert the images in their order, in one statement."""
    ProductImage.objects.bulk_create(
        ProductImage(product=product, url=url, position=position) for position, url in enumerate(urls)
    )
