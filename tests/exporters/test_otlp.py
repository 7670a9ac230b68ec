"""What a collector is told is what a scrape would have said."""

from __future__ import annotations

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.management import CommandError, call_command
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from django_perf.exporters import otlp
from django_perf.management.commands import perfexport
from tests.exporters.data import samples, scrape
from tests.store.data import MIDNIGHT, put, requests

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])


class Collector(ThreadingHTTPServer):
    """A collector that keeps what it is told, and answers with `status`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.told, self.paths = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/v1/metrics"


class Handler(BaseHTTPRequestHandler):
    """Decode one push."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.told.append(ExportMetricsServiceRequest.FromString(body))
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def collector():
    """A collector on a real socket."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def as_samples(pushed):
    """Return a push in the form of samples(), to compare them."""
    ((resource,),) = [[one.scope_metrics for one in pushed.resource_metrics]]
    found = {}
    for metric in resource[0].metrics:
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        assert kind == "gauge" or data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        assert kind != "sum" or data.is_monotonic
        for point in data.data_points:
            found |= point_samples(metric, kind, point)
    return found


def point_samples(metric, kind, point):
    labels = {one.key: one.value.string_value for one in point.attributes}

    def key(suffix="", **more):
        return f"{metric.name}{suffix}", tuple(sorted((labels | more).items()))

    if kind != "histogram":
        value = getattr(point, point.WhichOneof("value"))
        return {key("_total" if kind == "sum" else ""): value}
    assert (point.HasField("min"), point.HasField("max")) == (False, False)
    found, below = {key("_count"): point.count, key("_sum"): point.sum}, 0
    for bound, count in zip([*map(str, point.explicit_bounds), "+Inf"], point.bucket_counts, strict=True):
        below += count
        found[key("_bucket", le=bound)] = below
    return found


def test_a_push_says_what_a_scrape_says(filled, collector, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    call_command("perfexport", otlp=collector.url, once=True)
    (pushed,) = collector.told
    assert as_samples(pushed) == samples(scrape())
    (resource,) = pushed.resource_metrics
    assert ("service.name", "shop") in {(one.key, one.value.string_value) for one in resource.resource.attributes}
    assert collector.paths == ["/v1/metrics"]


def test_units_are_those_of_ucum(filled, collector):
    call_command("perfexport", otlp=collector.url, once=True)
    metrics = {one.name: one.unit for one in collector.told[0].resource_metrics[0].scope_metrics[0].metrics}
    assert metrics["django_perf_request_duration_seconds"] == "s"
    assert metrics["django_perf_response_body_bytes"] == "By"
    assert metrics["django_perf_request_errors"] == "1"


def test_a_collector_that_refuses_fails_a_single_push(filled, collector):
    collector.status = 400
    with pytest.raises(CommandError, match="the collector did not take the metrics"):
        call_command("perfexport", otlp=collector.url, once=True)


@contextmanager
def pauses(monkeypatch, *steps):
    """Do a step instead of each pause of the command, and end it after the last one."""
    left = iter(steps)

    def sleep(seconds):
        try:
            next(left)()
        except StopIteration:
            raise KeyboardInterrupt from None

    with monkeypatch.context() as patch:
        patch.setattr(perfexport.time, "sleep", sleep)
        yield


def test_it_goes_on_after_a_failure_and_what_was_missed_comes_with_the_next_push(
    filled, collector, monkeypatch, capsys
):
    def fail():
        put(filled, {MIDNIGHT: requests(5, route="new")})
        collector.status = 400

    with pauses(monkeypatch, fail, lambda: setattr(collector, "status", 200)):
        call_command("perfexport", otlp=collector.url)
    counted = [as_samples(one).get(("django_perf_request_duration_seconds_count", NEW), 0) for one in collector.told]
    assert counted == [0, 5, 5]
    assert capsys.readouterr().err == "the collector did not take the metrics\nstopped\n"


NEW = (("method", "GET"), ("route", "new"), ("status", "2xx"))


def test_without_the_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(otlp, "is_installed", lambda: False)
    with pytest.raises(CommandError, match=r"pip install django-perf-suite\[otlp\]"):
        call_command("perfexport", otlp="http://127.0.0.1:1", once=True)


@pytest.mark.parametrize("interval", ["0", "-1", "3601", "nan"])
def test_an_interval_that_makes_no_sense_is_refused(interval):
    with pytest.raises(CommandError, match="from 1 to 3600"):
        call_command("perfexport", "--otlp=http://127.0.0.1:1", f"--interval={interval}")
