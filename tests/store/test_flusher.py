"""The thread that hands measurements to the store: never raises, never loses, never hangs."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from django_perf.metrics import flusher as flusher_module
from django_perf.metrics.catalog import BLOCK
from django_perf.metrics.flusher import GIVE_UP_S, Flusher
from django_perf.metrics.recorder import Recorder
from django_perf.store.models import Delta

from . import children


class Sink:
    """Take flushes, or fail as long as it is told to."""

    def __init__(self):
        self.tried = []
        self.taken = []
        self.is_broken = False

    def __call__(self, batch):
        self.tried.append(batch)
        if self.is_broken:
            raise ConnectionError("no answer")
        self.taken.append(batch)


class Process:
    """A recorder with its flusher, whose thread does not run: the test is the thread."""

    def __init__(self, clock=lambda: 60.0, **fields):
        self.sink = Sink()
        self.recorder = Recorder(clock=clock)
        self.flusher = Flusher(self.recorder, self.sink, **fields)
        self.recorder.wake, self.recorder.enabled = None, True

    def measure(self, name="work"):
        self.recorder.record(BLOCK, (name,), 1_000)

    def counts(self):
        """Return what the sink has taken, by series."""
        counts = {}
        for batch in self.sink.taken:
            for table in batch.tables.values():
                for key, aggregate in table.items():
                    counts[key[1:]] = counts.get(key[1:], 0) + aggregate.histogram.sum
        return counts


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that the test sets."""
    now = [1_000.0]
    monkeypatch.setattr(flusher_module.time, "monotonic", lambda: now[0])
    return now


def test_a_flush_hands_over_what_was_measured_and_starts_again():
    process = Process()
    process.measure()
    assert process.flusher.flush()
    assert process.counts() == {("work",): 1_000}
    process.flusher.flush()
    assert process.sink.taken[1].tables == {}


def test_two_minutes_in_one_flush_stay_apart():
    now = [119.9]
    process = Process(clock=lambda: now[0])
    process.measure()
    now[0] = 120.0
    process.measure()
    process.flusher.flush()
    assert sorted(process.sink.taken[0].tables) == [1, 2]


def test_a_flush_that_failed_is_kept_and_repeated_under_its_id(clock):
    process = Process(interval=1)
    process.sink.is_broken = True
    process.measure()
    assert not process.flusher.flush()
    process.sink.is_broken = False
    process.measure()
    clock[0] += 1
    assert process.flusher.flush()
    first, again, second = process.sink.tried
    assert first is again
    assert second.id != first.id
    assert process.counts() == {("work",): 2_000, ("error", "flush: ConnectionError"): 1}


def test_the_pause_after_failures_doubles_up_to_five_minutes(clock):
    process = Process(interval=10)
    process.sink.is_broken = True
    pauses = []
    for _ in range(8):
        before = clock[0]
        tried = len(process.sink.tried)
        while len(process.sink.tried) == tried:
            process.flusher.flush()
            clock[0] += 10
        pauses.append(clock[0] - before)
    # The first attempt waits for nothing.
    assert pauses == [10, 10, 20, 40, 80, 160, 300, 300]


def test_after_a_success_the_pauses_start_again(clock):
    process = Process(interval=10)
    for is_broken in (True, False, True):
        process.sink.is_broken = is_broken
        process.flusher.flush()
        clock[0] += 10
    assert len(process.sink.tried) == 4
    process.flusher.flush()
    assert len(process.sink.tried) == 5


def test_a_store_that_is_dead_for_weeks_does_not_end_the_flusher(clock):
    process = Process(interval=10.0)
    process.sink.is_broken = True
    for _ in range(1_100):
        assert not process.flusher.flush()
        assert not process.flusher.flush()  # within the pause
        clock[0] += 300
    assert len(process.sink.tried) == 1_100
    process.sink.is_broken = False
    process.measure()
    assert process.flusher.flush()
    assert process.counts()["work",] == 1_000


def test_a_final_flush_waits_for_no_pause():
    process = Process()
    process.sink.is_broken = True
    process.flusher.flush()
    process.sink.is_broken = False
    assert not process.flusher.flush()
    assert process.flusher.flush(final=True)
    assert [batch.final for batch in process.sink.taken] == [False, True]


def test_a_flush_is_given_up_after_an_hour_and_its_values_are_counted(clock, monkeypatch):
    process = Process()
    now = [5_000.0]
    monkeypatch.setattr(flusher_module.time, "time", lambda: now[0])
    process.sink.is_broken = True
    process.measure()
    process.measure()
    process.flusher.flush()
    process.sink.is_broken = False
    clock[0] += 300
    now[0] += GIVE_UP_S + 1
    assert process.flusher.flush()
    counts = process.counts()
    assert counts["dropped", "the store did not answer for an hour"] == 2
    assert ("work",) not in counts


def test_the_chore_follows_a_flush_that_succeeded_and_no_other():
    done = []
    process = Process(chore=lambda: done.append(len(process.sink.taken)))
    process.flusher.flush()
    process.sink.is_broken = True
    process.flusher.flush()
    process.sink.is_broken = False
    process.flusher.flush(final=True)
    assert done == [1]


