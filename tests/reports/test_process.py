"""Which processes run, which stopped, and which were killed."""

from __future__ import annotations

import os
import signal
import time

import pytest
from django.core.management import call_command

from django_perf.reports.process import workers
from django_perf.reports.window import last
from django_perf.store.models import Delta
from django_perf.store.reader import consistent
from tests.store import children
from tests.store.data import MIDNIGHT, compact_at

from .data import store

NOW = MIDNIGHT * 60.0 + 240


def states(now=NOW, since="5m"):
    found = consistent("default", lambda snapshot: workers(snapshot, last(since, now)))
    return {worker.pid: worker.state() for worker in found}


@pytest.mark.django_db
@pytest.mark.parametrize("is_merged", [False, True])
def test_a_process_runs_until_it_says_that_it_stops_or_is_silent_for_long(is_merged):
    store(pid=1, taken=NOW - 45)
    store(pid=2, taken=NOW - 46)
    store(pid=3, taken=NOW - 200, final=True)
    if is_merged:
        compact_at("default", MIDNIGHT + 1)
    assert states() == {1: "running", 2: "lost", 3: "stopped"}


@pytest.mark.django_db
def test_a_slow_flusher_is_given_three_intervals(settings):
    settings.DJANGO_PERF = {"FLUSH_INTERVAL": 60}
    store(pid=1, taken=NOW - 180)
    store(pid=2, taken=NOW - 181)
    assert states() == {1: "running", 2: "lost"}


@pytest.mark.django_db
def test_processes_that_did_not_report_in_the_window_are_left_out():
    store(pid=1, taken=NOW - 400)
    assert (states(), states(since="1h")) == ({}, {1: "lost"})


@pytest.mark.django_db
def test_the_latest_levels_count_merged_or_not():
    store(pid=1, taken=NOW - 20, levels={"threads": 1.0})
    compact_at("default", MIDNIGHT + 1)
    store(pid=1, taken=NOW - 10, levels={"threads": 2.0, "rss_bytes": 5e6})
    (worker,) = consistent("default", lambda snapshot: workers(snapshot, last("5m", NOW)))
    assert [worker.level(name) for name in ("threads", "rss_bytes", "saturation")] == [2.0, 5e6, None]


@pytest.mark.django_db
def test_two_uses_of_one_pid_are_two_processes():
    store(pid=1, started=10.0, taken=NOW - 100, final=True)
    store(pid=1, started=20.0, taken=NOW - 10)
    found = consistent("default", lambda snapshot: workers(snapshot, last("5m", NOW)))
    assert sorted((worker.started, worker.state()) for worker in found) == [(10.0, "stopped"), (20.0, "running")]


WORKER = """
import django; django.setup()
from django.apps import apps
from django_perf.metrics.recorder import recorder
from django_perf.metrics.timed import timed
recorder.enabled = True
with timed("work"): pass
apps.get_app_config("django_perf").flusher.flush()
print("flushed", flush=True)
import sys; sys.stdin.read()
"""


@pytest.mark.django_db(transaction=True)
def test_a_killed_process_is_lost_and_one_that_ended_has_stopped():
    with children.python(WORKER) as killed, children.python(WORKER) as ended:
        for process in (killed, ended):
            assert process.stdout.readline() == "flushed\n"
        os.kill(killed.pid, signal.SIGKILL)
        ended.stdin.close()
        ended.wait(30)
    now = time.time()
    assert states(now) == {killed.pid: "running", ended.pid: "stopped"}
    assert states(now + 60) == {killed.pid: "lost", ended.pid: "stopped"}
    Delta.objects.update(minute=MIDNIGHT)
    call_command("perfcompact", verbosity=0)
    assert states(now + 60) == {killed.pid: "lost", ended.pid: "stopped"}
