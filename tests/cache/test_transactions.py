"""What a transaction changes, others see after its commit; until then its thread alone does, and keeps none of it."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.core.cache import cache
from django.db import IntegrityError, connections, transaction
from django.test import TestCase

from django_perf.cache import Tag, cache_result, invalidate, invalidation, register_entity
from example_project.shop.models import Category, Product, Review

# With the shop alone its tables are all that is emptied after each test.
pytestmark = pytest.mark.django_db(
    transaction=True, databases=["default", "sqlite"], available_apps=["example_project.shop"]
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """Have reviews registered for a test: the entry of each, and the tag of its author, who stands for a relation."""
    monkeypatch.setattr(invalidation, "_entities", dict(invalidation._entities))
    register_entity(Review, lambda row: [f"review:{row.pk}", Tag(f"author:{row.author}")])
    yield
    for signal in (invalidation.post_init, invalidation.pre_save, invalidation.post_save, invalidation.post_delete):
        assert signal.disconnect(sender=Review, dispatch_uid="django_perf.cache.shop.Review")


def written(author="Ada", using="default"):
    """Return a new review in a database."""
    category, _ = Category.objects.using(using).get_or_create(name="Bikes", slug="bikes")
    product, _ = Product.objects.using(using).get_or_create(name="Red bike", price=1, category=category)
    return Review.objects.using(using).create(product=product, author=author, rating=5, text="old")


@pytest.fixture
def review():
    return written()


@cache_result(key="by:{author}", tags=["author:{author}"])
def by(author):
    return list(Review.objects.filter(author=author).values_list("text", flat=True))


@cache_result(key="lite:{author}", tags=["author:{author}"])
def lite(author):
    return list(Review.objects.using("sqlite").filter(author=author).values_list("text", flat=True))


def elsewhere(function, *args):
    """Call in another thread, on connections of its own."""

    def call():
        try:
            return function(*args)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(30)


def computed(function=by):
    return function.stats()["computed"]


def save(review, text="new"):
    review.text = text
    review.save()


TOUCHES = {
    "save": save,
    "delete": lambda review: review.delete(),
    "instance": lambda review: (update(review), invalidate(review)),
    "tag": lambda review: (update(review), invalidate("author:Ada")),
    "call": lambda review: (update(review), by.invalidate("Ada")),
}
PATTERN = {"pattern": lambda review: (update(review), invalidate("by:*"))}
REFRESH = {"refresh": lambda review: (save(review), by.refresh("Ada"))}
LEFT = {"delete": []}


def update(review):
    """Change without a signal."""
    Review.objects.filter(pk=review.pk).update(text="new")


WAYS = {**TOUCHES, **PATTERN, **REFRESH}


# --- the commit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*TOUCHES, *PATTERN])
def test_without_a_transaction_a_change_is_seen_at_once(review, way):
    assert by("Ada") == ["old"]
    WAYS[way](review)
    assert by("Ada") == elsewhere(by, "Ada") == LEFT.get(way, ["new"])


@pytest.mark.parametrize("way", [*TOUCHES, *PATTERN, *REFRESH])
def test_others_see_a_change_after_the_commit_and_not_before(review, way):
    assert by("Ada") == ["old"]
    with transaction.atomic():
        WAYS[way](review)
        before = computed()
        assert elsewhere(by, "Ada") == ["old"]
        assert computed() == before, "it was still there"
    assert elsewhere(by, "Ada") == by("Ada") == LEFT.get(way, ["new"])


@pytest.mark.parametrize("way", [*TOUCHES, *PATTERN, *REFRESH])
@pytest.mark.parametrize("was_cached", [True, False])
def test_what_a_transaction_reads_of_its_own_change_is_kept_for_nobody(review, way, was_cached):
    if was_cached:
        by("Ada")
    with transaction.atomic():
        WAYS[way](review)
        assert [by("Ada"), by("Ada")] == [LEFT.get(way, ["new"])] * 2
        assert elsewhere(cache.get, "by:Ada") == (["old"] if was_cached else None)
        assert elsewhere(by, "Ada") == ["old"]
        transaction.set_rollback(True)
    assert by("Ada") == elsewhere(by, "Ada") == ["old"]


def test_another_transaction_goes_on_reading_the_cache(review):
    by("Ada")

    def read():
        with transaction.atomic():
            written("Ken").delete()
            return by("Ada")

    with transaction.atomic():
        save(review)
        before = computed()
        assert elsewhere(read) == ["old"]
        assert computed() == before


def test_what_a_transaction_has_not_touched_it_reads_from_the_cache(review):
    by("Ken")
    before = computed()
    with transaction.atomic():
        save(review)
        assert by("Ken") == []
    assert by("Ken") == []
    assert computed() == before


def test_what_was_read_before_the_commit_and_comes_after_it_is_not_kept(review):
    is_read, may_go_on = threading.Event(), threading.Event()

    @cache_result(key="slow", tags=["author:Ada"])
    def slow():
        found = Review.objects.get().text
        is_read.set()
        assert may_go_on.wait(10)
        return found

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(elsewhere, slow)
        assert is_read.wait(10)
        with transaction.atomic():
            save(review)
        may_go_on.set()
        assert reader.result(30) == "old"
    assert elsewhere(slow) == "new"


def test_entries_by_key_go_with_the_commit_too(review):
    @cache_result(key="review:{pk}")
    def text(pk):
        return Review.objects.get(pk=pk).text

    text(review.pk)
    with transaction.atomic():
        save(review)
        assert text(review.pk) == "new"
        assert cache.get(f"review:{review.pk}") == "old"
    assert cache.get(f"review:{review.pk}") is None


# --- the rollback -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*TOUCHES, *PATTERN])
def test_a_rollback_forgets_nothing(review, way):
    key = f"review:{review.pk}"
    cache.set(key, "entry")
    by("Ada")
    before = computed()
    with transaction.atomic():
        WAYS[way](review)
        transaction.set_rollback(True)
    assert (by("Ada"), elsewhere(by, "Ada"), computed()) == (["old"], ["old"], before)
    assert cache.get(key) == "entry"
    save(Review.objects.get())
    assert by("Ada") == ["new"]


def test_a_savepoint_that_is_rolled_back_forgets_nothing_and_the_rest_is_forgotten(review):
    other = written("Ken")
    assert (by("Ada"), by("Ken")) == (["old"], ["old"])
    with transaction.atomic():
        save(review)
        with transaction.atomic():
            save(other)
            assert by("Ken") == ["new"]
            transaction.set_rollback(True)
        before = computed()
        assert by("Ken") == ["old"]
        assert computed() == before, "it is read from the cache again"
        assert by("Ada") == ["new"]
    before = computed()
    assert (by("Ken"), computed()) == (["old"], before)
    assert (by("Ada"), computed()) == (["new"], before + 1)


def test_a_savepoint_that_is_kept_waits_for_the_commit(review):
    by("Ada")
    with transaction.atomic():
        with transaction.atomic():
            save(review)
        assert by("Ada") == ["new"]
        assert elsewhere(by, "Ada") == ["old"]
    assert elsewhere(by, "Ada") == ["new"]


def test_a_savepoint_that_is_kept_goes_with_the_rollback_around_it(review):
    by("Ada")
    before = computed()
    with transaction.atomic():
        with transaction.atomic():
            save(review)
        transaction.set_rollback(True)
    assert (by("Ada"), computed()) == (["old"], before)


def test_a_commit_that_fails_forgets_nothing(review):
    by("Ada")
    before = computed()
    review.product_id += 1_000  # which is checked at the commit
    with pytest.raises(IntegrityError), transaction.atomic():
        save(review)
    assert (by("Ada"), computed()) == (["old"], before)


def move(review, author):
    review.author = author
    review.save()


@pytest.mark.parametrize("is_savepoint", [True, False])
def test_after_a_rollback_an_instance_still_leaves_the_place_that_it_is_in(review, is_savepoint):
    assert (by("Ada"), by("Ken"), by("Bob")) == (["old"], [], [])
    with transaction.atomic():
        with transaction.atomic():
            move(review, "Ken")
            transaction.set_rollback(True)
        if is_savepoint:
            move(review, "Bob")
    move(review, "Bob")
    assert (by("Ken"), by("Bob")) == ([], ["old"])
    assert by("Ada") == []


# --- the database -------------------------------------------------------------------------------------------------


def test_the_transaction_that_counts_is_that_of_the_database_that_was_written():
    review = written(using="sqlite")
    assert lite("Ada") == ["old"]
    with transaction.atomic():
        with transaction.atomic(using="sqlite"):
            save(review)
            assert lite("Ada") == ["new"]
            assert cache.get("lite:Ada") == ["old"]
        assert elsewhere(lite, "Ada") == ["new"], "committed, whatever becomes of the other one"
        transaction.set_rollback(True)
    assert lite("Ada") == ["new"]


def test_the_commit_of_another_database_forgets_nothing():
    review = written(using="sqlite")
    lite("Ada")
    before = computed(lite)
    with transaction.atomic(using="sqlite"):
        with transaction.atomic():
            save(review)
        assert elsewhere(lite, "Ada") == ["old"]
        transaction.set_rollback(True, using="sqlite")
    assert (lite("Ada"), computed(lite)) == (["old"], before)


HERE = {
    "tag": lambda review: invalidate("author:Ada", using="sqlite"),
    "pattern": lambda review: invalidate("lite:*", using="sqlite"),
    "instance": lambda review: invalidate(review),
    "instance using": lambda review: invalidate(review, using="sqlite"),
}


@pytest.mark.parametrize("name", HERE)
def test_a_database_can_be_named_and_an_instance_names_its_own(name):
    review = written(using="sqlite")
    lite("Ada")
    before = computed(lite)
    with transaction.atomic(), transaction.atomic(using="sqlite"):
        HERE[name](review)
        transaction.set_rollback(True, using="sqlite")
    assert (lite("Ada"), computed(lite)) == (["old"], before)
    with transaction.atomic():  # there is none on the database that is named
        HERE[name](review)
        elsewhere(lite, "Ada")
        assert computed(lite) == before + 1


@pytest.mark.parametrize("touch", [lambda: invalidate("author:Ada"), lambda: lite.invalidate("Ada")])
def test_without_a_name_it_is_the_only_transaction_that_there_is(touch):
    written(using="sqlite")
    lite("Ada")
    before = computed(lite)
    with transaction.atomic(using="sqlite"):
        touch()
        elsewhere(lite, "Ada")
        assert computed(lite) == before
    lite("Ada")
    assert computed(lite) == before + 1


def test_without_a_transaction_no_database_is_needed():
    by("Ken")
    for connection in connections.all():
        connection.close()
    invalidate("author:Ken")
    by.invalidate("Ken")
    assert [connection.connection for connection in connections.all()] == [None] * len(connections.all())
    before = computed()
    assert (by("Ken"), computed()) == ([], before + 1)


# --- hooks --------------------------------------------------------------------------------------------------------


def fail():
    raise ZeroDivisionError


@pytest.mark.parametrize(("is_first", "is_robust"), [(False, False), (False, True), (True, True), (True, False)])
def test_a_hook_of_somebody_else_that_fails_leaves_no_old_value(review, is_first, is_robust):
    by("Ada")
    steps = [lambda: save(review), lambda: transaction.on_commit(fail, robust=is_robust)]
    with suppress(ZeroDivisionError), transaction.atomic():
        for step in reversed(steps) if is_first else steps:
            step()
    assert elsewhere(by, "Ada") == ["new"]


def test_a_hook_of_ours_that_fails_breaks_neither_the_commit_nor_the_others(review, settings, caplog):
    other = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    settings.CACHES = {**settings.CACHES, "other": other}
    caplog.set_level(logging.ERROR, "django.db")
    done = []
    by("Ada")
    with transaction.atomic():
        invalidate("author:Ada", alias="other")  # which is none of ours: an error when it is used
        save(review)
        transaction.on_commit(lambda: done.append(1))
    assert (elsewhere(by, "Ada"), done) == (["new"], [1])
    assert "ImproperlyConfigured" in caplog.text


def test_a_hook_that_comes_later_reads_what_was_committed(review):
    by("Ada")
    seen = []
    with transaction.atomic():
        save(review)
        transaction.on_commit(lambda: seen.append(by("Ada")))
    assert seen == [["new"]]


def test_hooks_that_a_test_case_calls_are_done_although_nothing_is_committed(review):
    by("Ada")
    with transaction.atomic():
        with TestCase.captureOnCommitCallbacks(execute=True) as hooks:
            save(review)
            assert by("Ada") == ["new"]
            assert cache.get("by:Ada") == ["old"]
        before = computed()
        assert [by("Ada"), by("Ada")] == [["new"]] * 2
        assert (computed(), len(hooks)) == (before + 1, 1)
