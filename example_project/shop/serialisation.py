"""Turn rows into the plain values that go into JSON and into the cache."""

from __future__ import annotations

from example_project.shop.models import Category, Product, Review


def category_item(category: Category) -> dict:
    """Return a category as the API shows it."""
    return {"id": category.pk, "name": category.name, "slug": category.slug}


def product_item(product: Product) -> dict:
    """Return a product as a list shows it; its category has to be loaded already."""
    return {
        "id": product.pk,
        "name": product.name,
        "description": product.description,
        "price": f"{product.price:.2f}",
        "category_id": product.category_id,
        "category_name": product.category.name,
        "created_at": product.created_at.isoformat(),
        "updated_at": product.updated_at.isoformat(),
        "version": product.version,
    }


def product_detail(product: Product) -> dict:
    """Return a product with the addresses of its images, in order."""
    return product_item(product) | {"images": [image.url for image in product.images.all()]}


def review_item(review: Review) -> dict:
    """Return a review as the API shows it."""
    return {"id": review.pk, "author": review.author, "rating": review.rating, "text": review.text}
