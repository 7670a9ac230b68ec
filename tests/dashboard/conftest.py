"""People who may see the pages and people who may not, and a store with something in it."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_perf.metrics.aggregate import new_aggregate
from django_perf.metrics.catalog import KINDS
from tests.dashboard.markup import Markup
from tests.store.data import put

OVERVIEW = "/admin/django_perf/performance/"
ENDPOINT = f"{OVERVIEW}endpoint/"
POOL_PAGE = f"{OVERVIEW}pool/"
CACHE_PAGE = f"{OVERVIEW}cache/"


@pytest.fixture
def client_of(db):
    """Return a function that makes a client, logged in as a user with these traits and permissions."""

    def make(*permissions, **traits):
        user = User.objects.create_user(f"user{User.objects.count()}", **traits)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def reader(client_of):
    """A client of someone with the one permission that the page asks for."""
    return client_of("view_performance", is_staff=True)


@pytest.fixture
def show(reader):
    """Return a function that gets a page and reads its HTML."""

    def get(path=OVERVIEW, **parameters):
        response = reader.get(path, parameters)
        assert response.status_code == 200
        return Markup(response.content.decode())

    return get


@pytest.fixture
def minute():
    """The minute before the one that runs: all of it is inside every range."""
    return int(time.time()) // 60 - 1


@pytest.fixture
def store(db, minute):
    """Return a function that puts series into the store: `store((kind, *labels), microseconds, errors=2)`."""

    def add(key, *values, at=minute, **counters):
        series = new_aggregate(key)
        series.add_all(values, [counters.get(name, 0) for name in KINDS[key[0]].counters])
        put("default", {at: {key: series}}, pid=4711)

    return add
