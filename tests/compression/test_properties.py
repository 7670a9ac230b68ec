"""For any header, body, chunking and status: the client reads what the view wrote, in a coding that it accepts."""

from __future__ import annotations

import asyncio

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_perf.compression.codecs import codec_of
from django_perf.compression.negotiation import choose
from django_perf.compression.padding import keyed_length
from django_perf.compression.profiles import PROFILES
from django_perf.conf import Compression
from tests.compression.coding import CODINGS, DECODERS, PAGE, Reader, answered, asked, decoded

TOKEN = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# All weights there are (RFC 9110, section 12.4.2).
WEIGHTS = {f"{value / 1000:.3f}": value for value in range(1001)}
WEIGHTS |= {f"{value / 100:.2f}": value * 10 for value in range(101)}
WEIGHTS |= {f"{value / 10:.1f}": value * 100 for value in range(11)}
WEIGHTS |= {"0": 0, "0.": 0, "1": 1000, "1.": 1000}


def liking(header):
    """Return how much the client likes each coding it names, in thousandths: the RFC, read a second time."""
    likings = {}
    if len(header) > 1024 or header.count(",") > 31:
        return likings
    for item in header.split(","):
        name, semicolon, parameter = item.partition(";")
        letter, _, weight = parameter.strip(" \t").partition("=")
        token = name.strip(" \t")
        is_well_formed = (
            token and set(token) <= TOKEN and (not semicolon or (letter in {"q", "Q"} and weight in WEIGHTS))
        )
        name, value = (token, WEIGHTS.get(weight, 1000)) if is_well_formed else (name.strip(), 0)
        name = {"x-gzip": "gzip"}.get(name.lower(), name.lower())
        likings[name] = min(value, likings.get(name, 1000))
    return likings


def expected(header, offered):
    likings = liking(header)
    of = {coding: likings.get(coding, likings.get("*", 0)) for coding in (*offered, "identity")}
    best = max(offered, key=of.__getitem__, default="identity")
    return best if of[best] and of[best] >= of["identity"] else "identity"


names = st.sampled_from(["gzip", "x-gzip", "X-GZip", "br", "BR", "zstd", "identity", "*", "deflate", "x-br", "", "*/*"])
blanks = st.sampled_from(["", "", "", " ", "\t", "  ", "\x0b", "\xa0"])
weights = st.one_of(
    st.sampled_from([*WEIGHTS]),
    st.sampled_from(["2", "1.001", "-0", ".5", "0.1234", "nan", "", "1e0", "١"]),
    st.text(max_size=4),
)
items = st.one_of(
    st.tuples(blanks, names, blanks),
    st.tuples(
        blanks, names, blanks, st.just(";"), blanks, st.sampled_from(["q=", "Q=", "q =", "q", "a="]), weights, blanks
    ),
    st.tuples(names, st.just(";q="), st.sampled_from(["0", "0.5", "0.001", "1"])),
).map("".join)
headers = st.one_of(st.lists(items, max_size=40).map(",".join), st.text(max_size=60))
offers = st.lists(st.sampled_from(CODINGS), unique=True, max_size=3).map(tuple)


@given(headers, offers)
@settings(max_examples=600)
@example("gzip;q=0.5," * 31 + "br", CODINGS)
@example("gzip," * 32, CODINGS)
@example("identity;q=0,*;q=0", CODINGS)
@example("a" * 1025, CODINGS)
def test_the_choice_is_that_of_a_second_reader_of_the_rfc(header, offered):
    assert choose(header, offered) == expected(header, offered)


@given(st.text(max_size=2_000), offers)
@example("\ud800,gzip", CODINGS)
@example("\x00" * 3_000, CODINGS)
def test_no_header_raises(header, offered):
    assert choose(header, offered) in {*offered, "identity"}


@given(headers.filter(lambda text: "\n" not in text and "\r" not in text))
def test_only_what_is_accepted_leaves(header):
    request = asked("gzip")
    request.META["HTTP_ACCEPT_ENCODING"] = header
    response = answered(HttpResponse(PAGE), request)
    coding = response.headers.get("Content-Encoding", "identity")
    assert coding == expected(header, CODINGS)
    assert coding == "identity" or liking(header).get(coding, liking(header).get("*", 0)) > 0
    assert (response.status_code, response.headers["Vary"]) == (200, "Accept-Encoding")
    assert decoded(response) == PAGE


# Small alphabets compress, any bytes do not; some pieces are longer than what is held back.
pieces = st.one_of(
    st.binary(max_size=300),
    st.text("ab<>/ ", max_size=300).map(str.encode),
    st.builds(lambda text, times: text * times, st.binary(min_size=1, max_size=20), st.integers(0, 3_000)),
)
chunkings = st.lists(pieces, max_size=12)
profiles = st.sampled_from([*PROFILES])
codings = st.sampled_from(CODINGS)
paddings = st.integers(0, 256)
statuses = st.integers(200, 599).filter(lambda status: status not in {204, 205, 206, 304})


