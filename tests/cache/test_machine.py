"""Any sequence of operations, faults and deliveries on two processes that share levels, against what is true.

The rules of the model. A read returns the newest value or none, and so does every later one, but:
1. What another process has written within `bound` may not have been heard of yet (1 s; 5 s where nobody tells).
2. What a process could not write below is dirty there until it has mended it: so long others may see what was there.
3. What is written at the same time may end in either order.
4. A write under an epoch that another process has just replaced, and of which this one has not been told, is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_perf.cache import repairs, shared
from django_perf.cache.backplane import MAX_SILENCE_S
from django_perf.cache.computing import TAG_TTL_S, Policy, new_epoch
from django_perf.cache.guard import Guard
from django_perf.cache.keys import Keys
from django_perf.cache.levels import Levels
from django_perf.cache.memory import Memory
from django_perf.cache.sealing import TOMBSTONE, Sealer, format_named
from django_perf.cache.shared import Shared
from django_perf.cache.tally import Tally
from django_perf.exceptions import CacheUnavailable
from tests.cache.conftest import ALL
from tests.cache.doubles import Gone, Link, RedisDouble, Refusing, Rows, Server, Steps, TableDouble, heard
from tests.pool.fakes import Clock

KEYS = ["a", "b"]
NOTHING = "nothing"
READS, WRITES = ["get", "get", "compute"], ["set", "set", "set", "delete", "delete", "invalidate", "invalidate"]
OPERATIONS = [*READS, *WRITES, "add", "incr", "touch", "clear"]
SOURCE, TAG = "source", "tag"
# A time is stored in milliseconds.
ROUNDING_S = 0.003
# Ten times as many find no more, and take minutes: for whoever changes the order of the levels.
EXAMPLES = int(os.environ.get("DJANGO_PERF_TEST_EXAMPLES", "40"))

processes = st.integers(0, 1)
ttls = st.sampled_from([None, None, 1, 3, 20])
kinds = st.sampled_from(["number", "text", "list"])


def some(names: list[str]) -> st.SearchStrategy[tuple]:
    """Draw an operation of these names: its process, its keys, and what it writes."""
    of_keys = st.sampled_from([["a"], ["a"], ["a"], ["a", "b"]])
    return st.tuples(st.sampled_from(names), processes, of_keys, kinds, ttls)


class Told:
    """The backplane of a process: it hears what the server tells when a rule says so."""

    mode, is_told_by_server, channel = "tracking", True, "none"

    def start(self) -> None:
        """Do nothing."""


class Process:
    """The levels of one process, and its links to the shared ones."""

    def __init__(self, names: tuple[str, ...], world: World) -> None:
        clock, sealer, tally = world.clock, Sealer([b"k" * 32], format_named("pickle")), Tally("machine")
        memory = Memory(4, clock=clock) if "L1" in names else None
        self.levels = Levels(Keys("m"), sealer, memory, 60.0, tally, clock)
        self.redis, self.table, self.messages = Link(), Link(), list[bytes | None]()
        guards = [
            self.guard("redis", RedisDouble(world.server, self.redis, world.steps), clock) if "L2" in names else None,
            self.guard("table", TableDouble(world.rows, self.table, world.steps), clock) if "L3" in names else None,
        ]
        if guards != [None, None]:
            self.share(Shared(sealer, tally, *guards, clock))
        if memory is not None and "L2" in names:
            self.levels.backplane = Told()
            world.server.told.append(self.messages)
        self.levels.namespace.forget_parent()
        self.levels.renewer.add = lambda lease: None

    def guard(self, name: str, level: object, clock: Clock) -> Guard:
        return Guard(name, level, (Gone, Refusing), (Gone,), self.levels.tally, lambda: None, clock)

    def share(self, below: Shared) -> None:
        self.levels.shared = below
        below.repairs.start = lambda: None
        below.repairs.on_return = self.levels.local.evict_all
        below.repairs.on_overflow = self.levels.clear
        below.repairs.on_mended = self.levels.mended

    def to_read(self, key: str) -> str:
        return self.levels.keys.entry(self.levels.head(self.levels.clock()), key, 1)

    def to_write(self, key: str) -> str:
        return self.levels.keys.entry(self.levels.head_to_write(self.levels.clock()), key, 1)

    def is_dirty(self) -> bool:
        below = self.levels.shared
        return below is not None and bool(below.repairs.redis or below.repairs.table)

    def has_wrong_rows(self) -> bool:
        return self.levels.shared is not None and bool(self.levels.shared.repairs.table)

    def deliver(self, number: int | None = None) -> None:
        messages = self.messages[:number]
        del self.messages[:number]
        if messages and (names := heard(messages)) is not None:
            self.levels.invalidated(names)
        elif messages:
            self.levels.forget_all()

    def beat(self, now: float) -> None:
        self.deliver()
        self.levels.trust(now + MAX_SILENCE_S)

    def mend(self) -> None:
        if self.levels.shared is not None:
            self.levels.shared.repairs._failures.clear()
            self.levels.shared.repairs.mend()


@dataclass(frozen=True)
class Version:
    """A value that a key had: until `ended`, by the write of `ender`; it lived until `ends` at most."""

    value: object
    ends: float
    ended: float = inf
    ender: int | None = None


@dataclass
class Known:
    """What the model knows of a key."""

    current: list[Version] = field(default_factory=list)
    past: list[Version] = field(default_factory=list)
    # Writes that have begun and not ended.
    pending: list[Version] = field(default_factory=list)
    # How many writes have ended.
    ended: int = 0

    def end(self, new: list[Version], now: float, process: int | None, is_alone: bool) -> None:
        """Let new versions take the place of the current ones, or stand beside them."""
        self.ended += 1
        if is_alone:
            self.past += [Version(one.value, one.ends, now, process) for one in self.current]
            self.current = new
        else:
            self.current = self.current + new


class World:
    """The clock, the shared levels, and all that is known."""

    def __init__(self) -> None:
        self.clock, self.steps = Clock(), Steps()
        self.server, self.rows = Server(self.clock), Rows(self.clock)
        self.known = {name: Known() for name in KEYS} | {SOURCE: Known([Version(0, inf)])}
        # Since when somebody is dirty, and when that ended; the same for those who have the table wrong.
        self.dirty_since, self.clean_at = inf, -inf
        self.table_clean_at = -inf


class Machine(RuleBasedStateMachine):
    """Let values vanish at any time; anything that is read has to be true."""

    names: tuple[str, ...] = ("L1", "L2", "L3")

    def __init__(self) -> None:
        super().__init__()
        self.world = world = World()
        shared.now_us = repairs.now_us = lambda: int((world.clock() + world.skew_s) * 1e6)
        world.skew_s = 0.0
        self.number = 0
        count = 1 if self.names == ("L1",) else 2
        self.processes = [Process(self.names, world) for _ in range(count)]
        is_told = "L2" in self.names
        self.bound = MAX_SILENCE_S if is_told or "L1" not in self.names else 5.0

    @initialize(skew_s=st.sampled_from([0.0, 0.0, 3600.0, -3600.0]))
    def start(self, skew_s: float) -> None:
        self.world.skew_s = skew_s
        for number in range(len(self.processes)):
            self.beat(number)

    @property
    def now(self) -> float:
        return self.world.clock()

    def process(self, number: int) -> int:
        return number % len(self.processes)

    def fresh(self, kind: str = "number") -> object:
        self.number += 1000
        return {"number": self.number, "text": str(self.number), "list": [self.number]}[kind]

    # --- what the model allows ------------------------------------------------------------------------------------

    def allowed(self, name: str, reader: int) -> list[object]:
        known, since = self.world.known[name], self.now - self.bound
        if self.now - self.world.clean_at <= self.bound + ROUNDING_S:
            since = min(since, self.world.dirty_since - self.bound)
        found = [*known.current, *known.pending]
        found += [one for one in known.past if one.ended >= since - ROUNDING_S and not self.is_own(one, reader)]
        return [one.value for one in found if one.ends + ROUNDING_S > self.now or self.is_unsure]

    @property
    def is_unsure(self) -> bool:
        """Tell whether somebody was dirty lately: an older life may have taken the place of a newer one."""
        return self.now - self.world.clean_at <= self.bound + ROUNDING_S

    def is_own(self, version: Version, reader: int) -> bool:
        """Tell whether the reader itself has ended it, and nobody can bring it back from the table."""
        return version.ender == reader and self.now - self.world.table_clean_at > self.bound + ROUNDING_S

    def note_dirt(self) -> None:
        if any(process.has_wrong_rows() for process in self.processes):
            self.world.table_clean_at = inf
        elif self.world.table_clean_at == inf:
            self.world.table_clean_at = self.now
        if any(process.is_dirty() for process in self.processes):
            self.world.dirty_since = min(self.world.dirty_since, self.now)
            self.world.clean_at = inf
        elif self.world.clean_at == inf:
            self.world.clean_at = self.now
        elif not self.is_unsure:
            self.world.dirty_since = inf

    def is_behind(self, number: int) -> bool:
        """Tell whether a process trusts an epoch that is not the present one any more."""
        namespace, epoch = self.processes[number].levels.namespace, self.world.server.items.get(b"m:epoch")
        is_trusted = "L2" in self.names and namespace.head and self.now < namespace.trusted_until
        is_known = epoch is not None and epoch.blob != TOMBSTONE
        return bool(is_trusted) and not (is_known and namespace.head == f"m:{int(epoch.blob):012x}:")

    def is_listening(self, number: int) -> bool:
        process = self.processes[number]
        return process.levels.backplane is None or any(one is process.messages for one in self.world.server.told)

    @contextmanager
    def writing(self, number: int, names: list[str], value: object, ttl: float | None) -> Iterator[list[bool]]:
        """Note a write; the block appends whether it took place (True), did not (False), or nobody knows (nothing)."""
        version = Version(value, inf if ttl is None else self.now + ttl)
        known = [self.world.known[name] for name in names]
        before = [one.ended for one in known]
        for one in known:
            one.pending.append(version)
        was_behind, outcome = self.is_behind(number), list[bool]()
        yield outcome
        for one, ended in zip(known, before, strict=True):
            one.pending.remove(version)
            is_alone = one.ended == ended and not one.pending and not was_behind and outcome == [True]
            if outcome != [False]:
                one.end([version], self.now, number, is_alone)
        self.note_dirt()

    # --- operations -----------------------------------------------------------------------------------------------

    def do_get(self, number: int, names: list[str]) -> None:
        process = self.processes[number]
        before = {name: self.allowed(name, number) for name in names}
        physicals = {process.to_read(name): name for name in names}
        found = process.levels.read_many(list(physicals)) if len(names) > 1 else self.one(process, *physicals)
        self.note_dirt()
        for physical, entry in found.items():
            if entry.fresh_for > 0:
                name = physicals[physical]
                allowed = [*before[name], *self.allowed(name, number)]
                assert entry.value in allowed, f"{name} is {entry.value!r} from {entry.level}, allowed {allowed!r}"

    @staticmethod
    def one(process: Process, physical: str) -> dict:
        entry = process.levels.read(physical)
        return {} if entry is None else {physical: entry}

    def do_set(self, number: int, names: list[str], kind: str, ttl: float | None) -> None:
        process, value = self.processes[number], self.fresh(kind)
        with self.writing(number, names, value, ttl) as outcome:
            process.levels.write_many({process.to_write(name): value for name in names}, ttl)
            outcome.append(True)

    def do_delete(self, number: int, names: list[str]) -> None:
        process = self.processes[number]
        with self.writing(number, names, NOTHING, None) as outcome:
            process.levels.delete_many([process.to_write(name) for name in names])
            outcome.append(True)

    def do_clear(self, number: int) -> None:
        with self.writing(number, KEYS, NOTHING, None) as outcome:
            self.processes[number].levels.clear()
            outcome.append(True)

    def do_add(self, number: int, name: str, ttl: float | None) -> None:
        process, value = self.processes[number], self.fresh()
        with self.writing(number, [name], value, ttl) as outcome:
            is_added = process.levels.add(process.to_write(name), value, ttl)
            if is_added or process.redis.state == process.table.state == "up":
                outcome.append(is_added)

    def do_incr(self, number: int, name: str) -> None:
        process, known = self.processes[number], self.world.known[name]
        allowed, numbers, ended = self.allowed(name, number), self.ends_of(name), known.ended
        sums = [Version(value + 1, inf) for value in numbers]
        known.pending += sums
        try:
            total = process.levels.incr(process.to_write(name), 1)
        except (KeyError, TypeError):
            total = None
        except CacheUnavailable:
            total = CacheUnavailable
        known.pending = [one for one in known.pending if not any(one is other for other in sums)]
        is_alone = known.ended == ended and not known.pending and not self.is_behind(number)
        self.counted(number, name, total, [*allowed, *self.allowed(name, number)], is_alone)

    def ends_of(self, name: str) -> dict[int, float]:
        """Return the numbers that a key may have, and when each ends."""
        known = self.world.known[name]
        versions = [one for one in (*known.past, *known.current, *known.pending) if type(one.value) is int]
        return {one.value: max(one.ends, self.now) for one in versions}

    def counted(self, number: int, name: str, total: object, allowed: list, is_alone: bool) -> None:
        """Note what came of an incr()."""
        known, numbers = self.world.known[name], self.ends_of(name)
        if total is CacheUnavailable:
            new = [Version(value + 1, ends) for value, ends in numbers.items() if value in allowed]
            known.end(new, self.now, number, is_alone=False)
        elif total is not None:
            assert total - 1 in allowed, f"{name} counts {total!r}, allowed before {allowed!r}"
            known.end([Version(total, numbers.get(total - 1, inf))], self.now, number, is_alone)
        self.note_dirt()

    def do_touch(self, number: int, name: str, ttl: float | None) -> None:
        process, known = self.processes[number], self.world.known[name]
        was_behind, ended = self.is_behind(number), known.ended
        is_there = process.levels.touch(process.to_write(name), ttl)
        ends = inf if ttl is None else self.now + ttl
        is_sure = is_there and not was_behind and not known.pending and ended == known.ended
        if is_there or process.redis.state == "lost" or process.table.state == "lost":
            new = [Version(one.value, ends if is_sure else max(ends, one.ends)) for one in known.current]
            known.past += [Version(one.value, one.ends, self.now) for one in known.current]
            known.current = new
        if known.pending:
            known.end([Version(one.value, max(ends, one.ends)) for one in known.pending], self.now, number, False)
        self.note_dirt()

    def do_invalidate(self, number: int, way: str) -> None:
        """Change what a function returns, and invalidate it."""
        process, value = self.processes[number], self.fresh()
        with self.writing(number, [SOURCE], value, None) as outcome:
            if way == "key":
                process.levels.delete_many([process.to_write("f")])
            elif way == "tag":
                process.levels.write_many({process.levels.keys.tag(TAG): new_epoch()}, TAG_TTL_S)
            else:
                process.levels.clear()
            outcome.append(True)
        if way == "clear":
            self.forget_keys(number)

    def forget_keys(self, number: int) -> None:
        for name in KEYS:
            self.world.known[name].end([], self.now, number, is_alone=True)

    def do_compute(self, number: int) -> None:
        process, known = self.processes[number], self.world.known[SOURCE]
        before = self.allowed(SOURCE, number)

        def compute() -> object:
            value = known.current[-1].value
            self.world.steps.step()
            return value

        value = process.levels.computing.value(process.to_read("f"), compute, Policy(20.0), [TAG])
        self.note_dirt()
        allowed = [*before, *self.allowed(SOURCE, number)]
        assert value in allowed, f"a function returned {value!r}, allowed {allowed!r}"

    # --- rules ----------------------------------------------------------------------------------------------------

    def act(self, operation: tuple, is_inner: bool = False) -> None:
        name, number, names, kind, ttl = operation
        number = self.process(number)
        actions: dict[str, Callable[[], None]] = {
            "get": lambda: self.do_get(number, names),
            "set": lambda: self.do_set(number, names, kind, ttl),
            "delete": lambda: self.do_delete(number, names),
            "add": lambda: self.do_add(number, names[0], ttl),
            "incr": lambda: self.do_incr(number, names[0]),
            "touch": lambda: self.do_touch(number, names[0], ttl),
            "clear": lambda: self.do_clear(number),
            "compute": lambda: self.do_get(number, names) if is_inner else self.do_compute(number),
            "invalidate": lambda: self.do_invalidate(number, "key" if kind == "number" else "tag"),
        }
        actions[name]()

    @rule(operation=some(OPERATIONS))
    def operate(self, operation: tuple) -> None:
        self.act(operation)

    @rule(
        before=st.lists(some(WRITES), min_size=1, max_size=2),
        outer=some([*READS, *READS, *OPERATIONS]),
        inner=some([*WRITES, *OPERATIONS]),
        after=st.integers(0, 3),
        is_heard=st.sampled_from([True, True, False]),
        is_flushed=st.sampled_from([False, False, True]),
        is_settled=st.booleans(),
    )
    def overtake(
        self, before: list, outer: tuple, inner: tuple, after: int, is_heard: bool, is_flushed: bool, is_settled: bool
    ) -> None:
        """Let one operation happen in the middle of another, which may be told of it at once; or Redis be emptied."""
        self.act_all(before)
        self.world.steps.interrupt(after, lambda: self.intervene(inner, is_heard, is_flushed))
        try:
            self.act(outer)
        finally:
            self.world.steps.end()
        self.settle() if is_settled else self.look()

    def act_all(self, operations: list[tuple]) -> None:
        for operation in operations:
            self.act(operation)

    def look(self) -> None:
        """Read all that there is, in both processes."""
        for number in range(len(self.processes)):
            self.do_get(number, KEYS)
            self.do_compute(number)

    def intervene(self, operation: tuple, is_heard: bool, is_flushed: bool) -> None:
        if is_flushed:
            self.world.server.flush()
        self.act(operation, is_inner=True)
        for process in self.processes if is_heard else []:
            process.deliver()

    @precondition(lambda self: self.processes[0].levels.shared is not None)
    @rule(
        before=st.lists(some(WRITES), max_size=2),
        operation=some([*WRITES, *OPERATIONS]),
        level=st.sampled_from(["redis", "table"]),
        state=st.sampled_from(["down", "lost", "refused"]),
        is_healed=st.sampled_from([True, True, False]),
        later=st.lists(some(OPERATIONS), max_size=2),
        is_settled=st.booleans(),
    )
    def fail(
        self, before: list, operation: tuple, level: str, state: str, is_healed: bool, later: list, is_settled: bool
    ) -> None:
        """Do something while a link of its process fails, for a moment or for longer."""
        self.act_all(before)
        process = self.processes[self.process(operation[1])]
        getattr(process, level).state = state
        self.act(operation)
        if is_healed:
            getattr(process, level).state = "up"
        self.act_all(later)
        self.settle() if is_settled else self.look()

    @rule(seconds=st.sampled_from([0.3, 0.9, 1.1, 6.0, 11.0, 70.0]), are_deaf=st.sampled_from([(), (), (), (0,), (1,)]))
    def advance(self, seconds: float, are_deaf: tuple[int, ...]) -> None:
        """Let time pass; who is not deaf hears what was told, and trusts its memory."""
        self.world.clock.advance(seconds)
        self.note_dirt()
        for number in range(len(self.processes)):
            if number not in are_deaf:
                self.beat(number)

    def beat(self, number: int) -> None:
        process = self.processes[number]
        if process.levels.backplane is not None and self.is_listening(number):
            process.beat(self.now)

    @precondition(lambda self: self.processes[0].levels.backplane is not None)
    @rule(number=processes, messages=st.sampled_from([1, None]))
    def deliver(self, number: int, messages: int | None) -> None:
        self.processes[number].deliver(messages)

    @precondition(lambda self: self.processes[0].levels.backplane is not None)
    @rule(number=processes)
    def cut(self, number: int) -> None:
        """Lose the backplane without a word; what was told and not heard is lost."""
        messages = self.processes[number].messages
        self.world.server.told = [one for one in self.world.server.told if one is not messages]
        messages.clear()

    @precondition(lambda self: self.processes[0].levels.backplane is not None)
    @rule(number=processes)
    def reconnect(self, number: int) -> None:
        if not self.is_listening(number):
            process = self.processes[number]
            process.levels.trust(0.0)
            self.world.server.told.append(process.messages)
            process.levels.forget_all()
            process.levels.trust(self.now + MAX_SILENCE_S)

    @rule(number=processes)
    def heal(self, number: int) -> None:
        process = self.processes[self.process(number)]
        process.redis.state = process.table.state = "up"
        process.mend()
        self.note_dirt()

    @precondition(lambda self: "L2" in self.names)
    @rule()
    def flush(self) -> None:
        self.world.server.flush()

    @rule(seconds=st.sampled_from([0.0, 11.0]))
    def be_quiet(self, seconds: float) -> None:
        self.settle(seconds)

    def settle(self, seconds: float = 0.0) -> None:
        """Heal everything, wait for what is allowed to be late, and look at every key."""
        for number in range(len(self.processes)):
            self.heal(number)
            if self.processes[0].levels.backplane is not None:
                self.reconnect(number)
        self.world.clock.advance(max(seconds, self.bound + 2 * ROUNDING_S))
        self.note_dirt()
        for number, process in enumerate(self.processes):
            self.beat(number)
            assert not process.is_dirty()
        self.look()

    @invariant()
    def nothing_is_kept_for_nobody(self) -> None:
        for process in self.processes:
            if process.levels.memory is not None:
                assert len(process.levels.memory._tokens) == 0


@pytest.mark.parametrize("names", ALL, ids="".join)
def test_what_is_read_is_the_newest_value_or_none(names, monkeypatch):
    monkeypatch.setattr(shared, "now_us", None)
    monkeypatch.setattr(repairs, "now_us", None)
    machine = type("Machine" + "".join(names), (Machine,), {"names": names})
    run_state_machine_as_test(machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=12))
