from __future__ import annotations

import logging

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpResponse
from django.test import Client, RequestFactory

from django_perf.metrics.recorder import recorder
from django_perf.metrics.trace import current
from django_perf.requests import streaming
from django_perf.requests.middleware import TimingMiddleware
from tests.requests import urls

# Closing a response closes old connections, which counts as access.
pytestmark = pytest.mark.django_db


def test_a_request_is_named_by_its_route_method_and_status_class(visitor, measured):
    visitor.get("/fine/17")
    visitor.get("/fine/18")
    assert measured("request").keys() == {("fine/<int:number>", "GET", "2xx")}


def test_the_root_has_a_name(visitor, measured):
    visitor.get("/")
    assert measured("request").keys() == {("/", "GET", "2xx")}


def test_all_unresolved_paths_share_one_series(visitor, measured):
    for path in ("/nothing", "/wp-login.php", "/%00", "/%ED%A0%80", "/" + "x" * 5_000):
        visitor.get(path)
    assert {key: row["count"] for key, row in measured("request").items()} == {("(unresolved)", "GET", "4xx"): 5}


@pytest.mark.parametrize("method", ["BREW", "X" * 3_000, "get\n", "\x00", "PROPFIND"])
def test_methods_outside_the_standard_share_one_name(visitor, measured, method):
    visitor.generic(method, "/fine/1")
    (key,) = measured("request")
    assert key[1] == "OTHER"


@pytest.mark.parametrize(("code", "errors"), [(200, 0), (404, 0), (499, 0), (500, 1), (503, 1)])
def test_only_5xx_is_an_error(visitor, measured, code, errors):
    visitor.get(f"/status/{code}")
    assert measured.only()["errors"] == errors


def test_an_exception_is_an_error_and_leaves_its_class_but_never_its_text(visitor, measured, caplog):
    assert visitor.get("/raises").status_code == 500
    tables = recorder.drain().values()
    keys = [key for table in tables for key in table]
    assert ("exception", "raises", "GET", "LookupError") in keys
    assert not any("secret" in text for key in keys for text in key)


def test_an_exception_that_leaves_the_chain_is_counted_and_goes_on(settings, measured):
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    with pytest.raises(LookupError):
        Client().get("/raises")
    assert measured.only()["errors"] == 1


def test_a_worker_told_to_stop_counts_as_aborted(measured):
    def stop(request):
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        TimingMiddleware(stop)(RequestFactory().get("/"))
    counters = measured.only()
    assert (counters["errors"], counters["aborted"]) == (0, 1)


def test_bytes_cpu_and_count_are_measured(visitor, measured):
    visitor.post("/", b"123456789", content_type="text/plain")
    counters = measured.only()
    assert (counters["count"], counters["bytes_in"], counters["bytes_out"], counters["cpu_count"]) == (1, 9, 100, 1)
    assert 0 < counters["cpu_us"] <= counters["us"] + 1_000


@pytest.mark.parametrize("length", ["", "-5", "1" * 30, "٣", "abc"])
def test_a_content_length_that_is_no_number_counts_as_zero(measured, length):
    request = RequestFactory().get("/", CONTENT_LENGTH=length)
    TimingMiddleware(lambda request: HttpResponse())(request)
    assert measured.only()["bytes_in"] == 0


def test_queries_of_the_request_are_counted_and_timed(visitor, measured):
    visitor.get("/queries/3")
    counters = measured.only()
    assert counters["queries"] == 3
    assert 0 < counters["db_us"] <= counters["us"]


def test_every_response_says_how_long_it_took(visitor):
    for path in ("/", "/nothing", "/raises", "/stream-async", "/memory-file"):
        assert visitor.get(path).headers["X-Response-Time"].endswith("s")
    assert float(visitor.get("/").headers["X-Response-Time"][:-1]) < 10


def test_the_header_can_be_switched_off(settings, visitor):
    settings.DJANGO_PERF = {"RESPONSE_TIME_HEADER": False}
    assert "X-Response-Time" not in visitor.get("/").headers


def test_the_header_is_a_header_like_any_other_for_the_host(visitor):
    response = visitor.get("/")
    assert response.has_header("x-response-time")
    assert "X-Response-Time" in dict(response.items())
    del response.headers["X-Response-Time"]
    assert not response.has_header("X-Response-Time")


