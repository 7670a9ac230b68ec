"""What a change makes wrong is forgotten: by tag, by instance as it is and as it was, by pattern; after the commit."""

from __future__ import annotations

import pytest
from django.core.cache import cache, caches
from django.db import transaction

from django_perf.cache import Tag, cache_result, invalidate, invalidation, register_entity
from example_project.shop.models import Category, Product, Review

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def review(monkeypatch):
    """A review whose model is registered for this test alone; its author stands for a relation that can move."""
    monkeypatch.setattr(invalidation, "_entities", dict(invalidation._entities))
    register_entity(Review, lambda row: [f"review:{row.pk}", Tag(f"author:{row.author}")])
    category = Category.objects.create(name="Bikes", slug="bikes")
    product = Product.objects.create(name="Red bike", price=1, category=category)
    yield Review.objects.create(product=product, author="Ada", rating=5, text="Fine.")
    for signal in (invalidation.post_init, invalidation.pre_save, invalidation.post_save, invalidation.post_delete):
        assert signal.disconnect(sender=Review, dispatch_uid="django_perf.cache.shop.Review")


@cache_result(tags=["author:{author}"], key="by:{author}")
def by(author):
    return list(Review.objects.filter(author=author).values_list("text", flat=True))


def test_both_the_old_and_the_new_place_of_an_instance_are_forgotten(review):
    cache.set(f"review:{review.pk}", "entry")
    assert (by("Ada"), by("Ken")) == (["Fine."], [])
    review = Review.objects.get()
    review.author = "Ken"
    review.save()
    assert (by("Ada"), by("Ken")) == ([], ["Fine."])
    assert cache.get(f"review:{review.pk}") is None
    review.author = "Ada"
    review.save()
    assert (by("Ada"), by("Ken")) == (["Fine."], [])
    review.delete()
    assert by("Ada") == []


def test_the_old_place_is_forgotten_though_it_was_not_loaded(review, django_assert_num_queries):
    assert (by("Ada"), by("Ken")) == (["Fine."], [])
    part = Review.objects.only("text").get()
    part.author = "Ken"
    with django_assert_num_queries(2):
        part.save()
    assert (by("Ada"), by("Ken")) == ([], ["Fine."])
    part.author = "Ada"
    with django_assert_num_queries(1):
        part.save(update_fields=["author"])
    assert (by("Ada"), by("Ken")) == (["Fine."], [])


def test_an_instance_can_be_invalidated_by_hand_after_what_sends_no_signal(review):
    by("Ada")
    Review.objects.update(text="Changed.")
    assert by("Ada") == ["Fine."]
    invalidate(review)
    assert by("Ada") == ["Changed."]


def test_an_instance_of_a_model_that_is_not_registered_is_an_error_with_the_remedy(monkeypatch):
    monkeypatch.setattr(invalidation, "_entities", {})
    with pytest.raises(LookupError, match=r"Category is not registered: call register_entity\(Category"):
        invalidate(Category(pk=1))


def test_a_tag_with_any_text_is_just_that_tag():
    for tag in ("~", "a:b", "ä ö", "x" * 1_000, "'; DROP TABLE", "{0}"):
        made = []
        cached = cache_result(key=f"any:{hash(tag)}", tags=lambda tag=tag: [tag])(lambda made=made: made.append(1))
        cached(), cached()
        assert made == [1]
        invalidate(tag)
        cached()
        assert made == [1, 1]


def test_a_pattern_takes_what_matches_and_leaves_the_rest():
    keys = {"page:1": 1, "page:22": 2, "pager": 3, "other:page:1": 4, "page[1]": 5}
    cache.set_many(keys)
    invalidate("page:*")
    assert set(cache.get_many(keys)) == {"pager", "other:page:1", "page[1]"}
    invalidate("pag??")
    assert set(cache.get_many(keys)) == {"other:page:1", "page[1]"}
    cache.delete_pattern("*")
    assert cache.get_many(keys) == {}


def test_a_pattern_does_not_reach_into_another_cache(settings):
    settings.CACHES = {**settings.CACHES, "other": {**settings.CACHES["default"], "KEY_PREFIX": "sh*p"}}
    caches["other"].set("key", 1)
    cache.set("key", 1)
    caches["other"].delete_pattern("*")
    assert (cache.get("key"), caches["other"].get("key")) == (1, None)


def test_a_pattern_waits_for_the_commit_too():
    cache.set("page:1", 1)
    with transaction.atomic():
        invalidate("page:*")
        assert cache.get("page:1") == 1
    assert cache.get("page:1") is None
