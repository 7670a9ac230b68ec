"""Equal calls have equal names, different ones never do, and what has no name is refused."""

from __future__ import annotations

import datetime
import enum
import functools
import uuid
from decimal import Decimal

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from django_perf.cache.arguments import Arguments, Unstable, identity
from example_project.shop.models import Category, Product


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def price(product, currency="EUR", *rest, exact=False, **more):
    """Stand for any function."""


KEYS = Arguments(price)


def key(*args, **kwargs):
    return KEYS.key(args, kwargs)


def test_the_spelling_of_a_call_does_not_matter():
    assert key(1, "EUR") == key(1) == key(product=1) == key(currency="EUR", product=1)
    assert key(1, exact=True, a=1, b=2) == key(1, b=2, a=1, exact=True)
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key({1, 2, 3}) == key({3, 2, 1})
    assert key(mark_safe("text")) == key("text")


DIFFERENT = [
    1,
    1.0,
    True,
    "1",
    b"1",
    None,
    "None",
    Decimal(1),
    Decimal("1.0"),
    (1,),
    [1],
    {1},
    frozenset({1}),
    {1: 1},
    {"1": 1},
    (1, 2),
    ("1,2",),
    ((1,), 2),
    (1, (2,)),
    [[1], [2]],
    [[1, 2]],
    datetime.date(2026, 1, 1),
    datetime.datetime(2026, 1, 1),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    datetime.timedelta(1),
    uuid.UUID(int=1),
    Colour.RED,
    Colour.BLUE,
    Category(pk=1),
    Product(pk=1),
    Product(pk=2),
    Product,
]


def test_different_arguments_never_share_a_name():
    assert len({key(value) for value in DIFFERENT}) == len(DIFFERENT)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


def typed(value):
    """Return something that is equal only for values of equal types all the way down."""
    inner = tuple(map(typed, value)) if isinstance(value, (list, tuple)) else value
    return type(value).__name__, inner


@given(values, values)
def test_names_are_equal_exactly_where_values_and_types_are(one, other):
    assert (identity(one) == identity(other)) == (typed(one) == typed(other))


def test_a_long_name_is_a_digest_and_still_says_whose_it_is():
    long = key("x" * 10_000)
    assert len(long) < 150
    assert long.startswith(f"{__name__}.price:")
    assert long != key("x" * 10_001)


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "said"), [(Thing(), "Thing"), ([Thing()], "Thing"), (Product(), "shop.Product that is not saved")]
)
def test_an_argument_without_an_identity_is_an_error_that_names_it(value, said):
    with pytest.raises(Unstable, match=f"price: argument 'product' is a .*{said}.*give cache_result a key="):
        key(value)
    with pytest.raises(Unstable, match="argument 'rest'"):
        key(1, "EUR", value)


def test_a_call_that_could_not_be_made_is_the_error_that_it_would_be():
    with pytest.raises(TypeError, match="missing a required argument: 'product'"):
        key()


def test_an_object_that_is_called_needs_a_key():
    class Price:
        def __call__(self, product):
            return product

    with pytest.raises(Unstable, match="give cache_result a key="):
        Arguments(Price()).key((1,), {})
    assert Arguments(Price()).bound((1,), {}) == {"product": 1}


def around(number):
    def inside(product):
        return number + product

    class Local:
        def method(self):
            return super().__repr__()

    return inside, Local.method, functools.wraps(price)(lambda product: price(product + number))


def test_a_function_needs_a_key_that_depends_on_more_than_its_arguments():
    inside, method, wrapped = around(1)
    with pytest.raises(Unstable, match=r"around.<locals>.inside depends on 'number' .* give cache_result a key="):
        Arguments(inside).key((1,), {})
    with pytest.raises(Unstable, match="all lambdas of a place have one name"):
        Arguments(lambda product: product).key((1,), {})
    assert Arguments(wrapped).key((1,), {}) == key(1)
    assert Arguments(method).key((Product(pk=1),), {}).endswith("Local.method:self=shop.Product(1)")
