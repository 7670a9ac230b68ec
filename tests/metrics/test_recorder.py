from __future__ import annotations

import os
import threading

import pytest

from django_perf.metrics.catalog import BLOCK, ENDPOINT_QUERY, OTHER, PROCESS
from django_perf.metrics.recorder import FOLD_AT, Recorder
from django_perf.metrics.trace import FOLD_AT as TRACE_FOLD_AT
from django_perf.metrics.trace import MAX_SERIES, Trace, current

MINUTE = 29_000_000


class Clock:
    """Tell the time that a test sets."""

    def __init__(self) -> None:
        self.now = MINUTE * 60.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder(clock):
    own = Recorder(clock)
    own.enabled, own.expand = True, expand
    return own


def expand(rows):
    """Do what a feature does with its finished requests, one by one."""
    for at, trace, key in rows:
        yield int(at) // 60, (key, (5,), (0,) * 8, None)
        for own_key, gathered in trace.more.series.items() if trace.more else ():
            yield int(at) // 60, (own_key, gathered.values, gathered.counters, gathered.folded)


def counts(recorder):
    """Return {key: count} of all minutes together, and forget it."""
    found = {}
    for table in recorder.drain().values():
        for key, aggregate in table.items():
            found[key] = found.get(key, 0) + aggregate.histogram.count
    return found


def finish(recorder, trace, key=("request", "r", "GET", "2xx"), at=MINUTE * 60.0):
    recorder.finished.append((at, trace, key))


def test_a_record_is_handed_over_once(recorder):
    recorder.record(BLOCK, ("import",), 1_500, (1,))
    (table,) = recorder.drain().values()
    assert table[("block", "import")].counters == [1]
    assert table[("block", "import")].histogram.sum == 1_500
    assert recorder.drain() == {}


def test_measurements_belong_to_the_minute_in_which_they_finished(recorder, clock):
    recorder.record(BLOCK, ("a",), 1)
    clock.now += 60
    recorder.record(BLOCK, ("a",), 1)
    assert sorted(recorder.drain()) == [MINUTE, MINUTE + 1]


def test_nothing_is_recorded_while_switched_off(recorder):
    recorder.enabled = False
    recorder.record(BLOCK, ("a",), 1)
    recorder.lost("error", "x")
    finish(recorder, Trace(0))
    recorder.fold()
    assert recorder.drain() == {}


def test_wrong_labels_are_refused_with_what_the_kind_takes(recorder):
    with pytest.raises(ValueError, match="takes labels"):
        recorder.record(BLOCK, ("a", "b"), 1)


def test_what_runs_while_paused_is_not_recorded_and_others_are(recorder):
    with recorder.paused():
        recorder.record(BLOCK, ("own work",), 1)
        thread = threading.Thread(target=recorder.record, args=(BLOCK, ("a request elsewhere",), 1))
        thread.start()
        thread.join()
    assert counts(recorder) == {("block", "a request elsewhere"): 1}


def test_what_is_recorded_in_a_request_waits_in_its_trace(recorder):
    trace = Trace(0)
    token = current.set(trace)
    recorder.record(BLOCK, ("b",), 10, (1,))
    current.reset(token)
    assert counts(recorder) == {}
    finish(recorder, trace)
    recorder.fold()
    assert counts(recorder) == {("request", "r", "GET", "2xx"): 1, ("block", "b"): 1}


def test_statements_outside_a_request_have_a_name_of_their_own(recorder):
    recorder.record(ENDPOINT_QUERY, ("default", "SELECT 1"), 10, (0,))
    assert list(counts(recorder)) == [("endpoint_query", "(no request)", "-", "default", "SELECT 1")]


def test_a_request_with_thousands_of_statements_keeps_their_histogram_only(recorder):
    trace = Trace(0)
    for _ in range(3 * TRACE_FOLD_AT + 7):
        trace.add(("block", "b"), (10,), (1,))
    (gathered,) = trace.more.series.values()
    assert (len(gathered.values), gathered.folded.count) == (7, 3 * TRACE_FOLD_AT)
    assert gathered.counters == [3 * TRACE_FOLD_AT + 7]
    finish(recorder, trace)
    recorder.fold()
    assert counts(recorder)[("block", "b")] == 3 * TRACE_FOLD_AT + 7


def test_names_without_end_in_one_request_are_counted_as_dropped(recorder):
    trace = Trace(0)
    for number in range(MAX_SERIES + 5):
        trace.add(("block", str(number)), (1,))
    assert trace.dropped == 5
    finish(recorder, trace)
    recorder.fold()
    assert counts(recorder)[("block", OTHER)] == MAX_SERIES - 200


