"""A view may have its own codings or profile, or none at all, with or without the middleware."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.http import HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.generic import View

from django_perf.compression import compress, no_compress
from django_perf.compression.middleware import CompressionMiddleware
from django_perf.compression.profiles import PROFILES
from tests.compression.coding import CODINGS, DECODERS, DEFAULT, PAGE, asked, decoded


def plain(request):
    return HttpResponse(PAGE, headers={"ETag": '"a"'})


def stream(request):
    return StreamingHttpResponse(iter([PAGE[:3_000], PAGE[3_000:]]))


async def asynchronous(request):
    return HttpResponse(PAGE, headers={"ETag": '"a"'})


async def astream(request):
    async def pieces():
        yield PAGE

    return StreamingHttpResponse(pieces())


def template(request):
    return TemplateResponse(request, engines["django"].from_string("{% for n in numbers %}<p>{{ n }}</p>{% endfor %}"))


def filled(response):
    """Do what Django's handler does with a template."""
    response.context_data = {"numbers": range(1_000)}
    return response.render()


FILLED = b"".join(b"<p>%d</p>" % number for number in range(1_000))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("view", [plain, stream])
def test_a_view_is_compressed_without_the_middleware(view, coding):
    response = compress(view)(asked(coding))
    assert (response.headers["Content-Encoding"], response.headers["Vary"]) == (coding, "Accept-Encoding")
    assert decoded(response) == PAGE


@pytest.mark.parametrize("coding", CODINGS)
def test_an_asynchronous_view_too(coding):
    response = async_to_sync(compress(asynchronous))(asked(coding))
    assert DECODERS[coding](response.content) == PAGE

    async def read():
        answer = await compress(astream)(asked(coding))
        return b"".join([data async for data in answer])

    assert DECODERS[coding](async_to_sync(read)()) == PAGE


@pytest.mark.parametrize("decorate", [compress, compress(profile="fast"), compress(encodings=["br"]), no_compress])
@pytest.mark.parametrize(("view", "is_async"), [(plain, False), (asynchronous, True)])
def test_a_view_stays_what_it_was(decorate, view, is_async):
    decorated = decorate(view)
    assert iscoroutinefunction(decorated) is is_async
    assert (decorated.__name__, decorated.__wrapped__) == (view.__name__, view)


def test_arguments_reach_the_view():
    @compress
    def view(request, number, *, name):
        return HttpResponse(f"{number}{name}" * 1_000)

    assert decoded(view(asked(), 1, name="a")) == b"1a" * 1_000


def test_what_the_view_raises_is_raised():
    @compress
    @no_compress
    def view(request):
        raise LookupError

    with pytest.raises(LookupError):
        view(asked())


@pytest.mark.parametrize(
    ("encodings", "accept", "coding"),
    [
        (["gzip"], "zstd, br, gzip;q=0.1", "gzip"),
        (("br", "gzip"), "zstd, br, gzip", "br"),
        (["gzip", "br"], "zstd, br, gzip", "gzip"),
        (["br"], "gzip", "identity"),
    ],
)
def test_a_view_offers_its_own_codings(encodings, accept, coding):
    response = compress(encodings=encodings)(plain)(asked(accept))
    assert response.headers.get("Content-Encoding", "identity") == coding
    assert decoded(response) == PAGE


@pytest.mark.parametrize("coding", CODINGS)
def test_a_view_has_its_own_profile(settings, coding):
    settings.DJANGO_PERF = {"COMPRESSION": {"MAX_PADDING": 0}}
    bodies = {compress(profile=name)(plain)(asked(coding)).content for name in PROFILES}
    assert len(bodies) > 1
    assert {DECODERS[coding](body) for body in bodies} == {PAGE}


@pytest.mark.parametrize(
    "wrong",
    [
        {"encodings": ["deflate"]},
        {"encodings": "gzip"},
        {"encodings": ["gzip", "GZIP"]},
        {"profile": "harder"},
        {"profile": ""},
    ],
)
def test_what_does_not_exist_is_refused_when_the_view_is_made(wrong):
    with pytest.raises(ValueError, match="there are"):
        compress(**wrong)


def test_the_rest_comes_from_the_settings(settings):
    settings.DJANGO_PERF = {"COMPRESSION": {"MIN_SIZE": len(PAGE) + 1}}
    assert "Content-Encoding" not in compress(profile="fast")(plain)(asked()).headers


def test_wrong_settings_leave_the_view_as_it_is(settings):
    settings.DJANGO_PERF = {"COMPRESSION": {"MIN_SIZE": "much"}}
    response = compress(plain)(asked())
    assert (response.content, response.headers["ETag"]) == (PAGE, '"a"')


