"""The pool by itself, on fake connections."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from django_perf.pool import ConnectionPool, PoolClosed, PoolError, PoolTimeout, TooManyRequests
from django_perf.pool.fork import new_mark
from tests.pool.fakes import Clock, FakeDriver, Server, until


@pytest.fixture
def server():
    """Something to connect to."""
    return Server()


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def make(server):
    """Make pools and close them."""
    pools = []

    def make(**options):
        pools.append(ConnectionPool(server.connect, driver=FakeDriver(), **{"name": "test", "max_size": 2, **options}))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def in_thread(call):
    """Run in a thread that has been joined; return its result or its exception."""
    box = []

    def run():
        try:
            box.append(call())
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return box[0]


def test_a_returned_connection_is_lent_again(make, server):
    pool = make()
    first = pool.getconn()
    pool.putconn(first)
    assert pool.getconn() is first
    assert len(server.opened) == 1


def test_the_last_returned_is_lent_first(make):
    pool = make()
    one, two = pool.getconn(), pool.getconn()
    pool.putconn(two)
    pool.putconn(one)
    assert pool.getconn() is one


def test_never_more_than_max_size_are_open(make, server):
    pool = make(max_size=2, timeout=0.05)
    pool.getconn()
    pool.getconn()
    with pytest.raises(PoolTimeout, match=r"pool 'test': no connection after 0\.\d+ s \(max 2, in use 2, waiting 0"):
        pool.getconn()
    assert len(server.living()) == 2


def test_the_timeout_names_the_oldest_holder(make):
    pool = make(max_size=1)
    pool.getconn()
    with pytest.raises(PoolTimeout, match=r"oldest held \d+\.\d s by thread MainThread at pool/test_pool.py:\d+\)"):
        pool.getconn(timeout=0.01)


def test_waiters_are_served_in_their_order(make):
    pool = make(max_size=1)
    held = pool.getconn()
    order = []

    def wait(number):
        conn = pool.getconn()
        order.append(number)
        pool.putconn(conn)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: pool.level().waiting == number + 1)
    pool.putconn(held)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_nobody_overtakes_those_who_wait(make):
    pool = make(max_size=1)
    held = pool.getconn()
    got = []
    waiter = threading.Thread(target=lambda: got.append(pool.getconn()))
    waiter.start()
    until(lambda: pool.level().waiting == 1)
    pool.putconn(held)
    with pytest.raises(PoolTimeout):
        pool.getconn(timeout=0.01)
    waiter.join()
    assert got == [held]


def test_max_waiting_refuses_the_next(make):
    pool = make(max_size=1, max_waiting=1)
    held = pool.getconn()
    waiter = threading.Thread(target=lambda: pool.putconn(pool.getconn()))
    waiter.start()
    until(lambda: pool.level().waiting == 1)
    with pytest.raises(TooManyRequests, match="1 wait already"):
        pool.getconn()
    pool.putconn(held)
    waiter.join()


def test_a_connection_returned_twice_is_refused(make):
    pool = make()
    conn = pool.getconn()
    pool.putconn(conn)
    with pytest.raises(PoolError, match="returned twice"):
        pool.putconn(conn)


def test_what_cannot_be_cleaned_is_closed(make, server):
    pool = make()
    conn = pool.getconn()
    conn.is_dead = True
    pool.putconn(conn)
    assert conn.is_closed
    assert pool.getconn() is not conn


def test_a_dead_idle_connection_is_replaced(make, clock):
    pool = make(clock=clock)
    conn = pool.getconn()
    pool.putconn(conn)
    conn.is_dead = True
    clock.advance(0.2)
    fresh = pool.getconn()
    assert fresh is not conn
    assert conn.is_closed
    assert pool.get_stats()["connections_lost"] == 1


def test_what_was_used_a_moment_ago_is_not_looked_at(make, clock):
    pool = make(clock=clock)
    conn = pool.getconn()
    pool.putconn(conn)
    conn.is_dead = True
    clock.advance(0.001)
    assert pool.getconn() is conn


def test_a_connection_idle_for_half_a_second_makes_a_round_trip(make, clock):
    pool = make(clock=clock)
    pool.putconn(pool.getconn())
    clock.advance(0.4)
    pool.putconn(pool.getconn())
    assert pool.driver.pings == 0
    clock.advance(0.6)
    pool.putconn(pool.getconn())
    assert pool.driver.pings == 1


def test_one_dead_connection_makes_the_others_suspect(make, clock):
    pool = make(clock=clock)
    one, two = pool.getconn(), pool.getconn()
    pool.putconn(one)
    pool.putconn(two)
    two.is_dead = True
    clock.advance(0.2)
    assert pool.getconn() is one
    assert pool.driver.pings == 1


def test_the_lifetime_ends_at_checkout_and_at_return(make, clock):
    pool = make(clock=clock, max_lifetime=10.0)
    conn = pool.getconn()
    clock.advance(11)
    pool.putconn(conn)
    assert conn.is_closed
    other = pool.getconn()
    pool.putconn(other)
    clock.advance(11)
    assert pool.getconn() is not other
    assert pool.get_stats()["closed_lifetime"] == 2


def test_lifetimes_are_jittered_downwards(make):
    pool = make(max_size=50, max_lifetime=100.0)
    for _ in range(50):
        pool.getconn()
    lifetimes = {round(slot.expires_at - slot.taken_at, 1) for slot in pool.slots}
    assert len(lifetimes) > 20
    assert all(89.0 <= lifetime <= 100.0 for lifetime in lifetimes)


def test_max_uses(make):
    pool = make(max_uses=2)
    conn = pool.getconn()
    pool.putconn(conn)
    pool.putconn(pool.getconn())
    assert conn.is_closed


def test_a_final_error_reaches_the_caller_at_once(make, server):
    server.error = PermissionError("password authentication failed")
    began = time.monotonic()
    with pytest.raises(PermissionError, match="password"):
        make().getconn()
    assert time.monotonic() - began < 2


def test_a_passing_error_is_tried_again_within_the_timeout(make, server):
    server.error = OSError("starting up")
    pool = make()
    threading.Timer(0.2, lambda: setattr(server, "error", None)).start()
    pool.putconn(pool.getconn())
    assert pool.get_stats()["connections_errors"] >= 2


def test_the_timeout_carries_the_reason(make, server):
    server.error = OSError("starting up")
    with pytest.raises(PoolTimeout, match="connecting fails: starting up") as caught:
        make().getconn(timeout=0.1)
    assert str(caught.value.__cause__) == "starting up"


def test_the_breaker_opens_after_a_second_and_then_refuses_at_once(make, server):
    server.error = OSError("down")
    pool = make()
    with pytest.raises(PoolTimeout, match="has not answered for 1"):
        pool.getconn()
    began = time.monotonic()
    with pytest.raises(PoolTimeout, match="has not answered"):
        pool.getconn()
    assert time.monotonic() - began < 0.5
    server.error = None
    until(lambda: not pool.breaker.is_open)
    pool.putconn(pool.getconn())


def test_while_nothing_connects_only_half_may_wait(make, server):
    server.error = OSError("down")
    pool = make(max_size=4)
    pool.breaker.tolerance = 30.0
    outcomes = []

    def ask():
        try:
            pool.getconn(timeout=1.0)
        except PoolError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: pool.breaker.failing_s() > 0.5)
    with pytest.raises(TooManyRequests):
        pool.getconn()
    for thread in threads:
        thread.join()
    assert outcomes == [PoolTimeout, PoolTimeout]


def test_a_dead_thread_gives_its_slot_back(make):
    pool = make(max_size=1)
    lost = in_thread(pool.getconn)
    assert pool.getconn(timeout=1) is not lost
    assert lost.is_closed
    assert pool.get_stats()["closed_owner_died"] == 1


def test_ten_threads_that_never_return_do_not_eat_a_pool_of_four(make):
    pool = make(max_size=4, timeout=1.0)
    for _ in range(10):
        assert not isinstance(in_thread(pool.getconn), Exception)


def test_a_leak_is_reported_once_with_the_stack_of_the_holder(make, clock, caplog):
    pool = make(clock=clock, leak_after=60.0)
    holding, done = threading.Event(), threading.Event()

    def hold_for_ever():
        conn = pool.getconn()
        holding.set()
        done.wait()
        pool.putconn(conn)

    holder = threading.Thread(target=hold_for_ever, name="holder")
    holder.start()
    holding.wait()
    clock.advance(61)
    pool.tend(is_due=True)
    pool.tend(is_due=True)
    done.set()
    holder.join()
    (record,) = [record for record in caplog.records if "has been held" in record.message]
    assert "by thread holder" in record.message
    assert "hold_for_ever" in record.message
    assert pool.get_stats()["leaks"] == 1


def test_idle_connections_go_down_to_the_minimum(make, clock):
    pool = make(clock=clock, max_size=4, min_size=1, max_idle=300, keepalive=10_000)
    for conn in [pool.getconn() for _ in range(4)]:
        pool.putconn(conn)
    clock.advance(301)
    pool.tend(is_due=True)
    assert pool.level().size == 1


def test_the_minimum_is_filled(make, server):
    pool = make(max_size=5, min_size=3)
    pool.putconn(pool.getconn())
    pool.tend(is_due=True)
    until(lambda: pool.level().idle == 3)
    assert len(server.living()) == 3


def test_without_new_threads_the_minimum_waits(server):
    pool = ConnectionPool(server.connect, driver=FakeDriver(), min_size=3, start=refuse)
    pool.putconn(pool.getconn(timeout=1))
    pool.tend(is_due=True)
    assert (pool.level().size, pool.opener.attempts) == (1, {})
    pool.close()


def test_an_idle_connection_is_kept_alive_without_becoming_young(make, clock):
    pool = make(clock=clock, keepalive=60.0, max_idle=300.0, min_size=0)
    conn = pool.getconn()
    pool.putconn(conn)
    for _ in range(4):
        clock.advance(61)
        pool.tend(is_due=True)
        until(lambda: pool.level().idle == 1 and not pool.watchdog.checking)
    assert pool.driver.pings == 4
    clock.advance(61)
    pool.tend(is_due=True)
    assert conn.is_closed


def test_resize(make):
    pool = make(max_size=4)
    conns = [pool.getconn() for _ in range(4)]
    pool.putconn(conns.pop())
    pool.resize(0, 2)
    assert pool.level().size == 3
    pool.putconn(conns.pop())
    assert pool.level().size == 2
    pool.resize(0, 3)
    pool.getconn(timeout=1)
    assert pool.level().size == 3


def test_evict_replaces_idle_and_lent_ones(make):
    pool = make()
    lent, idle = pool.getconn(), pool.getconn()
    pool.putconn(idle)
    pool.evict()
    assert idle.is_closed
    assert not lent.is_closed
    pool.putconn(lent)
    assert lent.is_closed


def test_a_retired_pool_keeps_nothing_and_lends_all_the_same(make, server):
    pool = make()
    lent, idle = pool.getconn(), pool.getconn()
    pool.putconn(idle)
    pool.retire()
    assert idle.is_closed
    pool.putconn(lent)
    pool.putconn(pool.getconn(timeout=1))
    assert not server.living()


AT_EXIT = """
import atexit
from django_perf.pool import ConnectionPool
from tests.pool.fakes import FakeDriver, Server
server = Server()
pool = ConnectionPool(server.connect, driver=FakeDriver())
def last_words():
    pool.putconn(pool.getconn(timeout=1))
    print(len(server.opened), len(server.living()))
