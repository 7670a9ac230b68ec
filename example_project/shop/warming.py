"""Fill the cache before the first visitor: what most of them ask for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

from django_perf.cache import warmer
from example_project.shop import catalogue
from example_project.shop.conf import get_config
from example_project.shop.models import Product
from example_project.shop.pagination import Page

LIST_PAGES = 10
# What visitors choose who want to see more at a time.
LONG_PAGE = 50


@warmer
def lists(top: int) -> Iterator[Any]:
    """Yield the first pages of the list of all products, also of long ones, and then of each category."""
    size = get_config().page_size
    names = [item["name"] for item in catalogue.categories()]
    for number in range(1, LIST_PAGES + 1):
        yield partial(catalogue.product_page, None, Page(number, size))
        yield partial(catalogue.product_page, None, Page(number, LONG_PAGE))
    for number, name in product(range(1, LIST_PAGES + 1), names):
        yield partial(catalogue.product_page, name, Page(number, size))


@warmer
def details(top: int) -> Iterator[Any]:
    """Yield the products that have been there for longest: they have the most links."""
    for product_id in Product.objects.order_by("id").values_list("id", flat=True)[:top]:
        yield partial(catalogue.known_detail, product_id)
