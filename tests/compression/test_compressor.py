"""What leaves is either exactly what came, or the same thing smaller, with headers that say so."""

from __future__ import annotations

import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.core.exceptions import MiddlewareNotUsed
from django.http import FileResponse, HttpResponse, HttpResponseNotModified, HttpResponseRedirect, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.middleware.http import ConditionalGetMiddleware
from django.test import RequestFactory

from django_perf.compression import tally
from django_perf.compression.codecs import codec_of
from django_perf.compression.middleware import CompressionMiddleware
from django_perf.compression.padding import keyed_length
from django_perf.compression.rules import is_text
from django_perf.conf import CONTENT_TYPES, Compression
from django_perf.metrics.recorder import recorder
from django_perf.metrics.trace import Trace, current
from django_perf.requests.streaming import follow
from tests.compression.coding import (
    CODINGS,
    DECODERS,
    DEFAULT,
    PAGE,
    aanswered,
    answered,
    asked,
    decoded,
)

# Closing a response is the end of a request, where Django looks after its connections.
pytestmark = pytest.mark.django_db
each_coding = pytest.mark.parametrize("coding", CODINGS)


def page(content=PAGE, status=200, **headers):
    return HttpResponse(
        content, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def stream(**headers):
    return StreamingHttpResponse(
        [PAGE[:5_000], PAGE[5_000:]], headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def is_untouched(make, request=None, options=DEFAULT):
    """Tell whether the middleware changes neither body nor headers."""
    before, after = make(), answered(make(), request, options)
    return (before.getvalue(), dict(before.headers)) == (after.getvalue(), dict(after.headers))


@each_coding
def test_a_page_is_smaller_and_says_so(coding):
    response = answered(page(), asked(coding))
    assert DECODERS[coding](response.content) == PAGE
    assert len(response.content) < len(PAGE) / 3
    assert dict(response.headers) == {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Encoding": coding,
        "Content-Length": str(len(response.content)),
        "Vary": "Accept-Encoding",
    }


@each_coding
def test_a_site_under_asgi_gets_the_same(coding):
    for content in (PAGE, PAGE * 20):
        assert aanswered(page(content), asked(coding)).content == answered(page(content), asked(coding)).content


class TestNeverTouched:
    @pytest.mark.parametrize("status", [100, 101, 102, 103, 199, 204, 205, 206])
    def test_responses_without_a_whole_body(self, status):
        assert is_untouched(lambda: page(status=status, ETag='"a"'))
        assert is_untouched(lambda: page(b"", status=status))

    @pytest.mark.parametrize("encoding", ["", "gzip", "identity", "aes128gcm", " "])
    @pytest.mark.parametrize("make", [page, stream])
    def test_what_is_encoded(self, make, encoding):
        assert is_untouched(lambda: make(Content_Encoding=encoding, ETag='"a"'))

    @pytest.mark.parametrize("make", [page, stream])
    def test_parts(self, make):
        assert is_untouched(lambda: make(Content_Range="bytes 0-9/99"))

    @pytest.mark.parametrize(
        "control", ["no-transform", "No-Transform", "max-age=60,no-transform", "public, no-transform"]
    )
    @pytest.mark.parametrize("make", [page, stream])
    def test_what_must_not_be_transformed(self, make, control):
        assert is_untouched(lambda: make(Cache_Control=control, ETag='"a"'))

    @pytest.mark.parametrize("control", ["no-transform", "No-Transform", "max-age=0, no-transform"])
    @pytest.mark.parametrize("make", [page, stream])
    def test_who_asks_for_it_untransformed_gets_it_and_caches_know(self, make, control):
        response = answered(make(ETag='"a"'), asked(cache_control=control))
        assert (response.getvalue(), response.headers["ETag"]) == (PAGE, '"a"')
        assert response.headers["Vary"] == "Accept-Encoding"
        assert "Content-Encoding" not in response.headers

    @pytest.mark.parametrize(
        "content_type",
        [
            "image/png",
            "image/webp",
            "video/mp4",
            "font/woff2",
            "application/zip",
            "application/octet-stream",
            "application/pdf",
            "html",
            "text",
            "x/text/html",
            "application/json2",
            "image/",
        ],
    )
    @pytest.mark.parametrize("make", [page, stream])
    def test_other_types(self, make, content_type):
        assert is_untouched(lambda: make(Content_Type=content_type, ETag='"a"'))

    def test_a_type_too_long_to_be_one(self):
        assert is_untouched(lambda: page(Content_Type="text/" + "a" * 300))
        assert not is_text("text/" + "a" * 5_000_000, CONTENT_TYPES)

    def test_a_response_that_lost_its_type(self):
        assert is_untouched(lambda: page(Content_Type=""))
        response = page()
        del response.headers["Content-Type"]
        assert answered(response).content == PAGE

    def test_small_bodies(self):
        assert is_untouched(lambda: page(b"a" * 999, ETag='"a"'))
        assert not is_untouched(lambda: page(b"a" * 1_000))
        assert is_untouched(lambda: page(b"a" * 1_000), options=Compression(min_size=1_001))

    def test_streams_that_say_they_are_small(self):
        assert is_untouched(lambda: FileResponse(io.BytesIO(b"a" * 999), content_type="text/css"))
        assert not is_untouched(lambda: FileResponse(io.BytesIO(b"a" * 1_000), content_type="text/css"))

    @pytest.mark.parametrize("length", ["-1", "x", "١", "9" * 400, "", "1.5", "+5"])
    def test_a_length_that_is_no_number_is_none(self, length):
        assert decoded(answered(stream(Content_Length=length))) == PAGE


@pytest.mark.parametrize("status", [200, 201, 203, 207, 226, 301, 400, 404, 418, 429, 500, 503, 599])
def test_every_other_status_is_compressed(status):
    response = answered(page(status=status))
    assert (response.status_code, response.headers["Content-Encoding"]) == (status, "zstd")
    assert decoded(response) == PAGE


@pytest.mark.parametrize("content_type", ["TEXT/HTML", " text/css ; a=b", "application/ld+JSON", "image/svg+xml"])
def test_types_are_compared_without_case_and_parameters(content_type):
    assert "Content-Encoding" in answered(page(Content_Type=content_type)).headers


@pytest.mark.parametrize("content_type", ["font/woff", "image/jpeg", "application/x+json+zip"])
def test_what_is_in_no_pattern_is_no_text(content_type):
    assert not is_text(content_type, CONTENT_TYPES)


def test_noise_stays_as_it_is_and_depends_on_what_was_accepted():
    noise = codec_of("zstd", "fast").encode(PAGE * 3, lambda data: 0)[20:]
    options = Compression(min_size=10)
    response = answered(page(noise, ETag='"a"', Accept_Ranges="bytes"), options=options)
    assert response.content == noise
    assert (response.headers["ETag"], response.headers["Accept-Ranges"]) == ('"a"', "bytes")
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in response.headers


class TestHeaders:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("Cookie", "Cookie, Accept-Encoding"),
            ("Cookie, Accept-Language", "Cookie, Accept-Language, Accept-Encoding"),
            ("accept-encoding", "accept-encoding"),
            ("ACCEPT-ENCODING, Cookie", "ACCEPT-ENCODING, Cookie"),
            ("Cookie,Accept-Encoding", "Cookie,Accept-Encoding"),
            ("*", "*"),
            ("Cookie, *", "*"),
            ("X-Accept-Encoding", "X-Accept-Encoding, Accept-Encoding"),
        ],
    )
    def test_vary_is_merged(self, before, after):
        for request in (asked("gzip"), asked("identity")):
            for make in (page, stream):
                found = answered(make(Vary=before), request).headers["Vary"]
                assert found.replace(" ", "") == after.replace(" ", "")

    @pytest.mark.parametrize("accept", ["", "identity", "br;q=0", "gzip"])
    def test_caches_learn_of_it_also_where_nothing_was_compressed(self, accept):
        assert answered(page(), asked(accept)).headers["Vary"] == "Accept-Encoding"
        assert answered(page(), RequestFactory().get("/")).headers["Vary"] == "Accept-Encoding"
        assert answered(HttpResponseNotModified(), asked(accept)).headers["Vary"] == "Accept-Encoding"

    def test_what_nobody_may_compress_has_no_vary(self):
        assert "Vary" not in answered(page(Content_Type="image/png")).headers
        assert "Vary" not in answered(page(b"small")).headers

    @pytest.mark.parametrize(("before", "after"), [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"'), ('""', 'W/""'), ("a", "a")])
    @pytest.mark.parametrize("make", [page, stream])
    def test_a_strong_etag_becomes_weak(self, make, before, after):
        assert answered(make(ETag=before)).headers["ETag"] == after
        assert answered(make(ETag=before), asked("identity")).headers["ETag"] == before

    @pytest.mark.parametrize("name", ["Accept-Ranges", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"])
    @pytest.mark.parametrize("make", [page, stream])
    def test_what_described_the_other_bytes_is_gone(self, make, name):
        assert name not in answered(make(**{name: "bytes"})).headers
        assert name in answered(make(**{name: "bytes"}), asked("identity")).headers

    def test_a_length_is_exact_or_absent(self):
        assert answered(page(Content_Length="5")).headers["Content-Length"] != "5"
        assert "Content-Length" not in answered(stream(Content_Length=str(len(PAGE)))).headers
        assert answered(page(Content_Length="99999"), asked("identity")).headers["Content-Length"] == "99999"

    @pytest.mark.parametrize("make", [page, stream])
    def test_cookies_and_everything_else_stay(self, make):
        response = make(X_Own="1", Cache_Control="private", Last_Modified="yesterday")
        response.set_cookie("a", "1", httponly=True)
        response.set_cookie("b", "2")
        after = answered(response)
        assert after.cookies.output() == response.cookies.output()
        assert [after.headers[name] for name in ("X-Own", "Cache-Control", "Last-Modified")] == [
            "1",
            "private",
            "yesterday",
        ]
        assert decoded(after) == PAGE


class TestHead:
    @pytest.mark.parametrize("make", [page, stream, lambda: page(b"small"), lambda: page(Content_Type="image/png")])
    def test_it_has_the_headers_of_get(self, make):
        get, head = answered(make()), answered(make(), asked(method="HEAD"))
        assert dict(head.headers) == dict(get.headers)

    def test_a_view_that_only_says_how_long_the_body_is_has_no_length_of_another_body(self):
        response = answered(page(b"", Content_Length="5000", ETag='"a"'), asked(method="HEAD"))
        assert dict(response.headers) == {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Encoding": "zstd",
            "ETag": 'W/"a"',
            "Vary": "Accept-Encoding",
        }

    def test_a_small_one_stays_as_it_is(self):
        assert is_untouched(lambda: page(b"", Content_Length="999"), asked(method="HEAD"))

    @pytest.mark.parametrize("make", [lambda: HttpResponseRedirect("/x"), lambda: page(b"", status=404)])
    def test_an_empty_response_is_empty_for_both(self, make):
        get, head = answered(make()), answered(make(), asked(method="HEAD"))
        assert dict(head.headers) == dict(get.headers)


def test_an_empty_body_is_never_encoded_whatever_the_smallest_size():
    response = answered(page(b""), options=Compression(min_size=0))
    assert "Content-Encoding" not in response.headers
    assert decoded(response) == b""


class TestNotModified:
    @pytest.mark.parametrize(("accept", "etag"), [("gzip", 'W/"a"'), ("identity", '"a"'), ("", '"a"')])
    def test_it_has_the_validator_that_the_page_would_have(self, accept, etag):
        response = answered(HttpResponseNotModified(headers={"ETag": '"a"', "Vary": "Cookie"}), asked(accept))
        assert (response.status_code, response.content) == (304, b"")
        assert dict(response.headers) == {"ETag": etag, "Vary": "Cookie, Accept-Encoding"}
        assert answered(page(ETag='"a"'), asked(accept)).headers["ETag"] == etag

    @each_coding
    def test_a_client_that_has_the_page_is_told_so(self, coding):
        def site(request):
            return CompressionMiddleware(ConditionalGetMiddleware(lambda request: page()), DEFAULT)(request)

        first = site(asked(coding))
        assert first.headers["ETag"].startswith('W/"')
        second = site(asked(coding, if_none_match=first.headers["ETag"]))
        assert (second.status_code, second.headers["ETag"]) == (304, first.headers["ETag"])


class TestNotTwice:
    @each_coding
    @pytest.mark.parametrize("make", [page, stream])
    def test_two_of_ours_compress_once(self, make, coding):
        once = answered(make(), asked(coding), replace(DEFAULT, max_padding=0))
        headers = dict(once.headers)
        twice = answered(once, asked(coding))
        assert decoded(twice) == PAGE
        assert dict(twice.headers) == headers

    @pytest.mark.parametrize("make", [page, stream])
    def test_ours_and_djangos_compress_once_in_either_order(self, make):
        request = asked("gzip")
        inside = answered(GZipMiddleware(lambda request: make())(request), request)
        outside = GZipMiddleware(lambda request: answered(make(), request))(request)
        assert decoded(inside) == decoded(outside) == PAGE


class TestFiles:
    def test_a_file_is_compressed_and_closed(self):
        with tempfile.NamedTemporaryFile(suffix=".css") as file:
            file.write(PAGE)
            file.flush()
            file.seek(0)
            response = answered(FileResponse(file, headers={"ETag": '"a"', "Accept-Ranges": "bytes"}))
            assert response.file_to_stream is None  # else the server would send the file itself
            assert decoded(response) == PAGE
            assert {"Content-Length", "Accept-Ranges"}.isdisjoint(response.headers)
            response.close()
            assert file.closed

    def test_a_download_of_another_type_goes_the_servers_way(self):
        file = io.BytesIO(PAGE)
        response = answered(FileResponse(file, content_type="application/zip"))
        assert response.file_to_stream is file
        assert response.headers["Content-Length"] == str(len(PAGE))


class TestProbes:
    CROSS = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image", "cookie": "id=1"}

    @pytest.mark.parametrize("make", [page, stream])
    def test_another_site_that_asks_in_the_visitors_name_learns_no_length(self, make):
        response = answered(make(ETag='"a"'), asked(**self.CROSS))
        assert "Content-Encoding" not in response.headers
        assert (response.headers["Vary"], response.headers["ETag"]) == ("Accept-Encoding", '"a"')
        assert response.getvalue() == PAGE

    @pytest.mark.parametrize(
        "change",
        [
            {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"},
            {"sec_fetch_site": "same-origin"},
            {"sec_fetch_site": "same-site"},
            {"sec_fetch_site": "none"},
            {"cookie": ""},
        ],
    )
    def test_everybody_else_gets_it_compressed(self, change):
        assert "Content-Encoding" in answered(page(), asked(**self.CROSS | change)).headers

    @pytest.mark.parametrize(
        "change",
        [
            {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
            {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "document"},
            {"sec_fetch_mode": "cors", "sec_fetch_dest": "empty"},
            {"sec_fetch_mode": "", "sec_fetch_dest": ""},
        ],
    )
    def test_a_frame_is_no_link(self, change):
        assert "Content-Encoding" not in answered(page(), asked(**self.CROSS | change)).headers


class TestPadding:
    @each_coding
    def test_the_length_is_that_of_the_key_and_below_the_limit(self, settings, coding):
        lengths = set()
        for key in range(60):
            settings.SECRET_KEY = str(key)
            lengths.add(len(answered(page(), asked(coding)).content))
        assert len(lengths) > 20
        assert max(lengths) - min(lengths) <= 99 + 8

    @each_coding
    def test_whoever_asks_again_gets_the_same_bytes(self, coding):
        bodies = {answered(page(), asked(coding)).content for _ in range(20)}
        assert len(bodies) == 1

    def test_bodies_of_one_length_differ_by_less_than_the_limit(self):
        options = Compression(max_padding=7)
        for number in range(200):
            body = PAGE + b"%03d" % number
            data = answered(page(body), asked("gzip"), options).content
            plain = len(codec_of("gzip", "balanced").encode(body, lambda data: 0))
            assert len(data) - plain in {0, *range(2, 8)}
        assert keyed_length(b"", 7) < 7

    def test_without_padding_lengths_are_what_they_are(self, settings):
        options, lengths = Compression(max_padding=0), set()
        for key in range(20):
            settings.SECRET_KEY = str(key)
            lengths.add(len(answered(page(), options=options).content))
        assert len(lengths) == 1

    @each_coding
    def test_a_stream_is_as_long_by_chance(self, coding):
        lengths = {len(answered(stream(), asked(coding)).getvalue()) for _ in range(60)}
        assert len(lengths) > 20
        assert max(lengths) - min(lengths) <= 99 + 8


class TestFaults:
    STEPS = ["refusal", "choose", "is_probe", "codec_of", "_vary", "keyed_length", "random_length", "Pump", "_is_live"]
    STEPS += ["compressed", "_relabel", "_weaken"]

    @pytest.mark.parametrize("make", [page, stream])
    @pytest.mark.parametrize("step", STEPS)
    def test_wherever_it_happens_the_response_is_right(self, monkeypatch, step, make):
        monkeypatch.setattr(f"django_perf.compression.compressor.{step}", lambda *args, **kwargs: 1 // 0)
        assert decoded(answered(make(ETag='"a"', Content_Length=str(len(PAGE))))) == PAGE

    def test_a_stream_that_cannot_be_counted_comes_to_its_end(self, monkeypatch):
        monkeypatch.setattr("django_perf.compression.compressor.note", lambda *args: 1 // 0)
        assert decoded(answered(stream())) == PAGE

    def test_a_page_that_cannot_be_counted_is_sent(self, monkeypatch):
        monkeypatch.setattr("django_perf.compression.compressor.note", lambda *args: 1 // 0)
        assert decoded(answered(page())) == decoded(answered(page(), asked(""))) == PAGE

    @pytest.mark.parametrize("step", ["refusal", "choose", "codec_of", "keyed_length", "note"])
    def test_under_asgi_too(self, monkeypatch, step):
        monkeypatch.setattr(f"django_perf.compression.compressor.{step}", lambda *args, **kwargs: 1 // 0)
        assert decoded(aanswered(page(PAGE * 20))) == PAGE * 20

    @each_coding
    def test_a_codec_that_fails_leaves_the_response_as_it_came(self, monkeypatch, coding):
        codec = codec_of(coding, "balanced")
        monkeypatch.setattr(type(codec), "encode", lambda *args: 1 // 0)
        monkeypatch.setattr(type(codec), "stream", lambda *args: 1 // 0)
        for make in (page, stream):
            response = answered(make(ETag='"a"'), asked(coding))
            assert response.getvalue() == PAGE
            assert response.headers["ETag"] == '"a"'
            assert "Content-Encoding" not in response.headers

    def test_it_is_counted(self, monkeypatch):
        recorder.enabled = True
        monkeypatch.setattr("django_perf.compression.compressor.choose", lambda *args: 1 // 0)
        answered(page())
        keys = [key for table in recorder.drain().values() for key in table]
        assert ("loss", "error", "compression: ZeroDivisionError") in keys

    @pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
    def test_a_worker_that_is_told_to_stop_stops(self, monkeypatch, stop):
        def leave(*args):
            raise stop

        monkeypatch.setattr("django_perf.compression.compressor.choose", leave)
        with pytest.raises(stop):
            answered(page())

    def test_an_exception_of_the_view_is_the_views(self):
        def view(request):
            raise LookupError

        with pytest.raises(LookupError):
            CompressionMiddleware(view, DEFAULT)(asked())

    def test_with_wrong_settings_the_site_serves_uncompressed(self, settings, caplog):
        settings.DJANGO_PERF = {"COMPRESSION": {"PROFILE": "harder"}}
        with pytest.raises(MiddlewareNotUsed):
            CompressionMiddleware(lambda request: page())
        assert "harder" in caplog.text


def test_the_settings_are_those_of_the_site(settings):
    settings.DJANGO_PERF = {"COMPRESSION": {"ENCODINGS": ["gzip"], "MIN_SIZE": 10, "CONTENT_TYPES": ["a/*"]}}
    site = CompressionMiddleware(lambda request: page(b"a" * 500, Content_Type="a/b"))
    assert site(asked("zstd, br, gzip;q=0.1")).headers["Content-Encoding"] == "gzip"


def test_eight_threads_get_their_own_bodies():
    bodies = [PAGE[: 2_000 + 37 * number] + b"%d" % number for number in range(300)]

    def both(number):
        request = asked(CODINGS[number % 3])
        whole = decoded(answered(page(bodies[number]), request))
        return whole, decoded(
            answered(StreamingHttpResponse([bodies[number][:1_000], bodies[number][1_000:]]), request)
        )

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(both, range(300))) == [(body, body) for body in bodies]


class TestTally:
    @pytest.fixture(autouse=True)
    def _nothing_noted(self):
        recorder.enabled = True
        list(tally.read())

    def noted(self):
        return {key[-1]: bytes_ for key, _, bytes_, _ in tally.read()}

    def test_bytes_are_counted_before_and_after(self):
        response = answered(page())
        assert self.noted() == {"zstd": (len(PAGE), len(response.content))}

    def test_what_is_left_out_of_every_figure_is_left_out_here(self, settings):
        trace = Trace(0)
        trace.ignored = True
        token = current.set(trace)
        answered(page())
        current.reset(token)
        assert self.noted() == {}
        settings.DJANGO_PERF = {"IGNORE_ROUTES": ["(unres*"]}
        answered(page())
        assert self.noted() == {}

    def test_a_stream_is_counted_at_its_end_also_when_it_breaks_off(self):
        data = answered(stream(), asked("br")).getvalue()
        assert self.noted() == {"br": (len(PAGE), len(data))}
        response = answered(stream(), asked("br"))
        first = next(iter(response))
        response.close()
        assert self.noted() == {"br": (5_000, len(first))}

    @pytest.mark.parametrize(
        ("make", "request_", "outcome"),
        [
            (lambda: page(b"small"), asked(), "small"),
            (lambda: page(Content_Type="image/png"), asked(), "type"),
            (lambda: page(Content_Encoding="gzip"), asked(), "encoded"),
            (lambda: page(status=206), asked(), "status"),
            (HttpResponseNotModified, asked(), "not_modified"),
            (lambda: page(Cache_Control="no-transform"), asked(), "no_transform"),
            (page, asked("identity"), "not_accepted"),
            (page, asked(**TestProbes.CROSS), "cross_site"),
        ],
    )
    def test_what_was_left_alone_is_counted_by_its_reason(self, make, request_, outcome):
        answered(make(), request_)
        assert list(self.noted()) == [outcome]


def test_a_compressed_file_is_counted_by_what_was_sent(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(PAGE * 20)
    response = answered(FileResponse(path.open("rb"), content_type="text/html"))
    bodies = []
    follow(response, Trace(0), bodies.append)
    data = response.getvalue()
    response.close()
    assert len(data) < len(PAGE)
    assert [body.sent_bytes for body in bodies] == [len(data)]
