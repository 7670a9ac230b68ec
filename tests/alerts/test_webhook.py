"""The webhook, on a real socket."""

from __future__ import annotations

import json
import threading
import time
from urllib.error import HTTPError, URLError

import pytest

from django_perf import conf
from django_perf.alerts.channels import post
from django_perf.alerts.messages import Message
from django_perf.alerts.watchman import Watchman
from tests.store.data import put, requests

from .conftest import SLOW, Hook

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])
HELLO = Message("subject", "body", {"text": "hello"})


def test_a_webhook_is_told_in_the_documented_form(site, hook):
    site.rules({**SLOW, "endpoint": "*"}, ALERT_WEBHOOK=hook.url, ALERT_EMAILS=False)
    site.passes(1, ms=900, route="/<int:pk>")
    site.passes(12, ms=100, route="/<int:pk>")
    firing, recovered = hook.told
    assert firing == {
        "alert": "slow site",
        "state": "firing",
        "metric": "p95_ms",
        "unit": "ms",
        "endpoint": "GET /<int:pk>",
        "value": pytest.approx(900, rel=0.02),
        "over": 500,
        "for": "5m",
        "count": 20,
        "began": "2024-10-04T00:01:21+00:00",
        "since": "2024-10-04T00:01:21+00:00",
        "text": firing["text"],
        "path": "/admin/django_perf/performance/endpoint/?route=%2F%3Cint%3Apk%3E&method=GET",
    }
    assert firing["text"].startswith("FIRING: slow site (GET /<int:pk>): p95 of GET /<int:pk> is 9")
    assert (recovered["state"], recovered["began"]) == ("recovered", firing["began"])
    path, headers = hook.asked[0]
    assert (path, headers["Content-Type"]) == ("/hook", "application/json")
    assert headers["User-Agent"].startswith("django_perf/")


def test_many_alerts_are_summed_in_the_last_message(site, hook):
    site.rules({**SLOW, "endpoint": "*"}, ALERT_WEBHOOK=hook.url, ALERT_EMAILS=False)
    table = {}
    for number in range(30):
        table |= requests(20, route=f"/{number}", us=900_000)
    put(site.alias, {site.minute: table})
    site.passes(1)
    assert len(hook.told) == 20
    last = hook.told[-1]
    assert (last["state"], last["firing"], last["recovered"], len(last["alerts"])) == ("summary", 11, 0, 11)
    assert last["alerts"][0]["state"] == "firing"


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_a_webhook_that_refuses_is_counted_and_tried_again(site, hook, losses, status):
    site.rules(SLOW, ALERT_WEBHOOK=hook.url)
    hook.status, hook.headers = status, {"Location": "http://127.0.0.1:1/elsewhere"}
    site.passes(2, ms=900)
    assert losses() == ["alert webhook: HTTPError"]
    assert len(hook.asked) == 2
    assert len(site.subjects) == 1  # the other channel is told once
    hook.status = 200
    site.passes(2, ms=900)
    assert [one["state"] for one in hook.told] == ["firing"]


def test_a_redirect_is_not_followed(hook):
    with Hook() as elsewhere:
        thread = threading.Thread(target=elsewhere.serve_forever, args=(0.01,))
        thread.start()
        for status in (301, 302, 303, 307, 308):
            hook.status, hook.headers = status, {"Location": elsewhere.url}
            with pytest.raises(HTTPError):
                post(hook.url, HELLO)
        assert elsewhere.asked == []
        elsewhere.shutdown()
        thread.join()


def test_a_webhook_that_is_away_is_an_error():
    with pytest.raises(URLError):
        post("http://127.0.0.1:1/", HELLO)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/", "data:,x"])
def test_nothing_but_http_is_opened(url):
    assert list(conf.problems({"ALERT_WEBHOOK": url}))
    # Without a handler for it nothing is opened either; what comes back is not even an answer.
    with pytest.raises((URLError, TypeError, AttributeError)):
        post(url, HELLO)


def test_a_webhook_that_hangs_costs_its_time_and_no_more(site, hook, losses):
    hook.gate.clear()
    site.rules(SLOW, ALERT_WEBHOOK=hook.url)
    impatient = Watchman(lambda: site.now, limit_s=0.3)
    began_s = time.monotonic()
    site.passes(1, ms=900, watchman=impatient)
    assert time.monotonic() - began_s < 5
    assert losses() == ["alert webhook: no answer"]
    assert len(site.subjects) == 1


def test_what_arrived_before_a_failure_is_not_repeated(site, hook, losses):
    site.rules({**SLOW, "endpoint": "*"}, ALERT_WEBHOOK=hook.url, ALERT_EMAILS=False)
    table = {}
    for number in range(4):
        table |= requests(20, route=f"/{number}", us=900_000)
    put(site.alias, {site.minute: table})
    hook.most = 2
    site.passes(1)
    assert losses() == ["alert webhook: HTTPError"]
    assert len(hook.told) == 2
    hook.most = 1_000
    site.passes(1)
    assert sorted(one["endpoint"] for one in hook.told) == ["GET /0", "GET /1", "GET /2", "GET /3"]


@pytest.mark.parametrize(
    "url",
    [
        "example.com",
        "https://",
        "https:///x",
        "https://user:secret@example.com/",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com/\u00e4",
        "https://[::1/",
        "https://example.com:99999/",
        "https://example.com:0/",
        5,
        b"https://example.com/",
    ],
)
def test_a_wrong_address_is_an_error_that_does_not_show_it(url):
    (problem,) = conf.problems({"ALERT_WEBHOOK": url})
    assert "secret@" not in problem.text
    assert problem.hint.startswith("It takes an address")


@pytest.mark.parametrize(
    "url",
    [None, "https://hooks.example.com/services/T0/B0/xyz?a=b#c", "http://[::1]:8000/", "https://example.com/a@b/"],
)
def test_a_right_address_is_none(url):
    assert list(conf.problems({"ALERT_WEBHOOK": url})) == []


def test_a_message_is_json(hook):
    post(hook.url, HELLO)
    assert json.dumps(hook.told) == '[{"text": "hello"}]'
