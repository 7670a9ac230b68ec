"""Processes that share a cache, as the network and the server fail: what they see is the newest value, or none."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import pytest
from django.db import connections

from django_perf.cache.backplane import MAX_SILENCE_S
from django_perf.cache.levels import LOCAL_S
from example_project.demo.processes import ROOT
from tests.cache.conftest import TABLE
from tests.proxy import Proxy

KEYS = 2_000
# For a thread that has read its clock, and gets no processor for a while.
ROOM_S = 0.5


class Worker:
    """A process of coherence_workers, as long as a block lasts."""

    def __init__(self, **options) -> None:
        command = [sys.executable, "-W", "error", "-m", "tests.cache.coherence_workers", json.dumps(options)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def send(self, *command) -> None:
        self._process.stdin.write(json.dumps(command) + "\n")

    def answer(self) -> dict:
        line = self._process.stdout.readline()
        assert line, f"the process ended with {self._process.wait(10)}"
        said = json.loads(line)
        assert said["errors"] == []
        return said

    def ask(self, *command) -> object:
        self.send(*command)
        return self.answer()["answer"]


def each(workers: list[Worker], *command) -> list[dict]:
    """Let all do something at the same time; return what they say."""
    for worker in workers:
        worker.send(*command)
    return [worker.answer() for worker in workers]


def cache_settings(url: str, prefix: str, table: bool = False, **options) -> dict:
    l1 = {"max_entries": 20_000, "timeout": 600.0}
    options = {"L1": l1, **({"L3": {"table": TABLE}} if table else {}), **options}
    return {
        "BACKEND": "django_perf.cache.MultiLevelCache",
        "LOCATION": url,
        "KEY_PREFIX": prefix,
        "OPTIONS": options,
    }


def stale_of(views: list[dict[str, int]], truth: dict[str, int]) -> dict[str, object]:
    """Return what a process sees that is neither the truth nor a miss."""
    seen = [(number, key, value) for number, view in enumerate(views) for key, value in view.items()]
    return {f"{number} {key}": (value, truth.get(key)) for number, key, value in seen if value != truth.get(key)}


def sources(server) -> dict[str, int]:
    """Return what the cached functions would return now, by the key of their results."""
    with server.client.pipeline(transaction=False) as pipe:
        for number in range(KEYS):
            pipe.get(f"source:{number}")
        values = [int(value or 0) for value in pipe.execute()]
    return {f"{name}:{number}": values[number] for number in range(KEYS) for name in ("by-key", "by-tag")}


def last_of(answers: list[dict]) -> dict[str, int]:
    """Return what was last written to each key; 0 for deleted."""
    return {key: version for answer in answers for key, version in answer["last"].items()}


def storm(server, name: str, **options) -> dict[str, object]:
    """Let two processes read and write; return what is stale when all is quiet, and what they counted."""
    cache = cache_settings(server.url(), name)
    common = {"role": "storm", "cache": cache, "source": server.url(), "keys": KEYS, "processes": 2, "is_slow": True}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(**common, number=number, **options)) for number in range(2)]
        each(workers, "fence")
        answers = each(workers, "run", 2.5, 8, 3)
        each(workers, "fence")
        views = [answer["answer"] for answer in each(workers, "view")]
        truth = {**workers[0].ask("below"), **sources(server)}
        counts = [worker.ask("counts") for worker in workers]
    return {"views": views, "stale": stale_of(views, truth), "counts": counts, "last": last_of(answers), "truth": truth}


def test_no_process_keeps_an_old_value_when_all_is_quiet(server):
    found = storm(server, "race", clears=0.002)
    assert found["stale"] == {}
    # Nothing that was acknowledged is lost in Redis either, but what a clear() has taken.
    assert {k: v for k, v in found["truth"].items() if found["last"].get(k, v) != v and k.startswith("k:")} == {}
    assert all(count["fills_refused"] > 100 and count["in_memory"] > 500 for count in found["counts"])


def test_without_tokens_the_same_race_leaves_old_values(server):
    assert len(storm(server, "naive", trusts_every_fill=True)["stale"]) > 5


FAULTS = ["cut", "forget", "swallow", "refuse", "freeze"]


def strike(proxy: Proxy, fault: str, seconds: float) -> None:
    """Let the link fail in one way for a while, and heal it."""
    if fault == "freeze":
        proxy.delay(60.0)
    else:
        getattr(proxy, fault)()
    if fault == "refuse":
        proxy.cut()
    time.sleep(seconds)
    proxy.accept()
    proxy.heal()
    if fault == "freeze":
        proxy.cut()


def test_no_read_returns_what_is_older_than_the_bound_whatever_the_link_does(server):
    with Proxy(server.address) as proxy, ExitStack() as stack:
        common = {"keys": 20}
        writer = stack.enter_context(Worker(role="writer", cache=cache_settings(server.url(), "bound"), **common))
        near = cache_settings(server.url(proxy.address), "bound")
        reader = stack.enter_context(Worker(role="reader", cache=near, **common))
        each([writer, reader], "start", 4)
        choice = random.Random(1)
        for fault in FAULTS * 2:
            time.sleep(choice.uniform(0.1, 0.4))
            strike(proxy, fault, choice.uniform(0.05, 1.6))
        read, written = reader.ask("end"), writer.ask("end")
    assert read["from_memory"] > 300, read
    assert read["oldest_s"] < MAX_SILENCE_S + written["longest_s"] + ROOM_S, (read, written)


ROUNDS = 4


@pytest.fixture
def table_database(_table) -> dict:
    """The database that has the table, for processes of their own."""
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")
    return {name: connections["default"].settings_dict[name] for name in names}


def test_what_was_overwritten_or_deleted_never_comes_back_from_the_table(server, table_database):
    cache = cache_settings(server.url(), f"flush{time.monotonic_ns()}", table=True)
    common = {"role": "storm", "cache": cache, "keys": 40, "processes": 2, "is_slow": True}
    with ExitStack() as stack:
        options = {**common, "database": table_database, "source": server.url(database=1)}
        workers = [stack.enter_context(Worker(number=number, **options)) for number in range(2)]
        for _ in range(ROUNDS):
            each(workers, "fence")
            for worker in workers:
                worker.send("run", 0.8, 4, 3)
            flush_at_random(server, 0.7)
            last = last_of([worker.answer() for worker in workers])
            each(workers, "fence")
            time.sleep(LOCAL_S)  # what Redis forgot before the table had it nobody tells: so long memory may not know
            views = [answer["answer"] for answer in each(workers, "view")]
            below = [worker.ask("below") for worker in workers]
            assert stale_of([only_keys(view) for view in [*views, *below]], last) == {}


def only_keys(view: dict[str, int]) -> dict[str, int]:
    return {key: value for key, value in view.items() if key.startswith("k:")}


def flush_at_random(server, seconds: float) -> None:
    """Empty the database of the cache, but not the one of the truth."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(random.uniform(0.0, 0.02))
        server.client.flushdb()