def test_folding_empties_the_queue(recorder):
    recorder.wake = lambda: None
    recorder.record(BLOCK, ("first",), 1)
    for _ in range(FOLD_AT - 1):
        finish(recorder, Trace(0))
    assert len(recorder.finished) == FOLD_AT - 1
    recorder.fold()
    assert len(recorder.finished) == 0


def test_a_thread_that_finds_the_lock_taken_does_not_wait(recorder):
    with recorder._lock:
        finish(recorder, Trace(0))
        recorder.fold()
    assert len(recorder.finished) == 1
    assert sum(counts(recorder).values()) == 1


def test_no_measurement_is_lost_between_many_threads_and_a_draining_flusher(recorder):
    ready, stop, drained = threading.Barrier(9), threading.Event(), []

    def measure():
        ready.wait()
        for _ in range(500):
            finish(recorder, Trace(0))
            if len(recorder.finished) >= FOLD_AT:
                recorder.fold()
            recorder.record(BLOCK, ("b",), 1)

    def drain():
        ready.wait()
        while not stop.is_set():
            drained.append(counts(recorder))
        drained.append(counts(recorder))

    threads = [threading.Thread(target=measure) for _ in range(8)]
    collector = threading.Thread(target=drain)
    for thread in [*threads, collector]:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    collector.join()
    assert sum(found.get(("block", "b"), 0) for found in drained) == 4_000
    assert sum(found.get(("request", "r", "GET", "2xx"), 0) for found in drained) == 4_000


def test_a_full_memory_counts_what_it_refuses_and_goes_on_with_known_series(clock):
    recorder = Recorder(clock, max_series=2)
    recorder.enabled = True
    for name in ("a", "b", "c", "d", "a"):
        recorder.record(BLOCK, (name,), 1)
    assert counts(recorder) == {
        ("block", "a"): 2,
        ("block", "b"): 1,
        ("loss", "dropped", "memory is full, the store does not answer"): 2,
    }


def test_totals_stay_exact_beyond_the_cap(recorder):
    for number in range(700):
        finish(recorder, Trace(0), ("request", f"r{number}", "GET", "5xx" if number % 2 else "2xx"))
    recorder.fold()
    found = counts(recorder)
    assert len(found) == 502
    assert sum(count for key, count in found.items() if key[3] == "5xx") == 350


def test_the_flusher_is_woken_by_the_first_measurement_only(recorder):
    calls = []
    recorder.wake = lambda: calls.append(1)
    for _ in range(3):
        recorder.record(BLOCK, ("a",), 1)
    assert calls == [1]


def test_gauges_are_read_and_one_that_raises_is_counted(recorder):
    recorder.gauge(PROCESS, "threads", lambda: 4)
    recorder.gauge(PROCESS, "broken", lambda: 1 / 0)
    assert recorder.levels("host-1") == {"threads": 4}
    assert set(counts(recorder)) == {
        ("process", "threads", "host-1"),
        ("loss", "error", "gauge broken: ZeroDivisionError"),
    }


def test_losses_are_logged_once_a_minute_and_counted_each_time(recorder, caplog):
    for _ in range(3):
        recorder.lost("error", "flush: OperationalError")
    assert len(caplog.records) == 1
    assert counts(recorder) == {("loss", "error", "flush: OperationalError"): 3}


def test_busy_seconds_include_requests_that_still_run(recorder):
    before = recorder.busy_seconds()
    recorder.running.add(Trace(0))  # started when the clock's counter began: long ago
    assert recorder.busy_seconds() > before


def test_a_forked_child_starts_empty_even_when_the_lock_was_held(recorder):
    recorder.record(BLOCK, ("parent",), 1)
    read, write = os.pipe()
    with recorder._lock:
        pid = os.fork()
        if pid == 0:
            recorder.record(BLOCK, ("child",), 1)
            os.write(write, ",".join("/".join(key) for key in counts(recorder)).encode())
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 1_000) == b"block/child"
    assert counts(recorder) == {("block", "parent"): 1}


def test_one_request_that_cannot_be_described_costs_no_other_and_is_counted(recorder):
    for _ in range(3):
        finish(recorder, Trace(0))
    recorder.finished.insert(1, ("no row",))
    recorder.fold()
    assert counts(recorder) == {
        ("request", "r", "GET", "2xx"): 3,
        ("loss", "dropped", "a request cannot be described: ValueError"): 1,
    }