atexit.register(last_words)
pool.putconn(pool.getconn())
"""


def test_at_exit_a_pool_still_serves_those_who_end_after_it():
    command = [sys.executable, "-W", "ignore", "-c", AT_EXIT]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.split() == ["2", "0"], result.stderr


def test_suspend_lets_callers_wait_until_resume(make):
    pool = make()
    pool.putconn(pool.getconn())
    pool.suspend()
    with pytest.raises(PoolTimeout):
        pool.getconn(timeout=0.02)
    threading.Timer(0.05, pool.resume).start()
    pool.putconn(pool.getconn(timeout=5))


def test_close(make, server):
    pool = make()
    lent, idle = pool.getconn(), pool.getconn()
    pool.putconn(idle)
    pool.close()
    assert idle.is_closed
    with pytest.raises(PoolClosed):
        pool.getconn()
    pool.putconn(lent)
    assert not server.living()


def test_close_fails_those_who_wait(make):
    pool = make(max_size=1)
    pool.getconn()
    threading.Timer(0.05, pool.close).start()
    with pytest.raises(PoolClosed):
        pool.getconn(timeout=10)


def test_connection_commits_or_rolls_back(make):
    pool = make()
    with pool.connection() as conn:
        assert pool.level().in_use == 1
    with pytest.raises(ZeroDivisionError), pool.connection() as again:
        raise ZeroDivisionError
    assert again is conn
    assert pool.level().in_use == 0


def test_a_child_starts_empty_and_never_closes_what_it_inherited(make):
    pool = make()
    lent, idle = pool.getconn(), pool.getconn()
    pool.putconn(idle)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        fresh = pool.getconn(timeout=5)
        pool.putconn(lent)
        is_right = fresh not in (lent, idle) and not lent.is_closed and not idle.is_closed and pool.level().size == 1
        os.write(write, b"1" if is_right else b"0")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 1) == b"1"
    pool.putconn(lent)
    assert pool.level().size == 2


def test_an_overdue_statement_is_cut_and_its_connection_never_lent_again(make, clock):
    pool = make(clock=clock, statement_limit=32.0)
    conn = pool.getconn()
    slot = pool.taken[conn]
    slot.since = clock()
    clock.advance(31)
    pool.tend(is_due=False)
    assert not slot.channel.was_cut
    clock.advance(2)
    pool.tend(is_due=False)
    assert slot.channel.was_cut
    slot.since = 0.0
    pool.putconn(conn)
    assert conn.is_closed


def test_a_slow_statement_of_a_living_server_is_left_alone(make, clock):
    pool = make(clock=clock)
    slot = pool.taken[pool.getconn()]
    slot.since = clock()
    clock.advance(20)
    pool.tend(is_due=False)
    until(lambda: not pool.watchdog._is_asking)
    assert not slot.channel.was_cut
    assert not pool.breaker.is_open


def test_a_statement_that_the_server_does_not_know_of_is_cut(make, clock):
    pool = make(clock=clock)
    slot = pool.taken[pool.getconn()]
    slot.since = clock()
    pool.driver.lost = [slot]
    clock.advance(1)
    pool.tend(is_due=False)
    until(lambda: slot.channel.was_cut)
    assert slot.doom == "lost"


def test_on_a_silent_server_all_statements_are_cut_and_nobody_waits(make, server, clock):
    pool = make(clock=clock)
    slot = pool.taken[pool.getconn()]
    slot.since = clock()
    pool.driver.knocks = "silent"
    server.error = OSError("timeout")
    clock.advance(1)
    pool.tend(is_due=False)
    until(lambda: slot.channel.was_cut)
    with pytest.raises(PoolTimeout, match="has not answered"):
        pool.getconn()
    pool.driver.knocks, server.error = "up", None
    until(lambda: not pool.breaker.is_open)


def test_an_attempt_that_hangs_is_written_off_and_the_next_one_is_made(make, server, clock):
    pool = make(clock=clock, max_size=1)
    hangs, go_on = threading.Event(), threading.Event()
    connect = pool.opener._connect

    def hang():
        hangs.set()
        go_on.wait()
        return connect()

    pool.opener._connect = hang
    outcome = []
    waiter = threading.Thread(target=lambda: outcome.append(in_thread(lambda: pool.getconn(timeout=30))))
    waiter.start()
    hangs.wait()
    pool.opener._connect = connect
    clock.advance(3)
    pool.tend(is_due=False)
    waiter.join()
    assert isinstance(outcome[0], PoolTimeout)
    until(lambda: pool.level().idle == 1)
    assert not pool.breaker.is_open
    go_on.set()
    until(lambda: len(server.living()) == 1 and not pool.opener._written_off)
    assert pool.level().size == 1


def test_a_question_that_finds_no_thread_is_asked_again(make, clock):
    pool = make(clock=clock)
    slot = pool.taken[pool.getconn()]
    slot.since = clock()
    clock.advance(1)
    start, pool.opener._start = pool.opener._start, refuse
    pool.tend(is_due=True)
    pool.opener._start = start
    pool.driver.lost = [slot]
    clock.advance(3)
    pool.tend(is_due=False)
    until(lambda: slot.channel.was_cut)
    assert slot.doom == "lost"


def refuse(call):
    """Start no thread, as at the end of a process."""
    raise RuntimeError("can't start new thread")


def test_a_statement_that_ends_at_the_moment_of_the_cut_keeps_its_connection(make, clock):
    pool = make(clock=clock, statement_limit=5.0)
    conn = pool.getconn()
    slot = pool.taken[conn]
    slot.since = clock() + 3
    pool.watchdog.cut(slot, clock(), "overdue")
    assert not slot.doom
    assert not slot.channel.was_cut


def test_a_signal_in_the_middle_of_cleaning_or_checking_loses_no_slot(make, clock):
    pool = make(max_size=1, clock=clock)

    def stop(slot):
        raise SystemExit

    conn = pool.getconn()
    conn.is_dirty = True
    pool.driver.clean = stop
    with pytest.raises(SystemExit):
        pool.putconn(conn)
    pool.putconn(pool.getconn(timeout=1))
    clock.advance(1)
    pool.driver.ping = stop
    with pytest.raises(SystemExit):
        pool.getconn()
    pool.putconn(pool.getconn(timeout=1))


def test_without_new_threads_the_caller_opens(server):
    pool = ConnectionPool(server.connect, driver=FakeDriver(), start=refuse)
    pool.putconn(pool.getconn(timeout=1))
    assert pool.level().size == 1
    pool.close()


def test_without_new_threads_and_without_a_server_the_caller_comes_back(server):
    server.error = OSError("down")
    pool = ConnectionPool(server.connect, driver=FakeDriver(), start=refuse)
    for _ in range(3):
        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=0.1)
    pool.breaker.trip()
    with pytest.raises(PoolTimeout):
        pool.getconn(timeout=0.1)
    pool.close()


def test_garbage_that_is_collected_under_the_lock_may_return_a_connection(server):
    pool = ConnectionPool(server.connect, driver=FakeDriver(), max_size=3)
    waiting = []

    def collect(call):
        if waiting:
            pool.putconn(waiting.pop())
        threading.Thread(target=call, daemon=True).start()

    waiting.append(pool.getconn())
    pool.opener._start = collect
    outcome = in_thread(lambda: pool.getconn(timeout=5))
    assert not isinstance(outcome, Exception)
    assert pool.level().size <= 3
    pool.close()


def test_a_checkout_that_began_meanwhile_is_not_reclaimed(make):
    pool = make(max_size=1)
    mine = []

    def look_slowly(slot):
        if not mine:  # between the look at the dead owner and its answer, the connection changes hands
            mine.append(slot.conn)
            slot.owner = threading.current_thread()
            return True
        return type(pool.driver).is_abandoned(pool.driver, slot)

    in_thread(pool.getconn)
    pool.driver.is_abandoned = look_slowly
    pool.reclaim()
    assert pool.level().in_use == 1
    assert not mine[0].is_closed


def test_a_slot_in_no_place_is_found(make, clock):
    pool = make(max_size=1, clock=clock)
    pool.putconn(pool.getconn())
    conn = pool.idle.pop().conn  # as a signal handler that raises between two places would leave it
    pool.tend(is_due=True)
    clock.advance(9)
    pool.tend(is_due=True)
    assert not conn.is_closed
    clock.advance(2)
    pool.tend(is_due=True)
    assert conn.is_closed
    pool.putconn(pool.getconn(timeout=1))


def test_with_all_connections_lent_an_open_breaker_refuses_nobody(make):
    pool = make(max_size=1)
    lent = pool.getconn()
    pool.breaker.trip()
    threading.Timer(0.05, lambda: pool.putconn(lent)).start()
    assert pool.getconn(timeout=5) is lent


def test_who_was_admitted_is_not_refused_for_a_dead_connection(make, clock):
    pool = make(max_size=1, max_waiting=1, clock=clock, timeout=20)
    held = pool.getconn()
    outcomes = []
    waiter = threading.Thread(target=lambda: outcomes.append(in_thread(pool.getconn)))
    waiter.start()
    until(lambda: pool.level().waiting == 1)
    slot = pool.taken[held]
    slot.released_at = clock() - 10
    pool.lock.acquire()
    held.is_dead = True
    pool.lock.release()
    pool.driver.is_clean = lambda slot: True
    pool.suspected_at = clock() + 1
    pool.putconn(held)
    waiter.join()
    assert outcomes
    assert not isinstance(outcomes[0], Exception)


def test_a_statement_that_overlapped_another_leaves_no_clock_running(make):
    pool = make()
    conn = pool.getconn()
    pool.taken[conn].since = 1.0
    pool.putconn(conn)
    assert pool.idle[0].since == 0.0


def test_the_pool_gives_threads_no_work_before_the_first_checkout(server):
    before = threading.active_count()
    pool = ConnectionPool(server.connect, driver=FakeDriver(), min_size=2)
    assert threading.active_count() == before
    assert not server.opened
    pool.close()


WITHOUT_HOOKS = """
import os, sys
os.register_at_fork = lambda **hooks: None
from django_perf.pool import ConnectionPool
from tests.pool.fakes import FakeDriver, Server
pool = ConnectionPool(Server().connect, driver=FakeDriver())
lent, idle = pool.getconn(), pool.getconn()
pool.putconn(idle)
if not os.fork():
    fresh = pool.getconn(timeout=5)
    os._exit(0 if fresh not in (lent, idle) and not idle.is_closed and pool.level().size == 1 else 9)
status = os.wait()[1]
sys.exit(os.waitstatus_to_exitcode(status) or pool.getconn() is not idle)
"""


def test_a_child_that_ran_no_hooks_starts_empty_too():
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_HOOKS]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_without_wiped_pages_the_pid_tells(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    mark = new_mark()
    assert mark[0]
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert not mark[0]
    mark[0] = 1
    assert mark[0]
