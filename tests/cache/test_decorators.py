"""cache_result: what shares an entry, what names it, what invalidates it, on functions, methods and coroutines."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache, caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import cached_property

from django_perf import cache_result, invalidate
from django_perf.cache.arguments import Unstable
from example_project.shop.models import Category
from tests.waiting import wait_until


class Calls(list):
    """Count calls, and return a new object for each."""

    def __call__(self, *args):
        self.append(args)
        return {"call": len(self), "args": args}


_counted = Calls()


@cache_result()
def total(product, tax=2):
    return _counted(product, tax)


@pytest.fixture
def calls():
    return Calls()


def test_equal_calls_share_one_entry_and_nobody_can_change_it():
    first = total(1, 2)
    first["call"] = "changed"
    assert [total(1), total(1, tax=2), total(product=1, tax=2)] == [{"call": 1, "args": (1, 2)}] * 3
    assert total(2)["call"] == 2
    assert total.stats() == {"calls": 5, "computed": 2, "hits": 3}
    assert (total.__name__, total.__wrapped__) == ("total", total.function)


def test_threads_that_wait_for_one_computation_get_a_value_each():
    is_computing, may_end = threading.Event(), threading.Event()

    @cache_result(key="values")
    def values():
        is_computing.set()
        assert may_end.wait(10)
        return [1]

    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(values)
        assert is_computing.wait(10)
        others = [threads.submit(values) for _ in range(4)]
        # Not that they share it: the news that the test before has cleared the cache may part them.
        wait_until(lambda: values.stats()["calls"] == 5)
        may_end.set()
        found = [one.result() for one in (first, *others)]
    assert found == [[1]] * 5
    assert len({id(one) for one in found}) == 5


@pytest.mark.parametrize("result", [None, 0, "", [], False])
def test_nothing_is_a_result(calls, result):
    @cache_result(key="nothing")
    def nothing():
        calls()
        return result

    assert [nothing(), nothing()] == [result, result]
    assert len(calls) == 1


def test_an_exception_is_no_result(calls):
    @cache_result(key="fails")
    def fails():
        calls()
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fails()
    assert len(calls) == 2


def test_a_key_and_tags_may_be_text_or_functions(calls):
    @cache_result(key="text:{product}:{tax}", tags=["all", "product:{product}"])
    def text(product, tax=2):
        return calls(product, tax)

    @cache_result(key=lambda product: f"function:{product}", tags=lambda product: ["all", f"product:{product}"])
    def function(product):
        return calls(product)

    assert (text.key(1), function.key(1)) == ("text:1:2", "function:1")
    for cached in (text, function):
        cached(1), cached(2)
        invalidate("product:1")
        before = len(calls)
        cached(2), cached(1)
        assert len(calls) == before + 1
        invalidate("all")
        cached(1), cached(2)
        assert len(calls) == before + 3


def test_one_call_is_invalidated_or_refreshed_alone(calls):
    @cache_result(key="total:{product}")
    def total(product):
        return calls(product)

    total(1), total(2)
    total.invalidate(1)
    assert (total(1)["call"], total(2)["call"]) == (3, 2)
    assert total.refresh(2)["call"] == total(2)["call"] == 4


class Shop:
    def __init__(self, calls):
        self.calls = calls

    @cache_result(key="name:{name}")
    def named(self, name):
        return self.calls(name)

    @cache_result()
    def unnamed(self):
        return self.calls()

    @cached_property
    def lazy(self):
        return 1


class CategoryPages(Category):
    class Meta:
        proxy = True
        app_label = "shop"

    @cache_result()
    def page(self, number):
        return number


def test_a_method_counts_its_instance_unless_a_key_says_otherwise(calls):
    one, other = Shop(calls), Shop(calls)
    assert one.named("x") == other.named("x")
    one.named.invalidate("x")
    assert other.named("x")["call"] == 2
    with pytest.raises(Unstable, match=r"argument 'self' is a .*Shop, which has no identity that lasts"):
        one.unnamed()
    assert Shop.named.key(one, "x") == one.named.key("x") == "name:x"


def test_a_model_instance_is_its_table_and_primary_key():
    keys = {CategoryPages(pk=pk).page.key(number) for pk in (1, 2) for number in (1, 2)}
    assert len(keys) == 4
    assert CategoryPages(pk=1, name="x").page.key(1) == CategoryPages(pk=1, name="y").page.key(1)
    assert CategoryPages(pk=1).page(7) == 7


def test_a_coroutine_function_stays_one(calls):
    @cache_result(key="total:{product}", tags=["all"])
    async def total(product):
        await asyncio.sleep(0)
        return calls(product)

    async def together():
        return await asyncio.gather(*(total(1) for _ in range(5)))

    assert [answer["call"] for answer in asyncio.run(together())] == [1] * 5
    assert asyncio.run(total.refresh(1))["call"] == 2
    total.invalidate(1)
    assert asyncio.run(total(1))["call"] == 3


def test_a_dummy_cache_keeps_nothing_and_any_other_backend_is_an_error(settings, calls):
    @cache_result(alias="other", key="total")
    def total():
        return calls()

    settings.CACHES = {**settings.CACHES, "other": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert (total()["call"], total()["call"], total.refresh()["call"]) == (1, 2, 3)
    total.invalidate()
    settings.CACHES = {**settings.CACHES, "other": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with pytest.raises(ImproperlyConfigured, match=r"CACHES\['other'\] to be .*MultiLevelCache, not LocMemCache"):
        total()


def test_without_any_shared_level_it_works_in_one_process(settings, calls):
    settings.CACHES = {
        **settings.CACHES,
        "alone": {"BACKEND": "django_perf.cache.MultiLevelCache", "KEY_PREFIX": "decorators-alone"},
    }

    @cache_result(alias="alone", key="total:{product}", tags=["all"])
    def total(product):
        return calls(product)

    total(1), total(1)
    invalidate("all", alias="alone")
    total(1)
    total.invalidate(1)
    total(1)
    assert len(calls) == 3
    caches["alone"].clear()


def test_the_entry_lies_under_its_key_in_the_cache():
    @cache_result(key="answer")
    def answer():
        return 42

    answer()
    assert cache.get("answer") == 42
    cache.delete("answer")
    assert cache.get("answer") is None