class TestServerTiming:
    def test_a_visitor_never_gets_it(self, visitor):
        assert "Server-Timing" not in visitor.get("/").headers

    def test_staff_gets_it_where_the_view_has_loaded_the_user(self, admin_client):
        response = admin_client.get("/user")
        assert response.headers["Server-Timing"].startswith("total;dur=")
        assert response.headers["Cache-Control"] == "private"

    def test_it_causes_no_query_of_its_own(self, admin_client, measured):
        response = admin_client.get("/")
        assert "Server-Timing" not in response.headers
        assert measured.only()["queries"] == 0

    def test_a_response_that_shared_caches_store_never_carries_it(self, admin_client):
        response = admin_client.get("/public")
        assert "Server-Timing" not in response.headers
        assert response.headers["Cache-Control"] == "public, max-age=60"

    def test_a_user_who_is_no_staff_does_not_get_it(self, client, django_user_model):
        client.force_login(django_user_model.objects.create_user("visitor"))
        assert "Server-Timing" not in client.get("/user").headers

    def test_in_debug_everybody_gets_total_db_cache_and_app(self, settings, visitor):
        settings.DEBUG = True
        names = [part.split(";")[0] for part in visitor.get("/").headers["Server-Timing"].split(", ")]
        assert names == ["total", "db", "cache", "app"]

    def test_it_can_be_switched_off(self, settings, visitor):
        settings.DEBUG, settings.DJANGO_PERF = True, {"SERVER_TIMING": False}
        assert "Server-Timing" not in visitor.get("/").headers


class TestStreams:
    def test_a_stream_is_measured_when_it_is_closed_with_its_bytes_and_queries(self, visitor, measured):
        response = visitor.get("/stream")
        assert measured("request") == {}
        assert b"".join(response.streaming_content) == b"12345six"
        response.close()
        counters = measured.only()
        assert (counters["bytes_out"], counters["queries"], counters["aborted"], counters["errors"]) == (8, 1, 0, 0)

    def test_an_exception_in_mid_stream_is_an_error_behind_a_200(self, visitor, measured):
        response = visitor.get("/broken-stream")
        with pytest.raises(LookupError):
            list(response.streaming_content)
        response.close()
        keys = {key[0]: key for table in recorder.drain().values() for key in table}
        assert keys["request"][3] == "2xx"
        assert keys["exception"][3] == "LookupError"

    def test_a_client_that_goes_away_is_counted_apart(self, visitor, measured):
        response = visitor.get("/stream")
        next(iter(response.streaming_content))
        response.close()
        counters = measured.only()
        assert (counters["aborted"], counters["errors"], counters["bytes_out"]) == (1, 0, 5)

    def test_a_head_request_leaves_its_stream_unread_and_is_not_aborted(self, measured):
        response = Client().head("/stream")
        response.close()
        assert measured.only()["aborted"] == 0

    def test_a_stream_is_counted_once_however_often_it_is_closed(self, visitor, measured):
        response = visitor.get("/memory-file")
        response.close()
        response.close()
        assert measured.only()["count"] == 1

    def test_a_file_keeps_the_servers_way_to_send_it(self, measured):
        response = TimingMiddleware(urls.file)(RequestFactory().get("/"))
        assert response.file_to_stream is not None  # wsgi.file_wrapper gets this one, and close() by its attribute
        response.close()
        assert measured.only()["bytes_out"] == 1_000

    def test_a_fault_of_ours_at_the_end_does_not_reach_the_server(self, visitor, monkeypatch):
        response = visitor.get("/memory-file")
        monkeypatch.setattr("django_perf.requests.measure.Meter._commit", lambda *args, **kwargs: 1 / 0)
        response.close()
        monkeypatch.undo()
        assert any(key[0] == "loss" for table in recorder.drain().values() for key in table)

    def test_the_current_trace_does_not_leak_out_of_a_stream(self):
        response = Client().get("/stream-async")
        assert current.get() is None
        assert response.streaming

    def test_following_a_finished_body_leaves_it_complete(self):
        body = streaming.Body()
        list(streaming._follow_sync(iter([b"1", b"22"]), body, None))
        assert (body.sent_bytes, body.is_complete, body.error) == (3, True, None)


class TestAsync:
    def test_a_coroutine_view_is_measured_without_cpu_time(self, async_visitor, measured):
        assert async_to_sync(async_visitor.get)("/fine-async").status_code == 200
        counters = measured.only()
        assert (counters["count"], counters["cpu_count"], counters["cpu_us"]) == (1, 0, 0)

    def test_an_async_stream_is_measured_when_it_is_closed(self, async_visitor, measured):
        async def read():
            response = await async_visitor.get("/stream-async")
            chunks = [chunk async for chunk in response.streaming_content]
            response.close()
            return chunks

        assert async_to_sync(read)() == [b"12345", b"678"]
        assert measured.only()["bytes_out"] == 8

    def test_an_exception_is_an_error(self, async_visitor, measured, caplog):
        assert async_to_sync(async_visitor.get)("/raises").status_code == 500
        assert measured.only()["errors"] == 1

    def test_an_exception_that_leaves_the_chain_goes_on(self, measured):
        async def fail(request):
            raise LookupError

        with pytest.raises(LookupError):
            async_to_sync(TimingMiddleware(fail))(RequestFactory().get("/"))
        assert measured.only()["errors"] == 1


