"""Fill the cache before the first visitor: what most of them ask for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django_perf.cache import warmer
from example_project.shop import catalogue
from example_project.shop.conf import get_config
from example_project.shop.models import Product
from example_project.shop.pagination import Page

LIST_PAGES = 5


@warmer
def lists(top: int) -> Iterator[Any]:
    """Yield the first pages of the list of all products, and of each category."""
    size = get_config().page_size
    for number in range(1, LIST_PAGES + 1):
        for name in (None, *(item["name"] for item in catalogue.categories())):
            yield partial(catalogue.product_page, name, Page(number, size))


@warmer
def details(top: int) -> Iterator[Any]:
    """Yield the products that have been there for longest: they have the most links."""
    for product_id in Product.objects.order_by("id").values_list("id", flat=True)[:top]:
        yield partial(catalogue.known_detail, product_id)
