"""Of many threads that want the same at the same time one computes; whoever comes after a change computes anew."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Thread

import pytest

from django_perf.cache.single_flight import SingleFlight
from tests.waiting import wait_until

FOLLOWERS = 8


class Computation:
    """Computes when it is let go; counts how often it was asked. Raises what is no result."""

    def __init__(self, result="value"):
        self.result, self.calls = result, 0
        self.began, self.may_end = Event(), Event()

    def __call__(self):
        self.calls += 1
        self.began.set()
        assert self.may_end.wait(10)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def flights():
    return SingleFlight()


@pytest.fixture
def threads():
    """Threads that have all ended after the test."""
    with ThreadPoolExecutor(3 * FOLLOWERS) as pool:
        yield pool


def waiting(flights, key="key"):
    """Return how many threads wait for a key."""
    flight = flights._flights.get(key)
    return 0 if flight is None else len(flight.done._cond._waiters)


def led(flights, threads, computation, basis=None):
    """Return a leader that is computing."""
    leader = threads.submit(flights.do, "key", computation, basis)
    assert computation.began.wait(10)
    return leader


def followed(flights, threads, computation, count=FOLLOWERS, basis=None):
    """Return threads that wait for a leader; each would compute by itself if it had to."""
    before = waiting(flights)
    followers = [threads.submit(flights.do, "key", computation, basis) for _ in range(count)]
    wait_until(lambda: waiting(flights) == before + count)
    return followers


def never():
    raise AssertionError("somebody else computes")


def test_many_threads_share_one_computation_and_know_it(flights, threads):
    computation = Computation(result := object())
    leader = led(flights, threads, computation)
    followers = followed(flights, threads, never)
    computation.may_end.set()
    assert leader.result(10) == (result, False)
    assert [one.result(10) for one in followers] == [(result, True)] * FOLLOWERS
    assert computation.calls == 1


def test_threads_that_start_together_compute_once(flights, threads):
    computation = Computation()
    asking = [threads.submit(flights.do, "key", computation) for _ in range(FOLLOWERS + 1)]
    wait_until(lambda: waiting(flights) == FOLLOWERS)
    computation.may_end.set()
    assert sorted(is_shared for _, is_shared in (one.result(10) for one in asking)) == [False] + [True] * FOLLOWERS
    assert computation.calls == 1


def test_what_the_leader_raises_all_raise_and_the_next_one_computes(flights, threads):
    computation = Computation(error := ValueError("broken"))
    leader = led(flights, threads, computation)
    followers = followed(flights, threads, never)
    computation.may_end.set()
    assert {one.exception(10) for one in (leader, *followers)} == {error}
    assert flights.do("key", lambda: "mended") == ("mended", False)


@pytest.mark.parametrize("result", [None, False, 0, "", []])
def test_nothing_is_a_value(flights, threads, result):
    computation = Computation(result)
    led(flights, threads, computation)
    followers = followed(flights, threads, never)
    computation.may_end.set()
    assert [one.result(10) for one in followers] == [(result, True)] * FOLLOWERS


def test_a_value_is_not_kept(flights):
    numbers = itertools.count(1)
    assert [flights.do("key", lambda: next(numbers)) for _ in range(3)] == [(1, False), (2, False), (3, False)]
    assert flights._flights == {}


def test_another_key_is_another_computation(flights, threads):
    computation = Computation()
    led(flights, threads, computation)
    assert flights.do("other", lambda: "other") == ("other", False)
    computation.may_end.set()


def test_a_leader_that_is_stopped_is_replaced_by_one_of_those_who_wait(flights, threads):
    stopped, second = Computation(SystemExit()), Computation("second")
    leader = led(flights, threads, stopped)
    followers = followed(flights, threads, second)
    stopped.may_end.set()
    wait_until(lambda: waiting(flights) == FOLLOWERS - 1)
    second.may_end.set()
    assert isinstance(leader.exception(10), SystemExit)
    assert sorted(one.result(10) for one in followers) == [("second", False)] + [("second", True)] * (FOLLOWERS - 1)
    assert second.calls == 1


# --- what was changed meanwhile -----------------------------------------------------------------------------------


FORGET = {
    "forget": lambda flights: flights.forget(["other", "key"]),
    "forget_all": lambda flights: flights.forget_all(),
}


@pytest.mark.parametrize("forget", FORGET)
def test_who_comes_after_forget_computes_anew_and_who_came_before_gets_the_old(flights, threads, forget):
    old, new = Computation("old"), Computation("new")
    first = led(flights, threads, old)
    followers = followed(flights, threads, never)
    FORGET[forget](flights)
    second = led(flights, threads, new)
    later = followed(flights, threads, never)
    old.may_end.set()
    assert first.result(10) == ("old", False)
    assert [one.result(10) for one in followers] == [("old", True)] * FOLLOWERS
    assert waiting(flights) == FOLLOWERS, "the old leader's end is not the new one's"
    new.may_end.set()
    assert second.result(10) == ("new", False)
    assert [one.result(10) for one in later] == [("new", True)] * FOLLOWERS
    assert flights._flights == {}


def test_to_forget_another_key_or_nothing_changes_nothing(flights, threads):
    flights.forget(["key"])
    flights.forget_all()
    computation = Computation()
    led(flights, threads, computation)
    flights.forget(["other"])
    flights.forget([])
    followers = followed(flights, threads, never)
    computation.may_end.set()
    assert [one.result(10) for one in followers] == [("value", True)] * FOLLOWERS


def test_only_who_goes_by_the_same_shares(flights, threads):
    old, new = Computation("old"), Computation("new")
    first = led(flights, threads, old, {"tag": 1})
    before = followed(flights, threads, never, 2, {"tag": 1})
    second = led(flights, threads, new, {"tag": 2})
    after = followed(flights, threads, never, 2, {"tag": 2})
    old.may_end.set()
    assert [one.result(10) for one in (first, *before)] == [("old", False), ("old", True), ("old", True)]
    assert waiting(flights) == 2
    new.may_end.set()
    assert [one.result(10) for one in (second, *after)] == [("new", False), ("new", True), ("new", True)]


def test_nobody_gets_what_was_begun_before_the_last_change_that_he_knows_of(flights):
    keys, source, interval = [str(number) for number in range(3)], random.Random(1), sys.getswitchinterval()
    steps, changed, lock, faults, shared = itertools.count(1), dict.fromkeys(keys, 0), Lock(), [], []

    def change(key):
        at = next(steps)
        flights.forget([key])
        with lock:
            changed[key] = max(changed[key], at)

    def compute():
        began = next(steps)
        time.sleep(0.0002)
        return began

    def work(number):
        own = random.Random(number)
        for _ in range(300):
            key = own.choice(keys)
            if own.random() < 0.2:
                change(key)
            known = changed[key]
            began, is_shared = flights.do(key, compute)
            shared.append(is_shared)
            if began < known:
                faults.append((key, began, known))

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(FOLLOWERS) as pool:
            list(pool.map(work, source.sample(range(1_000), FOLLOWERS)))
    finally:
        sys.setswitchinterval(interval)
    assert faults == []
    assert 100 < sum(shared) < len(shared) - 100
    assert flights._flights == {}


# --- those who do not wait ----------------------------------------------------------------------------------------


def test_who_has_no_patience_left_computes_for_himself_and_disturbs_nobody(threads):
    flights, computation = SingleFlight(patience=0.05), Computation()
    leader = led(flights, threads, computation)
    began = time.monotonic()
    assert flights.do("key", lambda: "own") == ("own", False)
    assert time.monotonic() - began >= 0.05
    with pytest.raises(ZeroDivisionError):
        flights.do("key", lambda: 1 / 0)
    flights.patience = 10.0
    (follower,) = followed(flights, threads, never, 1)
    computation.may_end.set()
    assert (leader.result(10), follower.result(10)) == (("value", False), ("value", True))


def test_to_lead_is_to_compute_or_to_leave_it_at_once(flights, threads):
    computation = Computation()
    leader = threads.submit(flights.lead, "key", computation)
    assert computation.began.wait(10)
    assert flights.lead("key", never) == (None, False)
    assert flights.lead("other", lambda: "other") == ("other", True)
    (follower,) = followed(flights, threads, never, 1)
    computation.may_end.set()
    assert (leader.result(10), follower.result(10)) == (("value", True), ("value", True))
    assert flights.lead("key", lambda: "again") == ("again", True)


def test_nobody_leads_what_somebody_does(flights, threads):
    computation = Computation()
    led(flights, threads, computation)
    assert flights.lead("key", never) == (None, False)
    computation.may_end.set()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_leader_that_fails_leaves_its_place(flights, error):
    def fail():
        raise error

    with pytest.raises(error):
        flights.lead("key", fail)
    assert flights.lead("key", lambda: "value") == ("value", True)


@pytest.mark.parametrize("forget", FORGET)
def test_after_forget_somebody_else_may_lead(flights, threads, forget):
    old, new = Computation("old"), Computation("new")
    first = threads.submit(flights.lead, "key", old)
    assert old.began.wait(10)
    FORGET[forget](flights)
    second = threads.submit(flights.lead, "key", new)
    assert new.began.wait(10)
    old.may_end.set()
    assert first.result(10) == ("old", True)
    assert flights.lead("key", never) == (None, False)
    new.may_end.set()
    assert second.result(10) == ("new", True)


@pytest.mark.parametrize("way", ["do", "lead"])
def test_a_computation_that_needs_its_own_result_computes(flights, threads, way):
    outer = Computation("outer")

    def compute():
        inner = flights.do("key", lambda: "inner")
        return inner, flights.lead("key", never), outer()

    leader = threads.submit(getattr(flights, way), "key", compute)
    assert outer.began.wait(10)
    (follower,) = followed(flights, threads, never, 1)
    outer.may_end.set()
    value = ("inner", False), (None, False), "outer"
    assert leader.result(10) == (value, way == "lead")
    assert follower.result(10) == (value, True)


def test_a_computation_that_changes_its_own_key_computes_it_anew(flights):
    def compute():
        flights.forget(["key"])
        return flights.do("key", lambda: "inner"), flights.lead("key", lambda: "led")

    assert flights.do("key", compute) == ((("inner", False), ("led", True)), False)
    assert flights._flights == {}


def test_what_is_deleted_in_the_middle_of_a_step_locks_nobody_out(flights):
    class Basis:
        """Compared under the lock; whatever is freed there may delete keys."""

        def __eq__(self, other):
            return flights.forget(["other", "key"]) is None

    computation, found = Computation(), []
    for compute in (computation, never):  # whom nobody waits for, if they wait for ever
        Thread(target=lambda: found.append(flights.do("key", compute, Basis())), daemon=True).start()  # noqa: B023
        assert computation.began.wait(10)
    wait_until(lambda: not flights._flights)
    computation.may_end.set()
    wait_until(lambda: len(found) == 2)
    assert sorted(found) == [("value", False), ("value", True)]


# --- after a fork -------------------------------------------------------------------------------------------------


def test_to_forget_the_parent_is_to_begin_empty(flights, threads):
    computation = Computation("parent")
    leader = led(flights, threads, computation)
    followers = followed(flights, threads, never)
    flights.forget_parent()
    assert flights.lead("key", lambda: "child") == ("child", True)
    child = Computation("child")
    second = led(flights, threads, child)
    computation.may_end.set()
    assert [one.result(10)[0] for one in (leader, *followers)] == ["parent"] * (FOLLOWERS + 1)
    assert flights.lead("key", never) == (None, False)
    child.may_end.set()
    assert second.result(10) == ("child", False)


FORK = """
import os, signal, sys, threading
from django_perf.cache.single_flight import SingleFlight
signal.alarm(20)
flights, began, may_end = SingleFlight(), threading.Event(), threading.Event()
def compute():
    began.set()
    may_end.wait()
    return "parent"
leader = threading.Thread(target=flights.do, args=("key", compute))
leader.start()
began.wait()
locked, done = threading.Event(), threading.Event()
def hold():
    with flights._lock:
        locked.set()
        done.wait()
holder = threading.Thread(target=hold)
holder.start()
locked.wait()
pid = os.fork()
if not pid:
    signal.alarm(10)
    flights.forget_parent()
    flights.forget(["key"])
    os._exit(0 if flights.do("key", lambda: "child") == ("child", False) else 9)
status = os.waitpid(pid, 0)[1]
done.set()
holder.join()
is_led = flights.lead("key", lambda: "second") == (None, False)
may_end.set()
leader.join()
sys.exit(os.waitstatus_to_exitcode(status) or not is_led)
"""


def test_a_child_waits_for_no_thread_of_its_parent():
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    assert subprocess.run(command, timeout=30, check=False).returncode == 0