def test_a_fault_of_ours_leaves_the_view_as_it_is(monkeypatch):
    monkeypatch.setattr("django_perf.compression.compressor.codec_of", lambda *args: 1 // 0)
    response = compress(plain)(asked())
    assert (response.content, response.headers["ETag"]) == (PAGE, '"a"')


class TestNoCompress:
    @pytest.mark.parametrize("view", [plain, stream])
    def test_the_middleware_leaves_it_alone(self, view):
        response = CompressionMiddleware(no_compress(view), DEFAULT)(asked())
        assert response.getvalue() == PAGE
        assert {"Content-Encoding", "Vary"}.isdisjoint(response.headers)
        assert response.headers.get("ETag", '"a"') == '"a"'

    def test_an_asynchronous_view_too(self):
        response = async_to_sync(CompressionMiddleware(no_compress(asynchronous), DEFAULT))(asked())
        assert response.content == PAGE

    def test_it_wins_over_compress_outside_and_the_one_inside_has_already_compressed(self):
        assert compress(no_compress(plain))(asked()).content == PAGE
        assert decoded(no_compress(compress(plain))(asked())) == PAGE

    def test_it_says_nothing_about_other_responses(self):
        no_compress(plain)(asked())
        assert "Content-Encoding" in CompressionMiddleware(plain, DEFAULT)(asked()).headers


class TestTemplates:
    """A TemplateResponse has no content when the view returns it."""

    def test_it_is_compressed_when_it_is_rendered(self):
        response = compress(template)(asked("br"))
        assert not response.is_rendered
        filled(response)
        assert DECODERS["br"](response.content) == FILLED
        assert response.headers["Content-Encoding"] == "br"

    def test_the_middleware_does_not_do_it_again(self):
        response = CompressionMiddleware(lambda request: filled(compress(template)(request)), DEFAULT)(asked("br"))
        assert decoded(response) == FILLED

    def test_no_compress_holds_when_it_is_rendered(self):
        response = CompressionMiddleware(lambda request: filled(no_compress(template)(request)), DEFAULT)(asked())
        assert response.content == FILLED

    def test_one_that_is_rendered_already_is_compressed_at_once(self):
        response = compress(lambda request: filled(template(request)))(asked("gzip"))
        assert decoded(response) == FILLED

    def test_a_fault_of_ours_leaves_it_as_it_is(self, monkeypatch):
        monkeypatch.setattr("django_perf.compression.compressor.codec_of", lambda *args: 1 // 0)
        assert filled(compress(template)(asked())).content == FILLED


def test_a_class_based_view_is_decorated_as_usual():
    @method_decorator(compress(encodings=["gzip"]), name="dispatch")
    class Page(View):
        def get(self, request):
            return HttpResponse(PAGE)

    response = Page.as_view()(asked())
    assert response.headers["Content-Encoding"] == "gzip"
    assert decoded(response) == PAGE
    assert decoded(compress(Page.as_view())(asked())) == PAGE


def test_with_the_middleware_a_view_is_compressed_once_by_its_own_choice():
    response = CompressionMiddleware(compress(encodings=["gzip"])(plain), DEFAULT)(asked())
    assert response.headers["Content-Encoding"] == "gzip"
    assert decoded(response) == PAGE


def test_a_view_that_says_not_modified_has_no_body():
    response = compress(lambda request: HttpResponseNotModified(headers={"ETag": '"a"'}))(asked())
    assert (response.content, response.headers["ETag"]) == (b"", 'W/"a"')


def test_what_a_view_has_decided_the_middleware_leaves_so():
    notes = []
    for accepted in ("br", "gzip"):
        request = asked(accepted)
        response = CompressionMiddleware(compress(encodings=["br"])(plain), DEFAULT)(request)
        notes.append((response.headers.get("Content-Encoding"), response.headers["Vary"]))
        assert decoded(response) == PAGE
    assert notes == [("br", "Accept-Encoding"), (None, "Accept-Encoding")]


def test_a_response_is_counted_once_however_many_look_at_it(monkeypatch):
    seen = []
    monkeypatch.setattr("django_perf.compression.compressor.note", lambda *row: seen.append(row[2]))
    CompressionMiddleware(CompressionMiddleware(compress(plain), DEFAULT), DEFAULT)(asked("gzip"))
    assert seen == ["gzip"]


def test_no_coding_at_all_is_an_error():
    with pytest.raises(ValueError, match="there are zstd, br, gzip"):
        compress(encodings=[])
