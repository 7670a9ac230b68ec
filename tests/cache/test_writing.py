"""A saved row is in the cache as it was committed last; increments are written behind, and none is lost at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models.signals import post_delete, post_save
from django.test.utils import CaptureQueriesContext

from django_perf.cache.writing import BufferedCounter, WriteThrough
from example_project.shop.models import Category, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def through():
    """Keep an entry of every category."""
    written = WriteThrough(Category, lambda row: f"category:{row.pk}", lambda row: {"name": row.name})
    yield written
    for signal, receiver in ((post_save, written._saved), (post_delete, written._deleted)):
        assert signal.disconnect(receiver, Category, dispatch_uid=uid_of(written, signal))


def uid_of(written, signal):
    what = "saved" if signal is post_save else "deleted"
    return f"django_perf.cache.through.shop.Category.default.{id(written)}.{what}"


def test_the_next_read_after_a_save_is_a_hit(through):
    row = Category.objects.create(name="Bikes", slug="bikes")
    assert cache.get(f"category:{row.pk}") == {"name": "Bikes"}
    row.name = "Bicycles"
    row.save()
    assert cache.get(f"category:{row.pk}") == {"name": "Bicycles"}
    row.delete()
    assert cache.get(f"category:{row.pk}") is None


def test_nothing_is_written_before_the_commit_nor_after_a_rollback(through):
    row = Category.objects.create(name="Bikes", slug="bikes")
    with transaction.atomic():
        row.name = "Lost"
        row.save()
        assert cache.get(f"category:{row.pk}") == {"name": "Bikes"}
        transaction.set_rollback(True)
    assert cache.get(f"category:{row.pk}") == {"name": "Bikes"}


def test_of_two_writers_the_later_commit_wins_whoever_comes_to_the_cache_last(through):
    row = Category.objects.create(name="first", slug="bikes")
    serialise, is_read, may_go_on = through.serializer, threading.Event(), threading.Event()

    def slow(instance):
        value = serialise(instance)
        is_read.set()
        assert may_go_on.wait(10)
        return value

    def save(name):
        try:
            mine = Category.objects.get(pk=row.pk)
            mine.name = name
            mine.save()
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        through.serializer = slow
        early = threads.submit(save, "early")
        assert is_read.wait(10)
        through.serializer = serialise
        threads.submit(save, "late").result()
        may_go_on.set()
        early.result()
    assert cache.get(f"category:{row.pk}") in (None, {"name": "late"})


@pytest.fixture
def product():
    category = Category.objects.create(name="Bikes", slug="bikes")
    return Product.objects.create(name="Red bike", price=1, category=category)


@pytest.fixture
def counter():
    """A counter that writes when it is told to."""
    made = BufferedCounter(Product, "version", interval=3600)
    yield made
    made.close()


def version_of(product):
    return Product.objects.get(pk=product.pk).version


def test_many_increments_are_few_statements(product, counter):
    others = [Product(name=f"{n}", price=1, category=product.category) for n in range(600)]
    rows = [product, *Product.objects.bulk_create(others)]
    for row in rows:
        for _ in range(5):
            counter.add(row.pk)
    with CaptureQueriesContext(connection) as queries:
        assert counter.flush() == 601
    assert len(queries) == 2
    assert {row.version for row in Product.objects.all()} == {6}
    assert counter.pending(product.pk) == 0


def test_what_could_not_be_written_is_written_with_the_next(product, counter, monkeypatch):
    counter.add(product.pk, 3)
    with monkeypatch.context() as patched:
        patched.setattr(counter, "_write", lambda items: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            counter.flush()
    counter.add(product.pk)
    assert counter.pending(product.pk) == 4
    counter.flush()
    assert version_of(product) == 5


def test_increments_of_many_threads_all_count(product, counter):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: [counter.add(product.pk) for _ in range(500)], range(8)))
        counter.flush()
    assert version_of(product) == 4_001


def test_a_row_that_is_gone_is_passed_over(product, counter):
    counter.add(product.pk + 1)
    counter.add(product.pk)
    counter.flush()
    assert version_of(product) == 2


ENDS = """
import os, signal, sys, threading
import django
django.setup()
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
from django.db import connections
connections["default"].settings_dict["NAME"] = sys.argv[1]
from django_perf.cache.writing import BufferedCounter
from example_project.shop.models import Product
counter = BufferedCounter(Product, "version", interval=3600)
for _ in range(1000):
    counter.add(int(sys.argv[2]))
signal.signal(signal.SIGTERM, lambda *args: sys.exit(0))
os.kill(os.getpid(), signal.SIGTERM)
threading.Event().wait(30)
"""


def test_a_process_that_is_told_to_end_writes_what_is_left(product):
    name = connection.settings_dict["NAME"]
    subprocess.run([sys.executable, "-c", ENDS, name, str(product.pk)], check=True, timeout=60, env=environment())
    assert version_of(product) == 1_001


def environment():
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
