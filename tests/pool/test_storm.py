"""Many threads at once, with a switch of threads after every few instructions."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter

import pytest

from django_perf.pool import ConnectionPool
from tests.pool.fakes import FakeDriver, Server

THREADS, WAVE, LARGEST = 10_000, 500, 8


@pytest.fixture
def _many_switches():
    """Let threads interrupt each other wherever they can, and give them small stacks."""
    interval, stack = sys.getswitchinterval(), threading.stack_size(128 * 1024)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    threading.stack_size(stack)


class Storm:
    """Borrow and return from many threads, and note everything that must not happen."""

    def __init__(self) -> None:
        self.server = Server()
        self.faults: Counter[str] = Counter()
        self.pool = ConnectionPool(
            self.server.connect, driver=FakeDriver(), max_size=LARGEST, timeout=60.0, max_uses=50, max_lifetime=0.5
        )

    def visit(self, times: int = 1) -> None:
        """Borrow `times` times, and prove to be alone each time."""
        for _ in range(times):
            try:
                conn = self.pool.getconn()
            except Exception as error:
                self.faults[repr(error)] += 1
                return
            if conn.holder is not None or conn.is_closed or conn.is_dirty:
                self.faults[f"holder {conn.holder}, closed {conn.is_closed}, dirty {conn.is_dirty}"] += 1
            conn.holder = threading.get_ident()
            conn.is_dirty = random.random() < 0.2
            conn.is_dead = random.random() < 0.02
            if conn.holder != threading.get_ident():
                self.faults["taken over"] += 1
            conn.holder = None
            self.pool.putconn(conn)


def started(target, count, *args):
    """Return threads at work."""
    threads = [threading.Thread(target=target, args=args) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def ended(threads):
    """Wait for threads; one that never ends is a wake-up that was lost."""
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a waiter was never woken"


@pytest.mark.usefixtures("_many_switches")
def test_ten_thousand_threads_in_waves():
    storm = Storm()
    for _ in range(THREADS // WAVE):
        ended(started(storm.visit, WAVE))
    assert not storm.faults
    assert storm.server.most_open <= LARGEST
    assert storm.pool.uses() == THREADS
    storm.pool.close()


@pytest.mark.usefixtures("_many_switches")
def test_no_wake_up_is_lost():
    storm = Storm()
    ended(started(storm.visit, 24, 400))
    assert not storm.faults
    assert storm.server.most_open <= LARGEST
    assert storm.pool.uses() == 24 * 400
    assert storm.pool.level().waiting == 0
    storm.pool.close()


@pytest.mark.usefixtures("_many_switches")
def test_steering_a_pool_at_work_loses_nothing():
    storm = Storm()
    threads = started(storm.visit, 16, 300)
    while any(thread.is_alive() for thread in threads):
        storm.pool.evict()
        storm.pool.suspend()
        storm.pool.resume()
        storm.pool.resize(0, random.randint(1, LARGEST))
        storm.pool.tend(is_due=True)
    storm.pool.resize(0, LARGEST)
    assert not storm.faults
    assert storm.server.most_open <= LARGEST
    assert storm.pool.uses() == 16 * 300
    storm.pool.close()