def test_a_chore_that_fails_is_counted():
    process = Process(chore=lambda: 1 / 0)
    assert process.flusher.flush()
    process.flusher.flush()
    assert process.counts() == {("error", "housekeeping: ZeroDivisionError"): 1}


def test_a_fault_while_gathering_does_not_end_the_flusher(monkeypatch):
    process = Process()
    process.measure()
    with monkeypatch.context() as patch:
        patch.setattr(process.recorder, "drain", lambda: 1 / 0)
        assert not process.flusher.flush()
    assert process.flusher.flush()
    assert process.counts() == {("work",): 1_000, ("error", "flusher: ZeroDivisionError"): 1}


def test_the_thread_starts_with_the_first_measurement_and_ends_with_a_final_flush():
    recorder, sink = Recorder(), Sink()
    flusher = Flusher(recorder, sink)
    recorder.enabled = True
    assert flusher._thread is None
    recorder.record(BLOCK, ("work",), 1)
    assert flusher._thread.daemon
    flusher.stop()
    flusher._thread.join(10)
    assert [batch.final for batch in sink.taken] == [True]
    assert sum(batch.count() for batch in sink.taken) == 1


def test_the_thread_flushes_at_every_interval():
    third = threading.Event()
    taken = []

    def sink(batch):
        taken.append(batch)
        if len(taken) == 3:
            third.set()

    recorder = Recorder()
    flusher = Flusher(recorder, sink, interval=0.01)
    flusher.start()
    assert third.wait(10)
    flusher.stop()


def test_two_first_measurements_at_once_start_one_thread(monkeypatch):
    second = threading.Event()
    made = []

    class SlowThread(threading.Thread):
        def __init__(self, **fields):
            super().__init__(**fields)
            made.append(self)
            # Long enough for the other start() to come this far, if nothing stops it.
            if len(made) == 1:
                second.wait(0.2)
            else:
                second.set()

    monkeypatch.setattr(flusher_module, "Thread", SlowThread)
    flusher = Flusher(Recorder(), Sink())
    starters = [threading.Thread(target=flusher.start) for _ in range(2)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(10)
    flusher.stop()
    assert len(made) == 1


def test_a_stopped_flusher_does_not_start_again():
    flusher = Flusher(Recorder(), Sink())
    flusher.stop()
    flusher.start()
    assert flusher._thread is None


RECORD = """
import django; django.setup()
from django_perf.metrics.recorder import recorder
from django_perf.metrics.timed import timed
recorder.enabled = True
with timed("work"): pass
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["", "import sys; sys.exit(3)", "raise SystemError"])
def test_a_process_that_ends_flushes_what_it_has_and_says_that_it_was_the_last(end):
    with children.python(RECORD + end) as process:
        process.communicate(timeout=60)
    delta = Delta.objects.get()
    assert (delta.pid, delta.is_final) == (process.pid, True)


HANG = """
import time
from threading import Event
from django_perf.metrics.catalog import BLOCK
from django_perf.metrics.flusher import Flusher
from django_perf.metrics.recorder import Recorder
recorder = Recorder()
flusher = Flusher(recorder, lambda batch: Event().wait(), deadline=0.3)
recorder.enabled = True
recorder.record(BLOCK, ("work",), 1)
print(time.monotonic())
"""


def test_a_process_ends_within_the_deadline_when_the_store_hangs():
    ended = float(children.run(HANG))
    assert 0.3 <= time.monotonic() - ended < 1.8


FORK = """
import json, os, sys
from django_perf.metrics.catalog import BLOCK
from django_perf.metrics.flusher import Flusher
from django_perf.metrics.recorder import Recorder

def sink(batch):
    counts = {key[1]: one.histogram.count for table in batch.tables.values() for key, one in table.items()}
    line = json.dumps([os.getpid() == main, batch.origin.pid == os.getpid(), batch.final, counts])
    os.write(1, line.encode() + b"\\n")

main = os.getpid()
recorder = Recorder()
flusher = Flusher(recorder, sink, interval=3600)
recorder.enabled = True
recorder.record(BLOCK, ("parent",), 1)
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    assert flusher._thread is None
    recorder.record(BLOCK, ("child",), 1)
"""


def test_a_forked_child_starts_empty_with_a_thread_of_its_own():
    assert [json.loads(line) for line in children.run(FORK).splitlines()] == [
        [False, True, True, {"child": 1}],
        [True, True, True, {"parent": 1}],
    ]


KILLED = (
    RECORD
    + """
from django.apps import apps
apps.get_app_config("django_perf").flusher.flush()
with timed("work"): pass
print("flushed", flush=True)
import signal; signal.pause()
"""
)


@pytest.mark.django_db(transaction=True)
def test_a_killed_process_loses_what_it_measured_since_its_last_flush_and_no_more():
    with children.python(KILLED) as process:
        assert process.stdout.readline() == "flushed\n"
        os.kill(process.pid, signal.SIGKILL)
    delta = Delta.objects.get()
    assert (delta.pid, delta.is_final) == (process.pid, False)
