"""Orders reach every process that lives when they are given, once, with a flush."""

from __future__ import annotations

import pytest

from django_perf.metrics.recorder import recorder
from django_perf.store.models import Delta, Order
from django_perf.store.orders import KEEP_S, Follower, give
from django_perf.store.retention import expire
from django_perf.store.writer import write

from .data import MIDNIGHT, batch, requests

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


@pytest.fixture
def process():
    """Return a function that begins a process, which notes what it has done."""

    def begin():
        done = []
        follower = Follower({"retire": done.append, "fail": lambda target: 1 / 0})
        follower.done = done
        return follower

    return begin


def test_every_process_follows_once_what_is_given_while_it_lives(alias, process):
    give(alias, "retire", "before")
    first, second = process(), process()
    first(alias), second(alias)
    give(alias, "retire", "default")
    give(alias, "retire", "replica")
    first(alias), first(alias), second(alias)
    late = process()
    late(alias), late(alias)
    assert (first.done, second.done, late.done) == (["default", "replica"], ["default", "replica"], [])


def test_an_order_that_fails_is_counted_and_costs_no_other(alias, process):
    recorder.enabled = True
    own = process()
    own(alias)
    for what in ("fail", "of a newer version", "retire"):
        give(alias, what, "default")
    own(alias), own(alias)
    assert own.done == ["default"]
    (table,) = recorder.drain().values()
    assert {key[2]: one.histogram.sum for key, one in table.items() if key[0] == "loss"} == {
        "order fail: ZeroDivisionError": 1
    }


def test_orders_are_forgotten_in_the_end(alias):
    order = give(alias, "retire", "default")
    expire(alias, order.at + KEEP_S - 1)
    assert Order.objects.using(alias).count() == 1
    expire(alias, order.at + KEEP_S + 1)
    assert Order.objects.using(alias).count() == 0


@pytest.mark.django_db(databases=["default", "sqlite"], transaction=True)
def test_they_are_followed_behind_a_flush_whose_success_does_not_depend_on_them(alias):
    recorder.enabled = True
    followed = []

    def follow(alias):
        followed.append(Delta.objects.using(alias).count())
        raise LookupError

    write(batch({MIDNIGHT: requests(3)}), behind=follow)
    write(batch({MIDNIGHT: requests(3)}, final=True), behind=follow)
    assert followed == [1], "not behind the last one of a process"
    assert Delta.objects.using(alias).count() == 2
    (table,) = recorder.drain().values()
    assert [key[2] for key in table if key[0] == "loss"] == ["behind a flush: LookupError"]
