"""Who may scrape, what others see, and what many scrapes at once cost."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction
from django.test import Client

from django_perf import checks
from django_perf.exporters import prometheus, views
from django_perf.exporters.kept import Kept
from django_perf.exporters.prometheus import OPENMETRICS, TEXT
from django_perf.metrics.recorder import recorder
from tests.exporters.data import PARSERS, samples
from tests.store.data import MIDNIGHT, drained, put, requests
from tests.waiting import wait_until

URL, TOKEN = "/perf/metrics", "a-token-of-the-tests"
GOOD = {"authorization": f"Bearer {TOKEN}"}
PATIENCE_S = 30

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])


@pytest.fixture
def allowed(settings):
    """Settings under which the token opens."""
    settings.DJANGO_PERF = {"METRICS_TOKEN": TOKEN}


@pytest.mark.parametrize(
    ("configured", "header", "peer", "status"),
    [
        ({}, None, "127.0.0.1", 404),
        ({}, "Bearer ", "127.0.0.1", 404),
        ({}, "Bearer None", "127.0.0.1", 404),
        ({"METRICS_TOKEN": TOKEN}, None, "127.0.0.1", 404),
        ({"METRICS_TOKEN": TOKEN}, f"Bearer {TOKEN}", "203.0.113.9", 200),
        ({"METRICS_TOKEN": TOKEN}, f"bearer  {TOKEN} ", "203.0.113.9", 200),
        ({"METRICS_TOKEN": TOKEN}, f"Bearer {TOKEN}x", "127.0.0.1", 404),
        ({"METRICS_TOKEN": TOKEN}, f"Bearer {TOKEN[:-1]}", "127.0.0.1", 404),
        ({"METRICS_TOKEN": TOKEN}, f"Basic {TOKEN}", "127.0.0.1", 404),
        ({"METRICS_TOKEN": TOKEN}, TOKEN, "127.0.0.1", 404),
        ({"METRICS_TOKEN": TOKEN}, "Bearer tökén", "127.0.0.1", 404),
        ({"METRICS_TOKEN": TOKEN}, "", "127.0.0.1", 404),
        ({"METRICS_NETWORKS": ["10.0.0.0/8", "fd00::/8"]}, None, "10.9.8.7", 200),
        ({"METRICS_NETWORKS": ["10.0.0.0/8", "fd00::/8"]}, None, "::ffff:10.9.8.7", 200),
        ({"METRICS_NETWORKS": ["10.0.0.0/8", "fd00::/8"]}, None, "fd00::1", 200),
        ({"METRICS_NETWORKS": ["10.0.0.0/8", "fd00::/8"]}, None, "11.0.0.1", 404),
        ({"METRICS_NETWORKS": ["10.0.0.0/8", "fd00::/8"]}, None, "", 404),
        ({"METRICS_NETWORKS": ["10.0.0.0/8", "fd00::/8"]}, None, "unix:", 404),
        ({"METRICS_NETWORKS": ["127.0.0.1"], "METRICS_TOKEN": TOKEN}, "Bearer wrong", "127.0.0.1", 200),
        ({"METRICS_TOKEN": ""}, "Bearer ", "127.0.0.1", 404),
        ({"METRICS_NETWORKS": ["10.0.0.1/8"]}, None, "10.0.0.1", 404),
    ],
)
def test_only_the_token_and_the_named_networks_open(client, settings, configured, header, peer, status):
    settings.DJANGO_PERF = configured
    headers = {} if header is None else {"authorization": header}
    assert client.get(URL, headers=headers, REMOTE_ADDR=peer).status_code == status


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-real-ip", "forwarded", "client-ip"])
def test_no_header_names_a_peer(client, settings, name):
    settings.DJANGO_PERF = {"METRICS_NETWORKS": ["10.0.0.0/8"]}
    value = "for=10.0.0.1" if name == "forwarded" else "10.0.0.1"
    assert client.get(URL, headers={name: value}, REMOTE_ADDR="203.0.113.9").status_code == 404


@pytest.mark.parametrize("method", ["get", "head", "post", "put", "delete", "options", "trace"])
def test_to_a_stranger_there_is_no_such_page_whatever_the_method(client, allowed, method):
    refused = getattr(client, method)(URL)
    unknown = getattr(client, method)("/perf/nothing")
    assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content) == (404, refused.content)


@pytest.mark.parametrize(("method", "status"), [("get", 200), ("head", 200), ("post", 405), ("put", 405)])
def test_it_can_only_be_read(client, allowed, method, status):
    assert getattr(client, method)(URL, headers=GOOD).status_code == status


@pytest.mark.parametrize("content_type", PARSERS, ids=["openmetrics", "text"])
def test_the_format_is_the_one_that_was_asked_for(client, allowed, content_type):
    put("default", {MIDNIGHT: requests(3)})
    response = client.get(URL, headers={**GOOD, "accept": content_type})
    assert response["Content-Type"] == content_type
    assert (response["Vary"], response["Cache-Control"]) == ("Accept, Accept-Encoding", "no-store")
    assert samples(response.content.decode(), content_type)
    head = client.head(URL, headers={**GOOD, "accept": content_type})
    assert (head.content, head["Content-Type"]) == (b"", content_type)


def test_a_scrape_is_in_no_figure(client, allowed):
    recorder.enabled = True
    assert client.get(URL, headers=GOOD).status_code == 200
    assert recorder.drain() == {}


def test_a_scrape_that_is_refused_is_measured_like_any_other_request(client, allowed):
    recorder.enabled = True
    client.get(URL)
    assert ("request", "perf/metrics", "GET", "4xx") in drained(recorder)


def test_without_prometheus_client_there_is_no_such_page_and_a_check_says_so(client, allowed, settings, monkeypatch):
    monkeypatch.setattr(prometheus, "is_installed", lambda: False)
    monkeypatch.setattr(views, "is_installed", lambda: False)
    assert client.get(URL, headers=GOOD).status_code == 404
    assert [one.id for one in checks.check_metrics()] == ["django_perf.E010"]
    settings.ROOT_URLCONF = "tests.compression.server_site"
    assert checks.check_metrics() == []
    settings.ROOT_URLCONF = "example_project.urls"
    settings.DJANGO_PERF = {}
    assert checks.check_metrics() == []


def test_a_site_with_prometheus_client_passes(allowed):
    assert checks.check_metrics() == []


@contextmanager
def without_table(name):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO elsewhere")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {name}")


def test_a_store_that_cannot_be_read_is_told_without_detail_and_is_read_again(client, allowed, caplog):
    with without_table("django_perf_lease"):
        response = client.get(URL, headers=GOOD)
        assert (response.status_code, response.content) == (503, b"")
        assert client.get(URL, headers=GOOD).status_code == 503
    assert [record.name for record in caplog.records if record.name.startswith("django.request")] == []
    for one in views.kept.values():
        one.forget()
    assert client.get(URL, headers=GOOD).status_code == 200


def test_two_scrapes_within_a_second_are_one_reading(client, allowed):
    put("default", {MIDNIGHT: requests(3)})
    first = client.get(URL, headers=GOOD).content
    put("default", {MIDNIGHT: requests(4)})
    assert client.get(URL, headers=GOOD).content == first
    views.kept[TEXT].forget()
    assert client.get(URL, headers=GOOD).content != first


def waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'django_perf_total'::regclass")
        return cursor.fetchone()[0]


def test_scrapes_at_the_same_time_are_one_reading(allowed, monkeypatch):
    put("default", {MIDNIGHT: requests(3)})
    readings, started = [], threading.Barrier(5)
    make = views.kept[OPENMETRICS]._make
    monkeypatch.setattr(views.kept[OPENMETRICS], "_make", lambda: readings.append(1) or make())

    def ask(_):
        started.wait(PATIENCE_S)
        try:
            return Client().get(URL, headers={**GOOD, "accept": OPENMETRICS}).content
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as scrapers:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE django_perf_total IN ACCESS EXCLUSIVE MODE")
            answers = scrapers.map(ask, range(5))
            wait_until(lambda: waits_for_a_lock() == 1)
        assert len(set(answers)) == 1
    assert readings == [1]


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self):
        return self.now


def test_what_is_kept_is_made_again_when_its_time_is_over():
    clock, made = Clock(), iter(range(9))
    one = Kept(lambda: next(made), 1.0, 0.0, clock)
    assert (one.get(), one.get()) == (0, 0)
    clock.now += 0.99
    assert one.get() == 0
    clock.now += 0.01
    assert one.get() == 1


def test_a_failure_is_kept_as_well():
    clock, calls = Clock(), []

    def fail():
        calls.append(1)
        raise LookupError

    one = Kept(fail, 1.0, 0.0, clock)
    for expected in (1, 1, 2):
        with pytest.raises(LookupError):
            one.get()
        assert len(calls) == expected
        clock.now += 0.5


def test_who_waits_too_long_gets_nothing_and_makes_nothing():
    entered, leave = threading.Event(), threading.Event()

    def make():
        entered.set()
        leave.wait(PATIENCE_S)
        return "made"

    one = Kept(make, 1.0, 0.0)
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(one.get)
        entered.wait(PATIENCE_S)
        assert one.get() is None
        leave.set()
        assert slow.result() == one.get() == "made"
