"""What Server-Timing says."""

from __future__ import annotations

from django.http import HttpResponse
from django.test import RequestFactory

from django_perf.metrics.trace import Trace
from django_perf.requests.headers import set_server_timing
from tests.metrics.statements import execute


def test_the_time_of_caches_stands_beside_that_of_the_database(settings):
    settings.DEBUG = True
    trace, response = execute(Trace(0), 3_000_000), HttpResponse()
    trace.cache_ns = 1_500_000
    set_server_timing(RequestFactory().get("/"), response, trace, 10_000_000)
    assert response.headers["Server-Timing"] == "total;dur=10.0, db;dur=3.0, cache;dur=1.5, app;dur=5.5"
