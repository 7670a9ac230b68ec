"""A site whose minutes are made by hand, and a webhook on a real socket."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import django
import pytest
from django.core import mail

from django_perf.alerts.watchman import Watchman
from django_perf.metrics.recorder import recorder
from django_perf.store.compactor import GRACE_S
from tests.store.conftest import _tables_on_sqlite, alias  # noqa: F401 - fixtures
from tests.store.data import MIDNIGHT, drained, put, requests

# Django 6 wants no names any more, and Django 5.2 no bare addresses.
ADMINS = ["ada@example.com"] if django.VERSION >= (6,) else [("Ada", "ada@example.com")]
SLOW = {"metric": "p95_ms", "over": 500, "for": "5m", "name": "slow site"}


class Hook(ThreadingHTTPServer):
    """A webhook that keeps what it is told, and answers with `status` when `gate` lets it; after `most` with 500."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.headers, self.most = 204, {}, 1_000
        self.told, self.asked = [], []
        self.gate = threading.Event()
        self.gate.set()
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    """Take one message."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.gate.wait(20)
        status = self.server.status if len(self.server.told) < self.server.most else 500
        if status < 300:
            self.server.told.append(body)
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        """Be asked for what a redirect leads to."""
        self.server.asked.append((self.path, dict(self.headers)))

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def hook():
    """A webhook on a real socket."""
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


class Site:
    """Let minutes pass: each has its requests, and at its end a watchman looks."""

    def __init__(self, store, settings):
        self.alias = store
        self.settings = settings
        self.minute = MIDNIGHT
        self.rules(SLOW)

    def rules(self, *rules, **more):
        self.settings.DJANGO_PERF = {"DATABASE": self.alias, "ALERTS": list(rules), "ALERT_EMAILS": True, **more}

    @property
    def now(self):
        """When the last minute that has passed is judged."""
        return self.minute * 60 + GRACE_S + 1

    def look(self, watchman=None, **more):
        (watchman or Watchman(lambda: self.now, **more))(self.alias)

    def passes(self, minutes, ms=None, count=20, watchman=None, **fields):
        """Let so many minutes pass, each with `count` requests of `ms` each, and look after each of them."""
        for _ in range(minutes):
            if ms is not None:
                put(self.alias, {self.minute: requests(count, us=ms * 1_000, **fields)})
            self.minute += 1
            self.look(watchman)

    @property
    def subjects(self):
        return [message.subject.removeprefix("[Django] ") for message in mail.outbox]


@pytest.fixture
def site(alias, settings):  # noqa: F811 - the fixture
    """A site on either database; somebody gets its mails."""
    settings.ADMINS = ADMINS
    return Site(alias, settings)


@pytest.fixture
def losses():
    """Return a function that tells what was counted as lost since the last call."""
    recorder.enabled = True
    return lambda: sorted(key[2] for key in drained(recorder) if key[0] == "loss")