class TestSwitches:
    def test_switched_off_it_leaves_the_chain(self, settings):
        settings.DJANGO_PERF = {"ENABLED": False}
        with pytest.raises(MiddlewareNotUsed):
            TimingMiddleware(lambda request: None)

    def test_wrong_settings_are_said_once_and_the_site_serves(self, settings, caplog):
        settings.DJANGO_PERF = {"FLUSH_INTERVALL": 10}
        response = Client().get("/")
        assert response.status_code == 200
        assert "X-Response-Time" not in response.headers
        said = [record for record in caplog.records if record.name == "django_perf"]
        assert [record.levelname for record in said] == ["CRITICAL", "CRITICAL"]  # by each middleware
        assert {record.message.partition(" is off")[0] for record in said} == {"CompressionMiddleware", "django_perf"}
        assert "FLUSH_INTERVALL" in caplog.text

    def test_ignored_routes_are_left_out(self, settings, visitor, measured):
        settings.DJANGO_PERF = {"IGNORE_ROUTES": ["fine/*", "nothing"]}
        visitor.get("/fine/3")
        visitor.get("/")
        assert measured("request").keys() == {("/", "GET", "2xx")}

    def test_under_a_test_runner_nothing_is_recorded_unless_asked(self, visitor, measured):
        recorder.enabled = False
        visitor.get("/")
        assert measured("request") == {}

    def test_no_request_counts_as_running_when_all_have_ended(self, visitor, settings):
        recorder.running.clear()
        settings.DJANGO_PERF = {"IGNORE_ROUTES": ["fine/*"]}
        for path in ("/", "/fine/3", "/raises", "/nothing"):
            visitor.get(path)
        assert recorder.running == set()


def test_a_fault_of_ours_leaves_the_response_alone_and_is_counted(visitor, monkeypatch, measured):
    monkeypatch.setattr("django_perf.requests.measure.Meter._commit", lambda *args, **kwargs: 1 / 0)
    response = visitor.get("/")
    monkeypatch.undo()
    assert (response.status_code, response.content) == (200, b"ok" * 50)
    assert measured("loss").keys() == {("error", "end of a request: ZeroDivisionError")}


@pytest.fixture
def slow_log(caplog):
    caplog.set_level(logging.WARNING, "django_perf.slow_requests")
    return lambda: [record for record in caplog.records if record.name == "django_perf.slow_requests"]


class TestSlowRequests:
    @pytest.fixture(autouse=True)
    def _everything_is_slow(self, settings):
        settings.DJANGO_PERF = {"SLOW_REQUEST_SECONDS": 1e-9}

    def test_one_warning_with_all_that_is_known(self, visitor, slow_log):
        visitor.get("/fine/4", headers={"x-request-id": "abcdef-123456"})
        (record,) = slow_log()
        assert record.levelname == "WARNING"
        assert "GET fine/<int:number> 200 took 0.0" in record.getMessage()
        assert record.getMessage().endswith("request_id=abcdef-123456")
        assert (record.route, record.status, record.queries) == ("fine/<int:number>", 200, 0)

    @pytest.mark.parametrize("given", ["short", "x" * 65, "with\nnewline-in-it", "\x1b[2J-evil-evil", "ünïcödé-id"])
    def test_a_request_id_that_could_forge_a_line_is_replaced(self, visitor, slow_log, given):
        visitor.get("/", HTTP_X_REQUEST_ID=given)
        (record,) = slow_log()
        assert len(record.request_id) == 32
        assert record.request_id.isalnum()

    def test_hostile_paths_and_methods_stay_on_one_line(self, visitor, slow_log):
        visitor.generic("BAD\nMETHOD", "/%0aforged%1b[2J")
        (record,) = slow_log()
        assert record.getMessage().isprintable()
        assert "OTHER (unresolved) 404" in record.getMessage()

    def test_ignored_routes_are_not_logged(self, settings, visitor, slow_log):
        settings.DJANGO_PERF = {"SLOW_REQUEST_SECONDS": 1e-9, "IGNORE_ROUTES": ["/"]}
        visitor.get("/")
        assert slow_log() == []


def test_a_fast_request_is_not_logged(visitor, slow_log):
    visitor.get("/")
    assert slow_log() == []
