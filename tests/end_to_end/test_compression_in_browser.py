"""Chromium reads every coding that we send, padded, in pieces, and by a dictionary that it fetched itself."""

from __future__ import annotations

import os
import sys
import time

import pytest

from example_project.demo.processes import Launcher, StopRequest
from tests.end_to_end.browser import open_page
from tests.server_process import free_port

CODINGS = ["zstd", "br", "gzip"]
READY_S = 30
FETCH = """async (path) => {
    const response = await fetch(path);
    return [response.headers.get("content-encoding"), await response.text()];
}"""
GAPS = """(path) => new Promise((resolve) => {
    const source = new EventSource(path), seen = [];
    source.onmessage = () => {
        seen.push(performance.now());
        if (seen.length === 3) { source.close(); resolve([seen[1] - seen[0], seen[2] - seen[1]]); }
    };
})"""


class Served:
    """A gunicorn with tests.compression.served."""

    def __init__(self, folder):
        self.url = f"http://127.0.0.1:{free_port()}"
        environment = {**os.environ, "SERVED_FOLDER": str(folder)}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        self.launcher = Launcher(folder, environment, StopRequest())

    def manage(self, *arguments):
        return self.launcher.run(arguments[0], [sys.executable, "-m", "tests.compression.served", *arguments])

    def start(self):
        target = ["--bind", self.url.removeprefix("http://"), "tests.compression.served:application"]
        gunicorn = self.launcher.start("gunicorn", [sys.executable, "-m", "gunicorn", "--threads=4", *target])
        deadline = time.monotonic() + READY_S
        while "Booting worker" not in gunicorn.log.read_text():
            gunicorn.check()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return gunicorn


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    site = Served(tmp_path_factory.mktemp("served"))
    site.manage("migrate", "--verbosity=0")
    urls = [f"/page/{number}" for number in range(6)]
    site.manage("perfdict", "build", "/page/*", *urls, "--approve")
    gunicorn = site.start()
    yield site
    gunicorn.stop()


@pytest.fixture
def page(served, browser):
    with open_page(browser) as (page, errors):
        page.goto(f"{served.url}/whole/gzip/0")
        yield page
        assert errors == []


def lines(start):
    return "".join(f"line {number}: ünïcode, and more of it\n" for number in range(start, start + 300))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("form", ["whole", "pieces"])
def test_every_coding_is_read_with_every_padding(page, form, coding):
    # The padding of a whole body depends on its content, that of a stream on chance.
    for start in range(12):
        assert page.evaluate(FETCH, f"/{form}/{coding}/{start}") == [coding, lines(start)]


@pytest.mark.parametrize("coding", CODINGS)
def test_events_arrive_one_by_one(page, coding):
    assert min(page.evaluate(GAPS, f"/events/{coding}")) > 150


def test_a_second_visit_is_read_by_the_dictionary(served, browser):
    with open_page(browser) as (page, errors):
        # The process learns of its dictionaries, and the browser fetches one, while nothing else is to be done.
        seen, deadline = [], time.monotonic() + READY_S
        while seen[-1:] != ["dcz"] and time.monotonic() < deadline:
            answer = page.goto(f"{served.url}/page/{100 + len(seen)}")
            seen.append(answer.headers["content-encoding"])
            assert page.inner_text("table").count(f"{99 + len(seen)}-") == 100
            time.sleep(0.2)
        assert (seen[0], seen[-1]) == ("zstd", "dcz")
        assert "available-dictionary" in answer.headers["vary"].lower()
        assert "link" not in answer.headers
        coding, body = page.evaluate(FETCH, "/page/7?x=2")
        assert (coding, body.count("7-")) == ("dcz", 100)
        assert errors == []
