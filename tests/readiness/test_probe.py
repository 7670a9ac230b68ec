"""One question at a time, a limit on every wait, and overload only after some seconds of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_perf.readiness.overload import Overload
from django_perf.readiness.probe import KEEP_S, LATE, LIMIT_S, Probe

PATIENCE_S = 30


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Dependency:
    """Something to ask, which counts, and answers when it may."""

    def __init__(self):
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.answer = ""

    def __call__(self):
        self.asked += 1
        assert self.may_answer.wait(PATIENCE_S)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def dependency():
    """A dependency whose threads all end."""
    one = Dependency()
    yield one
    one.may_answer.set()


def ask(probe):
    return probe.trouble(probe.begin())


def test_an_answer_is_kept_for_a_second(dependency):
    clock = Clock()
    probe = Probe(dependency, clock)
    assert [ask(probe), ask(probe), dependency.asked] == ["", "", 1]
    clock.now += KEEP_S
    dependency.answer = "broken"
    assert [ask(probe), dependency.asked] == ["broken", 2]


def test_of_an_exception_only_the_class_is_told(dependency):
    dependency.answer = ConnectionError("postgres://user:secret@host")
    assert ask(Probe(dependency)) == "ConnectionError"


def test_one_that_hangs_is_told_within_the_limit_and_never_asked_twice(dependency):
    dependency.may_answer.clear()
    probe = Probe(dependency)
    began = time.monotonic()
    assert ask(probe) == LATE
    assert LIMIT_S <= time.monotonic() - began < LIMIT_S + 5
    began = time.monotonic()
    assert [ask(probe) for _ in range(50)] == [LATE] * 50
    assert time.monotonic() - began < LIMIT_S
    assert dependency.asked == 1


def test_one_that_hung_is_asked_again_when_it_has_answered(dependency):
    clock = Clock()
    probe = Probe(dependency, clock)
    dependency.may_answer.clear()
    run = probe.begin()
    clock.now += LIMIT_S
    assert probe.trouble(run) == LATE
    dependency.may_answer.set()
    assert run.done.wait(PATIENCE_S)
    assert ask(probe) == ""
    clock.now += KEEP_S
    assert [ask(probe), dependency.asked] == ["", 2]


def test_many_at_once_ask_once(dependency):
    dependency.may_answer.clear()
    probe, started = Probe(dependency), threading.Barrier(9)

    def wait_and_ask(_):
        started.wait(PATIENCE_S)
        return ask(probe)

    with ThreadPoolExecutor(8) as askers:
        answers = askers.map(wait_and_ask, range(8))
        started.wait(PATIENCE_S)
        dependency.may_answer.set()
        assert list(answers) == [""] * 8
    assert dependency.asked == 1


def test_a_system_without_threads_is_not_ready(dependency, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert ask(Probe(dependency)) == "no thread to ask in"


def test_slots_have_to_be_busy_for_some_seconds():
    clock, busy = Clock(), [0.0]
    overload = Overload(lambda: busy[0], clock)
    seen = []
    for _ in range(7):
        seen.append(overload.saturation(4))
        clock.now += 1
        busy[0] += 4
    assert seen == [None] * 5 + [1.0, 1.0]


def test_saturation_is_that_of_the_last_seconds():
    clock, busy = Clock(), [0.0]
    overload = Overload(lambda: busy[0], clock)
    for rate in [4] * 20 + [1] * 6:
        overload.saturation(4)
        clock.now += 1
        busy[0] += rate
    assert overload.saturation(4) == 0.25


def test_many_probes_keep_few_samples_and_a_clock_of_slots_that_runs_back_is_no_load():
    clock, busy = Clock(), [0.0]
    overload = Overload(lambda: busy[0], clock)
    for _ in range(2_000):
        overload.saturation(4)
        clock.now += 0.01
        busy[0] -= 0.01
    assert overload.saturation(4) == 0.0
    assert len(overload._seen) < 15
