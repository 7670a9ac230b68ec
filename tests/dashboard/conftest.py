"""People who may see the pages and people who may not, and a store with something in it."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client

from django_perf.dashboard.pages import VIEWS
from django_perf.metrics.aggregate import new_aggregate
from django_perf.metrics.cardinality import Cardinality
from django_perf.metrics.catalog import KINDS
from django_perf.metrics.samples import Sample as Example
from django_perf.store import samples
from django_perf.store.models import Sample
from tests.dashboard.data import EXAMPLE, OTHER_SQL, SQL, Fill
from tests.dashboard.markup import Markup
from tests.store.data import put

OVERVIEW = "/admin/django_perf/performance/"
ENDPOINT = f"{OVERVIEW}endpoint/"
POOL_PAGE = f"{OVERVIEW}pool/"
CACHE_PAGE = f"{OVERVIEW}cache/"
EXPLAIN = f"{OVERVIEW}explain/"
ADDRESSES = {view.name: f"{OVERVIEW}{view.path}" for view in VIEWS}


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
def planner(client_of):
    """A client of someone who may have queries explained too."""
    return client_of("view_performance", "explain_queries", is_staff=True)


@pytest.fixture
def open_page(planner, fill):
    """Return a function that gets a page by name, about what `fill` has stored; "explain" is the answer to its form."""

    def get(name, since="1h"):
        address, parameters = ADDRESSES.get(name, EXPLAIN), {"since": since, **fill.about.get(name, {})}
        response = (planner.post if name == "explain" else planner.get)(address, parameters)
        assert response.status_code == 200
        return Markup(response.content.decode())

    return get


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
        key = Cardinality().admit(key)
        series = new_aggregate(key)
        series.add_all(values, [counters.get(name, 0) for name in KINDS[key[0]].counters])
        # A worker whose last flush is a minute old may have vanished, which the page would say.
        put("default", {at: {key: series}}, pid=4711, taken=time.time() if at == minute else None)

    return add


@pytest.fixture
def fill(store):
    """Return a Fill."""
    return Fill(store)


@pytest.fixture
def keep(db, minute):
    """Return a function that stores an example with these facts, and gives the parameters of its page."""

    def insert(**facts):
        example = Example(("slow_request", "list", "GET"), ("list", "GET"), minute * 60.0, 1, 0.5, EXAMPLE | facts)
        samples.insert("default", [example])
        return {"id": Sample.objects.latest("id").pk, "since": "1h"}

    return insert


@pytest.fixture
def run(transactional_db):
    """Return a function that sends SQL whose effect other connections see."""

    def send(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)

    return send


@pytest.fixture
def two_queries(fill):
    """One query of the endpoint list, and one of another endpoint that fails in another way; the first is asked for."""
    fill("other", OTHER_SQL)
    fill("list", SQL)
