"""What gunicorn served is what the store says: every request, every error, and the durations that the site saw."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from itertools import repeat

import pytest
from django.conf import settings

from tests.end_to_end.server import Site, temporary_database
from tests.waiting import wait_until

CLIENTS = 20
WORKERS = ("--workers=4", "--threads=4")
ERRORS = 50
SLOW = 300
FAST = 650
QUANTILE_ERROR = 0.02
PATIENCE_S = 30


def mixed_paths():
    """1,000 paths in random order: 50 errors, 300 of 40 to 99 ms in which p95 and p99 lie, and fast ones."""
    slow = [f"/slow/{40 + number % 60}" for number in range(SLOW)]
    paths = [*repeat("/broken", ERRORS), *slow, *repeat("/fast", FAST)]
    random.shuffle(paths)
    return paths


def request_all(site, paths):
    """Request every path from 20 threads; returns the responses' statuses, None where the connection broke."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(lambda path: status_of(site, path), paths))


def status_of(site, path):
    try:
        return site.get(path).status
    except (OSError, HTTPException):  # a worker that is killed breaks off in the middle of an answer
        return None


def nearest_rank(values, q):
    return sorted(values)[math.ceil(q * len(values)) - 1]


def assert_is_quantile(measured_ms, served, q):
    """Compare with the site's own clocks, one inside of django_perf's and one around it: it lies between them."""
    lowest = nearest_rank([one.inner_ms for one in served], q) * (1 - QUANTILE_ERROR)
    highest = nearest_rank([one.outer_ms for one in served], q) * (1 + QUANTILE_ERROR)
    assert lowest <= measured_ms <= highest


@pytest.mark.parametrize(
    ("options", "least_workers"),
    [((), 1), (("--max-requests=100", "--max-requests-jitter=20"), 8), (("--preload",), 1)],
    ids=["plain", "recycled", "preloaded"],
)
def test_the_store_has_every_request_and_error_and_the_quantiles(database_url, tmp_path, options, least_workers):
    site = Site(tmp_path, database_url)
    with site.running(*WORKERS, *options):
        statuses = request_all(site, mixed_paths())
    assert (len(statuses), statuses.count(500), statuses.count(200)) == (1_000, ERRORS, 950)
    answer = json.loads(site.manage("perfstats", "--since=1h", "--format=json"))
    totals = answer["reports"]["requests"]["totals"]
    assert (totals["count"], totals["errors"], len(site.served())) == (1_000, ERRORS, 1_000)
    assert_quantiles(answer, site.served())
    assert (answer["health"]["dropped"], answer["health"]["errors"]) == (0, {})
    states = {row["pid"]: row["state"] for row in answer["reports"]["process"]["rows"]}
    assert states == {one.pid: "stopped" for one in site.served()}
    assert len(states) >= least_workers


def assert_quantiles(answer, served):
    """Compare the row of the slow view, and the total over all rows, with the site's own list."""
    slow = [one for one in served if one.path.startswith("/slow/")]
    (row,) = [row for row in answer["reports"]["requests"]["rows"] if row["name"] == "slow/<int:milliseconds>"]
    assert row["count"] == SLOW
    for name, q in (("p95_ms", 0.95), ("p99_ms", 0.99)):
        assert_is_quantile(row[name], slow, q)
    assert_is_quantile(answer["reports"]["requests"]["totals"]["p95_ms"], served, 0.95)


@pytest.fixture(scope="module")
def beheaded(template_database, tmp_path_factory):
    """A site that ended in order after one of its workers was killed in the middle; and that worker's pid."""
    with temporary_database(settings.POSTGRES.url, template_database) as url:
        site = Site(tmp_path_factory.mktemp("site"), url, flush_interval=0.5)
        yield site, serve_and_kill_one(site)


def serve_and_kill_one(site):
    """Serve 500 requests, wait until a worker has flushed, and kill that one half way through 500 more."""
    with site.running(*WORKERS):
        request_all(site, mixed_paths()[:500])
        victim = site.served()[-1].pid
        wait_until(lambda: str(victim) in site.report()["last_flushes"])
        with ThreadPoolExecutor(1) as background:
            rest = background.submit(request_all, site, mixed_paths()[:500])
            wait_until(lambda: len(site.served()) > 700)
            os.kill(victim, signal.SIGKILL)
            assert not rest.done()
            assert rest.result().count(None) <= CLIENTS  # those that it was at, or had accepted
    return victim


def test_a_killed_worker_takes_at_most_what_it_served_since_its_last_flush(beheaded):
    site, victim = beheaded
    report = site.report()
    flushed = report["last_flushes"][str(victim)]
    unsaved = sum(one.pid == victim and one.finished >= flushed for one in site.served())
    stored = report["reports"]["requests"]["totals"]["count"]
    assert len(site.served()) - unsaved <= stored <= len(site.served()) + 4


def test_a_killed_worker_is_reported_as_lost_and_the_others_as_stopped(beheaded):
    site, victim = beheaded
    report = site.report(later_s=60)
    states = {row["pid"]: row["state"] for row in report["reports"]["process"]["rows"]}
    assert states.pop(victim) == "lost"
    assert set(states.values()) == {"stopped"}
    assert report["health"]["lost_workers"] == 1
