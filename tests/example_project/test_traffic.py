"""The traffic: what it sends, at which rate, and what it counts; against a real HTTP server where it matters."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import httpx
import pytest

from example_project import traffic

SWITCHED_OFF = {probe for probe, path, _ in traffic.PLANTED if path != "/error"}


class FakeShop(BaseHTTPRequestHandler):
    """Answer like a shop whose newest product is 77 and whose one planted fault is `error`."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = {"/error": 500, "/products": 201 if self.command == "POST" else 200}.get(self.path, 200)
        if self.path.startswith("/no/") or self.path in SWITCHED_OFF:
            status = 404
        self.server.seen.append((self.command, self.path, status))
        body = b"" if status == 404 else json.dumps({"id": 78, "items": [{"id": 77}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if len(self.server.seen) >= self.server.enough:
            self.server.busy.set()

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture
def fake_shop():
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeShop)
    server.seen, server.busy, server.enough = [], threading.Event(), 30
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def visitors():
    return traffic.Visitors(random.Random(1), newest_id=1000)


def test_small_numbers_are_chosen_far_more_often_and_none_is_out_of_range(visitors):
    chosen = [visitors.popular(1000) for _ in range(10_000)]
    assert min(chosen) == 1
    assert 900 < max(chosen) <= 1000
    assert sum(number <= 8 for number in chosen) == pytest.approx(5000, rel=0.1)


def test_only_what_was_created_here_is_deleted(visitors):
    assert visitors.delete().method == "POST"
    visitors.created.append(5)
    assert visitors.delete() == traffic.Call("DELETE", "/products/5")
    assert visitors.delete().method == "POST"


def test_the_rate_is_the_wanted_one():
    moments = list(islice(traffic.due_times(100, 50, random.Random(1)), 10_000))
    assert moments == sorted(moments)
    assert moments[-1] - 100 == pytest.approx(10_000 / 50, rel=0.05)


def test_totals_count_by_status_class_and_what_got_no_answer():
    totals = traffic.Totals()
    for status in (200, 201, 404, 500):
        totals.answered(status)
    totals.failed()
    totals.skipped()
    summary = totals.summary(1.234)
    statuses = {"2xx": 2, "4xx": 1, "5xx": 1}
    assert summary == {"sent": 5, "status": statuses, "failed": 1, "skipped": 1, "seconds": 1.2}


def test_it_gives_up_only_after_a_hundred_failures_in_a_row():
    totals = traffic.Totals()
    assert not any(totals.failed() for _ in range(99))
    totals.answered(200)
    assert [totals.failed() for _ in range(100)] == [False] * 99 + [True]


def test_it_sends_only_the_faults_that_are_switched_on(fake_shop):
    with httpx.Client(base_url=fake_shop.url, trust_env=False) as client:
        sender = traffic.Traffic(client, traffic.Visitors(random.Random(1)))
        extra = {choose: share for choose, share in sender.weights().items() if choose not in traffic.ORDINARY}
        [(choose, share)] = extra.items()
        assert (choose(None), share) == (traffic.Call("GET", "/error"), 2)
        assert sender._visitors.newest_id == 77


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_one_line_of_totals(fake_shop, number):
    command = [sys.executable, "-m", "example_project.traffic", "--url", fake_shop.url, "--rate", "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert fake_shop.busy.wait(30)
        process.send_signal(number)
        [line] = process.communicate(timeout=30)[0].splitlines()
    assert process.returncode == 0
    totals = json.loads(line)
    assert totals["sent"] == len(fake_shop.seen) >= 30
    assert totals["status"]["4xx"] == sum(status == 404 for *_, status in fake_shop.seen)


def run_traffic(*options):
    command = [sys.executable, "-m", "example_project.traffic", *options]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


def test_seconds_end_it(fake_shop):
    totals = run_traffic("--url", fake_shop.url, "--rate", "50", "--seconds", "0.5")
    assert totals["status"]["2xx"] >= 1
    assert totals["sent"] == len(fake_shop.seen)


def test_it_ends_by_itself_when_the_server_is_gone():
    totals = run_traffic("--url", "http://127.0.0.1:1", "--rate", "1000")
    assert (totals["status"], 100 <= totals["failed"] <= 104) == ({}, True)


def test_an_overdue_request_is_left_out(fake_shop):
    with httpx.Client(base_url=fake_shop.url, trust_env=False) as client:
        sender = traffic.Traffic(client, traffic.Visitors(random.Random(1)))

        def long_ago():
            yield from (0.0, 0.0)
            sender.stop.set()
            yield 0.0

        sender.work(long_ago(), traffic.ORDINARY)
    assert sender.totals.summary(0)["skipped"] == 3
    assert fake_shop.seen == []


@pytest.mark.parametrize(
    "option", ["--threads=0", "--threads=65", "--rate=0", "--rate=1001", "--seconds=0", "--rate=nan"]
)
def test_an_option_outside_its_limits_is_refused(option, capsys):
    with pytest.raises(SystemExit) as ended:
        traffic.main([option])
    assert ended.value.code == 2
    assert "must be" in capsys.readouterr().err
