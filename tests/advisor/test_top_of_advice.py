"""Each fault of the shop, planted alone under traffic, is on top of the advice; without any there is no advice."""

from __future__ import annotations

import time
from functools import partial

import psutil
import pytest
from django.core.cache import cache
from django.db import connections

from django_perf.advisor.advice import in_order
from django_perf.advisor.rules import LIVE, STORED
from django_perf.metrics.recorder import recorder
from example_project.shop import faults

from .missing import without_index

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", faults.SMALL_POOL])
ATTEMPTS = 3
LEAK_MINUTES = 15


@pytest.fixture(scope="module", autouse=True)
def _small_pool(django_db_setup):
    """The database once more, through a pool of one connection; there before any test names the databases it uses."""
    given = {**connections["default"].settings_dict, "ENGINE": "django_perf.pool.postgresql"}
    given |= {"OPTIONS": {"pool": {"max_size": 1}}, "TEST": {**given["TEST"], "MIRROR": "default"}}
    connections.settings[faults.SMALL_POOL] = given
    yield
    del connections[faults.SMALL_POOL]
    del connections.settings[faults.SMALL_POOL]


@pytest.fixture(autouse=True)
def _nothing_left():
    """Neither a pool whose levels the next test would not see, nor the leak."""
    yield
    faults.leaked.clear()
    connections[faults.SMALL_POOL].close_pool()


def visits(path, times=1, **headers):
    return lambda shop: shop.visit(path, times=times, **headers)


def fetch_all(shop):
    shop.visit(f"/unbounded?below={shop.goods[-1].pk}", times=3)


def fail_since_a_while(shop):
    """Be asked in vain for as long before: a fault that is not planted is a 404, which is no error."""
    shop.plant()
    shop.visit("/error", times=120)
    shop.store(minutes_ago=90)
    shop.plant("error")
    shop.visit("/error", times=20)


def burst(shop):
    """Let eight visitors at once find the entry cold, again and again."""
    for thread in shop.crowd(8, "/cold-burst?ms=100", times=8, before=lambda: cache.delete("cold-burst")):
        thread.join()


def share_one_connection(shop, ms=25):
    for thread in shop.crowd(4, f"/held-connection?ms={ms}", times=30):
        thread.join()


def fill_all_slots(shop):
    """Have six visitors for four slots, and look at the levels as often as a flusher does in some minutes."""
    threads = shop.crowd(6, "/slow?ms=60", times=30)
    shop.sampler.saturation()
    while threads[0].is_alive():
        time.sleep(0.05)
        recorder.levels("web")
    for thread in threads:
        thread.join()


def leak_for_some_minutes(shop):
    """Leak in each minute until the process is larger: freed memory of other tests may be used up first."""
    process = psutil.Process()
    size = process.memory_info().rss
    step = max(4 * 2**20, size // 100)
    for minute in range(LEAK_MINUTES):
        for _ in range(faults.MAX_LEAKED_MB):
            if process.memory_info().rss >= size + step:
                break
            shop.visit("/leak")
        size = process.memory_info().rss
        shop.store(minutes_ago=LEAK_MINUTES - minute)


def send_one_giant(shop):
    shop.visit("/big?kb=1", times=99, accept_encoding="gzip")
    shop.visit("/big?kb=10240", accept_encoding="gzip")


# Fault, how it comes to light, what is to be on top.
PLANTED = [
    ("n-plus-one", visits("/n-plus-one", 3), "n_plus_one"),
    ("chatty", visits("/chatty", 3), "chatty_endpoint"),
    ("unbounded", fetch_all, "unbounded_result"),
    ("held-transaction", visits("/held-transaction", 2), "open_transaction"),
    ("slow-sql", visits("/slow-sql?s=0.2", 3), "slow_query"),
    ("slow", fill_all_slots, "saturated"),
    ("leak", leak_for_some_minutes, "memory_growth"),
    ("error", fail_since_a_while, "error_spike"),
    ("big", send_one_giant, "dear_compression"),
    ("uncompressed", visits("/uncompressed?kb=50", 110, accept_encoding="gzip"), "uncompressed"),
    ("cold-burst", burst, "stampede"),
    ("cold-keys", visits("/cold-keys?n=500", 3), "low_hit_rate"),
    ("tiny-memory", visits("/tiny-memory?n=500", 6), "small_memory"),
    ("held-connection", share_one_connection, "pool_held"),
]


def rules_heard(shop, name, traffic):
    """Plant one fault under traffic, and return the rules that speak, in order."""
    shop.plant(name)
    shop.ordinary()
    traffic(shop)
    shop.ordinary()
    return [one.rule for one in shop.advice()]


@pytest.mark.parametrize(("name", "traffic", "rule"), PLANTED, ids=[name for name, _, _ in PLANTED])
def test_a_fault_that_is_planted_alone_is_on_top(shop, name, traffic, rule):
    heard = []
    for _ in range(ATTEMPTS):  # on a busy machine anything may be slow once, and come before it
        heard = rules_heard(shop, name, traffic)
        if heard[:1] == [rule]:
            return
    assert heard[:1] == [rule]


def test_every_fault_of_the_shop_is_in_the_table():
    assert {name for name, _, _ in PLANTED} == set(faults.FAULTS)


@pytest.mark.parametrize("ms", [25, 40])  # for the longer one visitors wait as long as they feel
def test_who_holds_a_connection_for_nothing_comes_before_those_who_wait_for_it(shop, ms):
    heard = []
    for _ in range(ATTEMPTS):
        heard = rules_heard(shop, "held-connection", partial(share_one_connection, ms=ms))
        if heard[:2] == ["pool_held", "pool_starved"]:
            return
    assert heard[:2] == ["pool_held", "pool_starved"]


def test_an_index_that_is_missing_is_on_top(shop):
    with without_index(connections["default"]):
        for _ in range(ATTEMPTS):
            shop.ordinary()
            first = in_order(shop.advice(*STORED, *LIVE))[0].rule
            if first == "missing_index":
                return
    assert first == "missing_index"


def test_without_a_fault_there_is_no_advice_at_all(shop):
    heard = []
    for _ in range(ATTEMPTS):
        shop.ordinary()
        heard = shop.advice(*STORED, *LIVE)
        if not heard:
            return
    assert heard == []
