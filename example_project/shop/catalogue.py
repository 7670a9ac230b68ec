"""Read the catalogue: every question the API asks, through the cache where the same question comes back.

Keys: `products:{category|*}:{page}:{per_page}` and `products:{category|*}:count` for lists, `product:{id}` for a
detail, `categories` for the names. A category stands in its key percent-encoded, so that none can be taken for `*`
(a literal star becomes %2A) or for the absence of a category ("None" is a name like any other).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.db.models import QuerySet

from django_perf import cache_result
from example_project.shop import serialisation
from example_project.shop.conf import get_config
from example_project.shop.errors import ApiError
from example_project.shop.invalidation import CATEGORIES, list_tag, product_tag
from example_project.shop.models import Category, Product, Review
from example_project.shop.pagination import MAX_ID, Cursor, Page

# Not None, which says that nothing is wrong: a product that does not exist is remembered too, for a shorter time.
UNKNOWN = "unknown"


def ttl_of(result: Any) -> float:
    """Return the lifetime of an answer in seconds."""
    config = get_config()
    return config.negative_ttl if result == UNKNOWN else config.cache_ttl


@cache_result(ttl_of, key="categories", tags=CATEGORIES)
def categories() -> list[dict]:
    """Return all categories by name."""
    return [serialisation.category_item(category) for category in Category.objects.all()]


def category_id(name: str) -> int | None:
    """Return the id of a category, None for a name that does not exist."""
    return next((item["id"] for item in categories() if item["name"] == name), None)


def product_page(category: str | None, page: Page) -> dict:
    """Return a numbered page, newest first; of one category when it is given."""
    key, shelf = ("*", None) if category is None else (quote(category, safe=""), category_id(category))
    if category is not None and shelf is None:
        return page.of([], 0)
    total = product_count(key, shelf)
    if page.start >= total:
        # Neither a query nor an entry: otherwise a client could fill the cache with empty pages.
        return page.of([], total)
    return page.of(page_items(key, shelf, page), total)


@cache_result(ttl_of, key="products:{key}:count", tags=lambda key, shelf: [list_tag(shelf)])
def product_count(key: str, shelf: int | None) -> int:
    """Return how many products there are; counted once per change, not once per view of a page."""
    return newest_first(shelf).order_by().count()


@cache_result(
    ttl_of,
    key="products:{key}:{page.number}:{page.size}",
    tags=lambda key, shelf, page: [list_tag(shelf), CATEGORIES],
)
def page_items(key: str, shelf: int | None, page: Page) -> list[dict]:
    """Return the products of a page that exists."""
    rows = newest_first(shelf).select_related("category")[page.start : page.stop]
    return [serialisation.product_item(product) for product in rows]


def products_after(category: str | None, token: str, size: int) -> dict:
    """Return the page after a cursor; an empty token begins at the newest.

    Not cached: the index makes each of these pages as cheap as the first, and cursors are as many as clients like.
    """
    cursor = Cursor.decode(token) if token else None
    shelf = None if category is None else category_id(category)
    if category is not None and shelf is None:
        return {"items": [], "per_page": size, "next_cursor": None}
    rows = newest_first(shelf).select_related("category")
    # One row more than shown tells whether there is a next page.
    found = list((rows.filter(cursor.older()) if cursor else rows)[: size + 1])
    items = [serialisation.product_item(product) for product in found[:size]]
    return {"items": items, "per_page": size, "next_cursor": next_cursor(found, size)}


def next_cursor(found: list[Product], size: int) -> str | None:
    """Return the token of the last row shown, None on the last page."""
    if len(found) <= size:
        return None
    last = found[size - 1]
    return Cursor(last.created_at, last.pk).encode()


def newest_first(shelf: int | None) -> QuerySet[Product]:
    """Return the products in their one order, which the id makes total; filtered by the indexed category id."""
    rows = Product.objects.order_by("-created_at", "-id")
    return rows if shelf is None else rows.filter(category_id=shelf)


def product_detail(product_id: int) -> dict:
    """Return one product with its images; an unknown one is an ApiError 404, remembered for a short while."""
    detail = known_detail(product_id) if product_id <= MAX_ID else UNKNOWN
    if isinstance(detail, str):
        raise ApiError(404, "Product not found")
    return detail


@cache_result(ttl_of, key="product:{product_id}", tags=lambda product_id: [product_tag(product_id), CATEGORIES])
def known_detail(product_id: int) -> dict | str:
    """Return the product, or UNKNOWN."""
    return load_detail(product_id)


def fresh_detail(product_id: int) -> dict:
    """Return the product as its last writer left it, around the cache: the writer's own answer is never a stale one."""
    detail = load_detail(product_id)
    if isinstance(detail, str):
        raise ApiError(404, "Product not found")
    return detail


def load_detail(product_id: int) -> dict | str:
    """Return the product from the database, or UNKNOWN."""
    rows = Product.objects.select_related("category").prefetch_related("images")
    product = rows.filter(pk=product_id).first()
    return UNKNOWN if product is None else serialisation.product_detail(product)


def review_page(product_id: int, page: Page) -> dict:
    """Return a numbered page of a product's reviews, newest first."""
    product_detail(product_id)
    reviews = Review.objects.filter(product=product_id)
    items = [serialisation.review_item(review) for review in reviews[page.start : page.stop]]
    return page.of(items, reviews.count())
