"""Which requests are kept as examples, and what is in one: a timeline, and nothing that a client has sent."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.template import engines
from django.test import RequestFactory
from django.urls import ResolverMatch

from django_perf import timed
from django_perf.metrics.recorder import recorder
from django_perf.metrics.samples import MOST_BYTES
from django_perf.metrics.trace import MAX_SPANS, Trace
from django_perf.middleware import TimingMiddleware
from django_perf.requests.timeline import describe
from tests.metrics.statements import execute, shape

pytestmark = pytest.mark.django_db

MS = 1_000_000


def examples_of(view, path="/shop/secret@example.org?token=secret", **headers):
    """Serve `view` once; return {reason: sample}."""

    def answer(request):
        request.resolver_match = ResolverMatch(answer, (), {}, route="shop/<str:mail>")
        view()
        return HttpResponse(status=200)

    with suppress(LookupError):
        TimingMiddleware(answer)(RequestFactory().get(path, headers=headers))
    recorder.fold()
    return {sample.key: sample for sample in recorder.samples.take()}


def loop():
    for number in range(20):
        User.objects.filter(pk=number, username="secret").exists()


def fail():
    raise LookupError("secret")


def sleep():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.11), 'secret'")


def test_an_ordinary_request_is_no_example():
    assert examples_of(lambda: User.objects.exists()) == {}


def test_a_slow_request_is_one(settings):
    settings.DJANGO_PERF = {"SLOW_REQUEST_SECONDS": 1e-9}
    ((key, sample),) = examples_of(lambda: None, **{"X-Request-ID": "abcdef-123456"}).items()
    assert key == ("slow_request", "shop/<str:mail>", "GET")
    assert sample.endpoint == ("shop/<str:mail>", "GET")
    assert (sample.doc["status"], sample.doc["request_id"], sample.doc["spans"]) == (200, "abcdef-123456", [])


def test_an_exception_is_one_with_the_place_that_raised_it():
    ((key, sample),) = examples_of(fail).items()
    assert key == ("exception", "shop/<str:mail>", "GET", "LookupError")
    line = fail.__code__.co_firstlineno + 1
    assert sample.doc["raised_at"] == f"requests/test_remarkable.py:{line} in fail"
    assert sample.doc["status"] == 500


def test_a_statement_of_a_tenth_of_a_second_is_one_of_its_shape():
    ((key, sample),) = examples_of(sleep).items()
    assert key == ("slow_query", "default", "SELECT pg_sleep(?), ?")
    ((span),) = sample.doc["spans"]
    assert (span["kind"], span["name"], span["alias"]) == ("database", "SELECT pg_sleep(?), ?", "default")
    assert 100_000 <= span["us"] <= sample.doc["duration_us"]
    assert span["place"].endswith("in sleep")


def test_a_loop_over_statements_is_one_and_its_statements_are_one_span():
    ((key, sample),) = examples_of(loop).items()
    assert key == ("n_plus_one", "shop/<str:mail>", "GET")
    (span,) = sample.doc["spans"]
    assert (span["calls"], span["busy_us"] <= span["us"]) == (20, True)
    (finding,) = sample.doc["findings"]
    assert (finding["finding"], finding["calls"]) == ("n_plus_one", 20)


def test_one_request_may_be_an_example_of_several_things(settings):
    settings.DJANGO_PERF = {"SLOW_REQUEST_SECONDS": 0.1}
    found = examples_of(lambda: (sleep(), loop(), fail()))
    assert {key[0] for key in found} == {"slow_request", "slow_query", "n_plus_one", "exception"}
    assert len({id(sample.doc) for sample in found.values()}) == 1


def test_nothing_that_was_sent_is_in_an_example(settings):
    settings.DJANGO_PERF = {"SLOW_REQUEST_SECONDS": 1e-9}
    cache.set("secret", 1)

    def view():
        cache.get("secret")
        loop()
        sleep()
        fail()

    samples = examples_of(view, **{"Cookie": "secret=secret", "X-Request-ID": "secret@example.org"})
    assert "secret" not in json.dumps([sample.doc for sample in samples.values()])


def test_an_ignored_request_is_none(settings):
    settings.DJANGO_PERF = {"SLOW_REQUEST_SECONDS": 1e-9, "IGNORE_ROUTES": ["shop/*"]}
    assert examples_of(loop) == {}


def test_a_process_that_records_nothing_keeps_nothing():
    recorder.enabled = False
    assert examples_of(loop) == {}


def test_the_timeline_has_all_that_a_request_does_in_order(settings):
    settings.DJANGO_PERF = {"SLOW_REQUEST_SECONDS": 1e-9}

    def view():
        with timed("outer"):
            User.objects.count()
        cache.get("unknown")
        engines["django"].from_string("x").render()

    (sample,) = examples_of(view).values()
    kinds = [(span["kind"], span["name"].split()[0]) for span in sample.doc["spans"]]
    assert kinds == [("block", "outer"), ("database", "SELECT"), ("cache", "miss"), ("template", "(no")]
    starts = [span["start_us"] for span in sample.doc["spans"]]
    assert starts == sorted(starts)
    assert sample.doc["queries"] == 1


def test_the_request_itself_is_not_kept_until_its_trace_is_added_up():
    trace = Trace(0)
    trace.request = RequestFactory().get("/", headers={"X-Request-ID": "abcdef-123456"})
    trace.let_go()
    assert trace.request is None
    assert describe(trace, 1_000, {})["duration_us"] == 1


def doc_of(trace):
    return describe(trace, 10**9, {})


def test_the_longest_spans_stay_when_there_are_too_many():
    trace = Trace(0)
    for number in range(150):
        execute(trace, (number + 1) * MS, of=shape(f"SELECT {number}"), at=number * MS)
    doc = doc_of(trace)
    assert (len(doc["spans"]), doc["left_out"]) == (100, 50)
    assert min(span["us"] for span in doc["spans"]) == 51_000


def test_an_example_has_a_largest_size_whatever_is_in_it():
    trace = Trace(0)
    for number in range(90):
        execute(trace, MS, of=shape(f"SELECT {number} " + "ä" * 4_000))
    doc = doc_of(trace)
    assert len(json.dumps(doc)) <= MOST_BYTES
    assert doc["left_out"] == 90 - len(doc["spans"])


def test_findings_alone_cannot_exceed_the_size():
    trace = Trace(0)
    for number in range(500):
        labels = ("duplicate", "default", f"SELECT {number}" + "x" * 400, "a.py:1 in f", "x" * 100)
        trace.add(("finding", *labels), (number,), (1, 0))
    assert [row["us"] for row in doc_of(trace)["findings"]] == list(range(499, 489, -1))
    assert len(json.dumps(doc_of(trace))) <= MOST_BYTES


def test_of_very_many_short_spans_few_are_kept_and_of_long_ones_more():
    trace = Trace(0)
    for _ in range(3 * MAX_SPANS):
        trace.add_span("cache", "l2", 0, 1_000)
    trace.add_span("cache", "l2", 0, 50 * MS)
    assert len(trace.spans) == MAX_SPANS + 1
    assert trace.spans[-1].place.endswith("in test_of_very_many_short_spans_few_are_kept_and_of_long_ones_more")
