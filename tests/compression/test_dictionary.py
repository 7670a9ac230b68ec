"""Dictionaries hold what many strangers were told, are used when nothing speaks against it, and never by guess."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from base64 import b64encode
from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_perf.compression import compressor, dictionary, views
from django_perf.compression.building import AT_LEAST, build, pieces
from django_perf.compression.codecs import zstd
from django_perf.compression.loading import active
from django_perf.compression.models import CompressionDictionary
from django_perf.compression.profiles import PROFILES
from django_perf.conf import Compression
from django_perf.metrics.recorder import recorder
from django_perf.middleware import CompressionMiddleware
from tests.pool.fakes import Clock

OPTIONS = Compression(dictionaries=True, max_padding=0)
COMMON = "".join(f"<li class='common'>Everybody reads line {number}.</li>\n" for number in range(80))
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": "none"}
SAME_ORIGIN = {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "sec-fetch-site": "same-origin"}
BROWSER = "gzip, deflate, br, zstd, dcb, dcz"
URLS = [f"/page/{number}" for number in range(AT_LEAST)]


def page(request, number):
    """Say what is common, a token of its own, and what the visitor has told."""
    visitor = request.COOKIES.get("name", "a stranger")
    body = f"{COMMON}<p>Hello {visitor}</p>\n<input name=token value={secrets.token_hex(16)}>\n<p>Page {number}</p>\n"
    response = HttpResponse(body, headers={"Set-Cookie": f"token={secrets.token_hex(8)}"})
    response.headers["Cache-Control"] = request.GET.get("control", "max-age=60")
    return response


def missing(request):
    return HttpResponse("no", status=404)


def picture(request):
    return HttpResponse(b"\x89PNG", content_type="image/png")


urlpatterns = [
    path("page/<int:number>", page),
    path("missing/<int:number>", lambda request, number: missing(request)),
    path("picture/<int:number>", lambda request, number: picture(request)),
    path("perf/", include("django_perf.urls")),
]

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])


@pytest.fixture(autouse=True)
def _own_site():
    compressor._dictionaries.cache_clear()
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"]):
        yield
    compressor._dictionaries.cache_clear()


def perfdict(*arguments):
    out = StringIO()
    call_command("perfdict", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def row():
    """A dictionary in use, which this process knows."""
    perfdict("build", "/page/*", *URLS, "--approve")
    row = CompressionDictionary.objects.get()
    known = compressor._dictionaries("balanced")
    known._load = lambda: list(active(PROFILES["balanced"]))
    known.refresh = lambda: None
    known.load()
    return row


def ask(row, accept=BROWSER, available=None, url="/page/9", body=None, **headers):
    """Return the answer to a request."""
    request = RequestFactory().get(url, headers={"accept-encoding": accept, **headers})
    header = f":{b64encode(bytes.fromhex(row.sha256)).decode()}:" if available is None else available
    if header:
        request.META["HTTP_AVAILABLE_DICTIONARY"] = header
    view = (lambda request: HttpResponse(body)) if body is not None else (lambda request: page(request, 9))
    return CompressionMiddleware(view, OPTIONS)(request)


def read(row, response):
    """Decode an answer as a browser with the dictionary does."""
    head, sha256, frame = response.content[:8], response.content[8:40], response.content[40:]
    assert (head, sha256.hex()) == (b"\x5e\x2a\x4d\x18\x20\x00\x00\x00", row.sha256)
    return zstd.decompress(frame, zstd_dict=zstd.ZstdDict(bytes(row.content), is_raw=True))


# What gets into one


@given(st.binary(max_size=2_000))
def test_the_pieces_of_a_body_are_the_body(body):
    assert b"".join(pieces(body)) == body


@given(st.lists(st.lists(st.sampled_from([b"a\n", b"b\n", b"secret\n", b"long " * 100 + b"\n"])), max_size=8))
def test_nothing_is_in_it_that_fewer_answers_have(answers):
    bodies = [b"".join(lines) for lines in answers]
    made = build(bodies)
    for piece in set(pieces(made)):
        assert sum(piece in pieces(body) for body in bodies) >= AT_LEAST


def test_of_too_much_the_most_useful_is_kept():
    rare, common = b"rare " * 10 + b"\n", b"common " * 10 + b"\n"
    answers = [rare + common] * AT_LEAST + [common] * AT_LEAST
    assert build(answers, max_bytes=80) == common
    assert len(build([secrets.token_bytes(100_000)] * AT_LEAST)) <= 64 * 1024


def test_none_begins_as_one_that_was_trained():
    assert build([b"\x37\xa4\x30\xec and more\n"] * AT_LEAST) == b"\n\x37\xa4\x30\xec and more\n"


def test_a_canary_does_not_get_in(settings):
    """Tokens differ by answer, and nobody is logged in: neither what he is told nor what he says is there."""
    settings.MIDDLEWARE = ["django_perf.middleware.CompressionMiddleware"]
    shown = perfdict("build", "/page/*", *URLS)
    content = bytes(CompressionDictionary.objects.get().content).decode()
    assert content.startswith(COMMON)
    assert "token" not in content
    assert "Page" not in content
    assert content in shown


def test_its_own_questions_are_no_traffic(settings, monkeypatch):
    settings.MIDDLEWARE = ["django_perf.middleware.TimingMiddleware"]
    monkeypatch.delattr(mail, "outbox")  # as outside of tests
    perfdict("build", "/page/*", *URLS)
    assert not recorder.enabled
    assert recorder.drain() == {}


def test_what_a_visitor_is_told_is_never_asked_for():
    client = Client()
    client.cookies["name"] = "Ada"
    assert b"Hello Ada" in client.get("/page/1").content
    perfdict("build", "/page/*", *URLS, "--approve")
    assert b"Ada" not in bytes(CompressionDictionary.objects.get().content)


@pytest.mark.parametrize(
    ("match", "urls", "complaint"),
    [
        ("page", URLS, "is no path with"),
        ("/page/(a|b)", URLS, "is no path with"),
        ('/page/"', URLS, "is no path with"),
        ("/page/*", URLS[1:], "4 pages"),
        ("/page/*", [URLS[0]] * 9, "1 pages"),
        ("/page/*", [f"{url}?control=private" for url in URLS], "not public"),
        ("/page/*", [f"{url}?control=no-store" for url in URLS], "not public"),
        ("/missing/*", [f"/missing/{number}" for number in range(5)], "answered a stranger with 404"),
        ("/picture/*", [f"/picture/{number}" for number in range(5)], "which is not compressed"),
    ],
)
def test_what_makes_no_dictionary_is_an_error(match, urls, complaint):
    with pytest.raises(CommandError, match=re.escape(complaint)):
        perfdict("build", match, *urls)
    assert not CompressionDictionary.objects.exists()


# Its life


def test_a_draft_is_not_used_before_somebody_approves_it(row, client):
    perfdict("retire", row.sha256[:12])
    perfdict("build", "/page/*", *[f"/page/{number}" for number in range(20, 26)])
    CompressionDictionary.objects.update(state="draft", retired=None)
    assert list(active(PROFILES["balanced"])) == []
    assert client.get(f"/perf/dictionary/{row.sha256}").status_code == 404
    assert "draft" in perfdict("list")
    perfdict("approve", row.sha256[:6])
    assert [one.sha256.hex() for one in active(PROFILES["balanced"])] == [row.sha256]


def test_a_draft_that_is_turned_down_is_never_served(row, client):
    CompressionDictionary.objects.update(state="draft")
    assert "never in use" in perfdict("retire", row.sha256)
    assert client.get(f"/perf/dictionary/{row.sha256}").status_code == 404
    assert not CompressionDictionary.objects.exists()


def test_retiring_again_does_not_make_it_readable_again(row):
    perfdict("retire", row.sha256)
    with pytest.raises(CommandError, match="retired already"):
        perfdict("retire", row.sha256)


def test_pages_have_to_be_of_the_paths_it_is_for(row):
    with pytest.raises(CommandError, match=r"/page/0 is not one of the paths /other\*"):
        perfdict("build", "/other*", *URLS)


def test_the_same_content_for_other_paths_is_said_and_not_mixed_up(row):
    with pytest.raises(CommandError, match="has the same content, and is in use for"):
        perfdict("build", "/pag*", *URLS)
    perfdict("retire", row.sha256)
    perfdict("build", "/pag*", *URLS, "--approve")
    row.refresh_from_db()
    assert (row.match, row.state) == ("/pag*", "active")


def test_what_is_to_be_read_cannot_hide_itself(monkeypatch):
    monkeypatch.setattr("tests.compression.test_dictionary.COMMON", COMMON + "\x1b[8mhidden\r\x9b2K\n")
    shown = perfdict("build", "/page/*", *URLS)
    assert "\\x1b[8mhidden\\r" in shown
    assert not set(shown) & {"\x1b", "\r", "\x9b"}


@pytest.mark.parametrize("name", ["%00", "x", "0" * 63, "G" * 64, "..%2f"])
def test_any_other_address_is_a_404(client, name):
    assert client.get(f"/perf/dictionary/{name}").status_code == 404


def test_a_database_that_fails_is_a_503_that_nobody_keeps(row, client, monkeypatch):
    monkeypatch.setattr(views, "get_object_or_404", mock_failure)
    answer = client.get(f"/perf/dictionary/{row.sha256}")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (503, "no-store")


def mock_failure(*args, **kwargs):
    raise DatabaseError


def test_strangers_may_fetch_it_where_everybody_else_has_to_log_in(row, client, settings):
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert client.get(f"/perf/dictionary/{row.sha256}").status_code == 200


def test_it_is_served_for_ever_under_its_hash(row, client):
    answer = client.get(f"/perf/dictionary/{row.sha256}")
    assert hashlib.sha256(answer.content).hexdigest() == row.sha256
    assert answer.headers["Use-As-Dictionary"] == 'match="/page/*"'
    assert answer.headers["Cache-Control"] == "public, max-age=604800, immutable"
    assert (answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]) == (
        "text/plain; charset=utf-8",
        "nosniff",
    )
    assert client.post(f"/perf/dictionary/{row.sha256}").status_code == 405


def test_a_retired_one_can_be_read_until_nobody_may_have_it(row, client):
    perfdict("retire", row.sha256)
    answer = client.get(f"/perf/dictionary/{row.sha256}")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "Use-As-Dictionary" not in answer.headers
    CompressionDictionary.objects.update(retired=timezone.now() - timedelta(days=8))
    assert client.get(f"/perf/dictionary/{row.sha256}").status_code == 404
    CompressionDictionary.objects.update(retired=timezone.now() - timedelta(days=15))
    perfdict("build", "/page/*", *URLS, "--approve")
    assert CompressionDictionary.objects.get().state == "active"


def test_a_new_one_for_the_same_paths_retires_the_old_one(row):
    with override_settings(ROOT_URLCONF="tests.compression.served"):
        perfdict("build", "/page/*", *URLS, "--approve")
    row.refresh_from_db()
    assert row.state == "retired"
    assert CompressionDictionary.objects.filter(state="active").count() == 1


@pytest.mark.parametrize("start", ["", "zz", "0" * 64])
def test_a_hash_that_is_nobodys_is_an_error(row, start):
    CompressionDictionary.objects.create(sha256="f" * 64, match="/", content=b"", created=timezone.now())
    with pytest.raises(CommandError, match=r"dictionar(y begins|ies begin) with"):
        perfdict("show", start)


@given(st.text("ab/", max_size=12), st.text("ab/*", max_size=6))
def test_a_pattern_means_what_it_seems_to(path, pattern):
    assert dictionary.is_match_of(pattern, path) == bool(re.fullmatch(pattern.replace("*", ".*"), path))


def test_a_long_path_costs_little():
    began = time.thread_time()
    assert not dictionary.is_match_of("/" + "*a" * 90 + "b", "/" + "a" * 8_000)
    assert time.thread_time() - began < 0.5  # a backtracking match would not end


def test_what_was_known_stays_while_the_database_is_away():
    answers = [[1], RuntimeError("away")]

    def load():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [dictionary.known("0" * 64, "/a*", b"x" * 100, PROFILES["balanced"]) for _ in answer]

    known = dictionary.Dictionaries(load, Clock())
    known.load()
    known.load()
    assert known.for_path("/abc") is not None
    assert known.for_path("/b") is None


# Its use


def test_a_page_is_compressed_with_what_the_browser_has(row):
    response = ask(row, **NAVIGATION)
    assert response.headers["Content-Encoding"] == "dcz"
    assert read(row, response).decode().startswith(COMMON)
    assert response.headers["Vary"] == "Accept-Encoding, Available-Dictionary"
    assert response.headers["Content-Length"] == str(len(response.content))
    assert "Link" not in response.headers
    plain = ask(row, available="", **NAVIGATION)
    assert len(response.content) < 0.9 * len(plain.content)


def test_a_browser_without_it_is_told_where_it_is(row):
    for available in ("", f":{b64encode(bytes(32)).decode()}:"):
        response = ask(row, "gzip, deflate, br, zstd", available, **NAVIGATION)
        assert response.headers["Content-Encoding"] == "zstd"
        assert response.headers["Link"] == f'</perf/dictionary/{row.sha256}>; rel="compression-dictionary"'
        assert response.headers["Vary"] == "Accept-Encoding, Available-Dictionary"


@pytest.mark.parametrize(
    ("headers", "coding"),
    [
        (NAVIGATION, "dcz"),
        ({**NAVIGATION, "sec-fetch-site": "cross-site"}, "dcz"),
        (SAME_ORIGIN, "dcz"),
        ({**NAVIGATION, "sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, "zstd"),
        ({**SAME_ORIGIN, "sec-fetch-site": "same-site"}, "zstd"),
        ({**SAME_ORIGIN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "zstd"),
        ({}, "zstd"),
    ],
)
def test_only_who_may_read_the_page_anyway_gets_it(row, headers, coding):
    assert ask(row, **headers).headers["Content-Encoding"] == coding


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("zstd, br, gzip", "zstd"),
        ("*", "zstd"),
        ("dcz;q=0, zstd", "zstd"),
        ("dcz;q=0.5, br", "br"),
        ("dcz", "dcz"),
        ("DCZ", "dcz"),
        ("dcz, zstd;q=0", "dcz"),
    ],
)
def test_it_has_to_be_named(row, accept, coding):
    assert ask(row, accept, **NAVIGATION).headers["Content-Encoding"] == coding


@given(st.text(max_size=60))
def test_any_header_is_a_dictionary_of_ours_or_none(header):
    known = dictionary.Dictionaries(list)
    meta = {"HTTP_AVAILABLE_DICTIONARY": header, "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert known.of_client(meta) is None


def test_other_paths_do_not_vary_by_it(row):
    response = ask(row, available="", url="/other", **NAVIGATION)
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Link" not in response.headers


@pytest.mark.parametrize("size", [1_000, 32 * 1024 - 1, 32 * 1024, 300_000, 2_000_000])
def test_every_size_is_read_again(row, size):
    body = (COMMON.encode() + secrets.token_hex(5_000).encode()) * (size // 10_000 + 1)
    response = ask(row, body=body[:size], **NAVIGATION)
    assert read(row, response) == body[:size]
    assert zstd.get_frame_info(response.content[40:]).decompressed_size == size


def test_without_the_option_nothing_is_announced(row):
    request = RequestFactory().get("/page/1", headers={"accept-encoding": BROWSER, **NAVIGATION})
    response = CompressionMiddleware(lambda request: page(request, 1), Compression())(request)
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Link" not in response.headers


def test_the_process_learns_of_it_by_itself(row, monkeypatch):
    loaded = []
    known = dictionary.Dictionaries(lambda: loaded.append(1) or [], clock := Clock())
    monkeypatch.setattr(dictionary.threading, "Thread", _AtOnce)
    known.refresh()
    known.refresh()
    assert loaded == [1]
    clock.advance(31)
    known.refresh()
    assert loaded == [1, 1]


class _AtOnce:
    def __init__(self, target, **kwargs):
        self.start = target
