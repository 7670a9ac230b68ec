"""A host leaves the balancer before it stops, and whichever worker is scraped knows of all."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.end_to_end.server import Site
from tests.exporters.data import samples

WORKERS = ("--workers=2", "--threads=4")
CLIENTS = 4
TOKEN = {"Authorization": "Bearer a-token-of-the-tests", "Accept": "application/openmetrics-text"}
SERVED = "django_perf_request_duration_seconds_count", (("method", "GET"), ("route", "fast"), ("status", "2xx"))
PATIENCE_S = 30


def visit_while_ready(site):
    """Do as a balancer's visitors: come for as long as the probe is green. Returns the statuses of the visits."""
    statuses, deadline = [], time.monotonic() + PATIENCE_S
    while site.get("/perf/readyz").status == 200:
        assert time.monotonic() < deadline, "the probe stays green"
        statuses.append(site.get("/slow/20").status)
    return statuses


def test_readiness_is_red_before_the_stop_and_no_request_is_lost(database_url, tmp_path):
    site = Site(tmp_path, database_url)
    with site.running(*WORKERS), ThreadPoolExecutor(CLIENTS) as clients:
        visits = [clients.submit(visit_while_ready, site) for _ in range(CLIENTS)]
        assert site.get("/perf/readyz").body == b"ok"
        assert site.manage("perfdrain", "on").startswith("draining for 0 s")
        statuses = [status for one in visits for status in one.result()]
        # From every worker, and while all of them still serve.
        assert {site.get("/perf/readyz").status for _ in range(40)} == {503}
        assert {site.get(path).status for path in ("/perf/healthz", "/fast")} == {200}
    assert len(statuses) >= CLIENTS
    assert set(statuses) == {200}


def test_a_drain_is_taken_back(database_url, tmp_path):
    site = Site(tmp_path, database_url)
    site.manage("perfdrain", "on")
    with site.running(*WORKERS):
        assert {site.get("/perf/readyz").status for _ in range(10)} == {503}
        site.manage("perfdrain", "off")
        assert {site.get("/perf/readyz").status for _ in range(10)} == {200}
        assert site.manage("perfdrain", "status").startswith("not draining")


def scraped(site):
    response = site.get("/perf/metrics", **TOKEN)
    assert response.status == 200
    return samples(response.body.decode())


def test_whichever_worker_is_scraped_knows_of_all_and_nothing_falls_over_a_restart(database_url, tmp_path):
    site, deadline = Site(tmp_path, database_url, flush_interval=0.1), time.monotonic() + PATIENCE_S
    seen = []
    for visits in (30, 60):
        with site.running(*WORKERS):
            assert {site.get("/fast").status for _ in range(30)} == {200}
            while not seen or seen[-1] < visits:
                assert time.monotonic() < deadline, f"a scrape knows of {seen[-1]} requests"
                # Each worker keeps its answer for a second: who asks once a second never sees an older one.
                time.sleep(1.0)
                seen.append(scraped(site).get(SERVED, 0))
    assert seen == sorted(seen)
    assert seen[-1] == 60