@given(codings, profiles, st.lists(st.tuples(pieces, st.booleans()), max_size=12), paddings)
def test_any_body_in_any_pieces_is_read_back(coding, profile, chunks, padding):
    stream, reader = codec_of(coding, profile).stream(padding), Reader(coding)
    sent, written, seen = [], b"", b""
    for chunk, is_flushed in chunks:
        piece, written = stream.write(chunk), written + chunk
        if is_flushed:
            piece += stream.flush()
        sent.append(piece)
        seen += reader.read(piece)
        assert written.startswith(seen)
        assert not is_flushed or seen == written
        assert not reader.has_all
    assert DECODERS[coding](b"".join([*sent, stream.end()])) == written


@given(codings, profiles, chunkings.map(b"".join), paddings)
def test_any_body_is_read_back_and_its_length_is_that_of_its_padding(coding, profile, body, padding):
    codec, asked_for = codec_of(coding, profile), []

    def pad(data):
        asked_for.append(keyed_length(bytes(data), padding))
        return asked_for[-1]

    whole = codec.encode(body, pad)
    assert DECODERS[coding](whole) == body
    assert 0 <= asked_for[0] <= max(0, padding - 1)
    overhead = {"gzip": 1, "br": 2, "zstd": 8}[coding] if asked_for[0] else 0
    assert len(whole) == len(codec.encode(body, lambda data: 0)) + asked_for[0] + overhead


@given(
    codings, profiles, chunkings, statuses, paddings, st.integers(0, 3_000), st.sampled_from(["GET", "HEAD", "POST"])
)
def test_any_response_is_the_same_for_the_client(coding, profile, chunks, status, padding, min_size, method):
    options = Compression(profile=profile, max_padding=padding, min_size=max(1, min_size))
    body = b"".join(chunks)
    response = answered(HttpResponse(body, status=status), asked(coding, method if body else "GET"), options)
    assert (response.status_code, decoded(response)) == (status, body)
    assert len(response.content) <= len(body)
    if "Content-Encoding" in response.headers:
        assert response.headers["Content-Encoding"] == coding
        assert response.headers["Content-Length"] == str(len(response.content))
        assert len(response.content) < len(body)
        assert len(body) >= options.min_size
    else:
        assert response.content == body
    assert ("Vary" in response.headers) == (len(body) >= options.min_size)


@given(codings, profiles, chunkings, statuses, paddings, st.sampled_from(["text/html", "text/event-stream"]))
def test_any_stream_is_the_same_for_the_client(coding, profile, chunks, status, padding, content_type):
    options = Compression(profile=profile, max_padding=padding)

    async def later():
        for chunk in chunks:
            yield chunk

    async def read(response):
        return b"".join([data async for data in response])

    for source in (iter(chunks), later()):
        response = StreamingHttpResponse(source, status=status, content_type=content_type)
        response = answered(response, asked(coding), options)
        assert (response.status_code, response.headers["Content-Encoding"]) == (status, coding)
        data = asyncio.run(read(response)) if response.is_async else b"".join(response)
        assert DECODERS[coding](data) == b"".join(chunks)


@given(codings, chunkings, st.integers(0, 12), st.booleans())
def test_a_stream_that_breaks_anywhere_has_no_end(coding, chunks, place, is_live):
    def source():
        yield from chunks[:place]
        raise LookupError

    content_type = "text/event-stream" if is_live else "text/html"
    sent, reader = [], Reader(coding)
    with pytest.raises(LookupError):
        sent.extend(answered(StreamingHttpResponse(source(), content_type=content_type), asked(coding)))
    seen = reader.read(b"".join(sent))
    assert b"".join(chunks[:place]).startswith(seen)
    assert not is_live or seen == b"".join(chunks[:place])
    assert not reader.has_all


@given(codings, codings, chunkings, st.booleans())
def test_two_middlewares_are_as_one(first, second, chunks, is_stream):
    response = StreamingHttpResponse(iter(chunks)) if is_stream else HttpResponse(b"".join(chunks))
    inside = answered(response, asked(first))
    before = dict(inside.headers)
    outside = answered(inside, asked(f"{second}, {first}"))
    if "Content-Encoding" in before:
        assert dict(outside.headers) == before
    assert decoded(outside) == b"".join(chunks)


vary_items = st.sampled_from(
    ["Cookie", "accept-encoding", "Accept-Encoding", "ACCEPT-ENCODING", "*", "Origin", "X-Accept-Encoding"]
)


@given(st.lists(vary_items, max_size=5), st.sampled_from([",", ", ", " , "]), st.sampled_from(["gzip", ""]))
def test_vary_keeps_what_it_had_and_names_ours_once(before, comma, accept):
    response = HttpResponse(PAGE)
    if before:
        response.headers["Vary"] = comma.join(before)
    after = [one.strip().lower() for one in answered(response, asked(accept)).headers["Vary"].split(",")]
    had = [one.lower() for one in before]
    if "*" in had:
        assert after == ["*"]
    else:
        assert set(after) == {*had, "accept-encoding"}
        assert after.count("accept-encoding") == max(1, had.count("accept-encoding"))
