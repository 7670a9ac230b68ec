"""Give the shop's tests a client that speaks JSON, a clean cache, and a few goods."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.test import Client

from example_project.shop.models import Category, Product


class ShopClient:
    """Send JSON and run what waits for the commit, which the test's own transaction never reaches."""

    def __init__(self, capture_commits):
        self._client = Client(raise_request_exception=False, SERVER_NAME="localhost")
        self._capture_commits = capture_commits

    def send(self, method, path, body=None, **headers):
        """Send one request; header names are written with underscores."""
        payload = body if isinstance(body, (str, bytes)) else json.dumps(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with self._capture_commits(execute=True):
            return self._client.generic(
                method, path, "" if body is None else payload, content_type="application/json", headers=names
            )

    def get(self, path, **headers):
        return self.send("GET", path, **headers)

    def post(self, path, body, **headers):
        return self.send("POST", path, body, **headers)

    def patch(self, path, body, **headers):
        return self.send("PATCH", path, body, **headers)

    def delete(self, path, **headers):
        return self.send("DELETE", path, **headers)


@pytest.fixture(autouse=True)
def _cold_cache():
    cache.clear()


@pytest.fixture
def shop(db, django_capture_on_commit_callbacks):
    return ShopClient(django_capture_on_commit_callbacks)


@pytest.fixture
def committed(db, django_capture_on_commit_callbacks):
    """Make something as if it were committed: what waits for the commit runs, and nothing counts as touched."""

    def make(create):
        with django_capture_on_commit_callbacks(execute=True):
            return create()

    return make


@pytest.fixture
def bikes(committed):
    return committed(lambda: Category.objects.create(name="Bikes", slug="bikes"))


@pytest.fixture
def lamps(committed):
    return committed(lambda: Category.objects.create(name="Lamps", slug="lamps"))


@pytest.fixture
def make_product(bikes, committed):
    def make(name="Red bike", price="9.90", category=bikes, **fields):
        fields = {"name": name, "price": Decimal(price), "category": category, **fields}
        return committed(lambda: Product.objects.create(**fields))

    return make


@pytest.fixture
def _all_faults(settings):
    settings.SHOP_FAULTS = frozenset({"all"})
