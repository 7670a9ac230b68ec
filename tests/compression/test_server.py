"""With a real server in between, a real client reads every page, and notices the broken one."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.compression import server_site
from tests.compression.coding import CODINGS, PAGE, Reader
from tests.server_process import free_port

ROOT = Path(__file__).parents[2]
PARTIAL_FILE = 18
CURL = shutil.which("curl") or "curl"


@pytest.fixture(scope="module")
def port():
    number = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--threads=4", "--graceful-timeout=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    server = subprocess.Popen(
        [*command, f"--bind=127.0.0.1:{number}", "tests.compression.server_site:application"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait(number, server)
        yield number
    finally:
        server.terminate()
        server.wait(20)


def wait(number, server):
    deadline = time.monotonic() + 30
    while True:
        try:
            with asking(number, "/page"):
                return
        except OSError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextmanager
def asking(number, path, coding="identity", method="GET"):
    """Yield the answer of a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", number, timeout=10)) as connection:
        connection.request(method, path, headers={"Accept-Encoding": coding})
        with connection.getresponse() as response:
            yield response


def curl(number, path, *options):
    return subprocess.run(
        [CURL, "--silent", "--compressed", *options, f"http://127.0.0.1:{number}{path}"],
        capture_output=True,
        check=False,
        timeout=30,
    )


def understood():
    """Return the codings that this curl was built with."""
    features = (
        "" if CURL is None else subprocess.run([CURL, "--version"], capture_output=True, text=True, check=True).stdout
    )
    return [coding for coding, name in (("zstd", "zstd"), ("br", "brotli"), ("gzip", "libz")) if name in features]


@pytest.mark.parametrize("path", ["/page", "/stream", "/file"])
def test_curl_reads_what_it_negotiates(port, path):
    wanted = Path(server_site.__file__).read_bytes() if path == "/file" else server_site.PAGE
    answer = curl(port, path)
    assert (answer.returncode, answer.stdout) == (0, wanted)


@pytest.mark.parametrize("coding", understood())
@pytest.mark.parametrize("path", ["/page", "/stream"])
def test_curl_reads_each_coding(port, path, coding):
    answer = curl(port, path, "-H", f"Accept-Encoding: {coding}", "--dump-header", "/dev/stderr")
    assert f"content-encoding: {coding}" in answer.stderr.decode().lower()
    assert (answer.returncode, answer.stdout) == (0, PAGE)


@pytest.mark.parametrize("coding", understood())
def test_curl_notices_a_page_that_broke_off(port, coding):
    answer = curl(port, "/broken", "-H", f"Accept-Encoding: {coding}")
    assert answer.returncode == PARTIAL_FILE
    assert PAGE.startswith(answer.stdout)


@pytest.mark.parametrize("coding", CODINGS)
def test_the_first_piece_arrives_while_the_view_is_still_at_work(port, coding):
    reader, seen = Reader(coding), b""
    with asking(port, "/slow", coding) as response:
        while not seen:
            seen = reader.read(response.read1())
    assert seen == b"first"


@pytest.mark.parametrize("coding", CODINGS)
def test_head_has_the_headers_of_get(port, coding):
    with asking(port, "/page", coding) as get, asking(port, "/page", coding, "HEAD") as head:
        assert len(get.read()) == int(get.headers["Content-Length"])
        for answer in (get, head):
            del answer.headers["Date"]
        assert sorted(head.getheaders()) == sorted(get.getheaders())
