"""The pool against a model: whatever is done in whatever order, nobody shares, nothing is lost, nothing is dirty."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from django_perf.pool import ConnectionPool, PoolClosed, PoolError
from django_perf.pool.keeper import keeper
from tests.pool.fakes import Clock, FakeDriver, Server


def refuse(call):
    """Start no thread."""
    raise RuntimeError("can't start new thread")


class PoolMachine(RuleBasedStateMachine):
    """Borrow, return, kill, dirty, age, resize, evict, with a server that comes and goes.

    One thread, so that the same steps have the same outcome: no other can be started, and attempts to connect run on
    that of the borrower. What threads do to each other is in test_storm.py.
    """

    lent = Bundle("lent")

    @initialize(max_size=st.integers(1, 4), min_size=st.integers(0, 1), bypass=st.sampled_from([0.0, 0.1]))
    def make(self, max_size, min_size, bypass):
        self.unwatched = patch.object(keeper, "watch")
        self.unwatched.start()
        self.clock, self.server, self.driver = Clock(), Server(), FakeDriver()
        self.held: list = []
        self.most = max_size
        self.pool = ConnectionPool(
            self.server.connect,
            max_size=max_size,
            min_size=min_size,
            max_lifetime=500.0,
            max_uses=7,
            bypass=bypass,
            driver=self.driver,
            clock=self.clock,
            start=refuse,
        )

    @rule(target=lent)
    def borrow(self):
        is_full = len(self.held) >= self.pool.max_size
        try:
            conn = self.pool.getconn(timeout=0.001)
        except PoolClosed:
            assert self.pool.is_closed
            return multiple()
        except PoolError:
            assert is_full or self.server.error is not None or self.pool.breaker.is_open or self.pool._state
            return multiple()
        assert conn not in self.held, "two holders"
        assert not conn.is_closed, "closed while lent"
        assert not conn.is_dirty, "dirty"
        self.held.append(conn)
        return conn

    @rule(conn=consumes(lent))
    def give_back(self, conn):
        self.held.remove(conn)
        self.pool.putconn(conn)

    @rule(conn=lent)
    def dirty(self, conn):
        conn.is_dirty = True

    @rule(which=st.integers(0, 10))
    def die(self, which):
        living = self.server.living()
        if living:
            living[which % len(living)].is_dead = True

    @rule(seconds=st.sampled_from([0.01, 0.2, 1.0, 70.0, 400.0]))
    def age(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def tend(self):
        self.pool.tend(is_due=True)

    @rule(is_down=st.booleans())
    def change_server(self, is_down):
        self.server.error = OSError("down") if is_down else None

    @rule(size=st.integers(1, 4))
    def resize(self, size):
        self.pool.resize(0, size)
        self.most = max(self.most, size)

    @rule()
    def evict(self):
        self.pool.evict()

    @rule()
    def suspend_and_resume(self):
        self.pool.suspend()
        self.pool.resume()

    @invariant()
    def holds(self):
        if not hasattr(self, "pool"):
            return
        assert len(self.server.living()) <= self.most, "more than max_size open"
        assert all(not conn.is_closed for conn in self.held), "closed while lent"
        idle = [slot.conn for slot in self.pool.idle.copy()]
        assert not set(map(id, idle)) & set(map(id, self.held)), "idle and lent"
        assert self.pool.level().in_use == len(self.held)

    def teardown(self):
        if hasattr(self, "pool"):
            self.unwatched.stop()
            self.server.error = None
            self.pool.close()
            for conn in self.held:
                self.pool.putconn(conn)
            assert self.pool.level().size == 0


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
