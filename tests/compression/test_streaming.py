"""A visitor sees each piece in time, a broken stream stays broken, and nothing piles up."""

from __future__ import annotations

import asyncio
import gc
import random

import psutil
import pytest
from django.http import StreamingHttpResponse

from django_perf.compression.codecs import codec_of
from django_perf.compression.profiles import PROFILES
from django_perf.compression.streaming import Pump, compressed
from django_perf.conf import Compression
from tests.compression.coding import CODINGS, DECODERS, PAGE, Reader, aanswered, answered, asked, decoded

# Closing a response is the end of a request, where Django looks after its connections.
pytestmark = pytest.mark.django_db
each_coding = pytest.mark.parametrize("coding", CODINGS)
each_profile = pytest.mark.parametrize("profile", PROFILES)
PIECES = [PAGE[start : start + 700] for start in range(0, len(PAGE), 700)]


class Broken(Exception):
    pass


def streamed(source, coding="zstd", content_type="text/html", **options):
    return answered(StreamingHttpResponse(source, content_type=content_type), asked(coding), Compression(**options))


async def later(pieces):
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when a test says so; its value is in nanoseconds."""

    class Clock:
        now = 0

    monkeypatch.setattr("django_perf.compression.streaming.perf_counter_ns", lambda: Clock.now)
    return Clock


@each_coding
@each_profile
@pytest.mark.parametrize("first", [b"x", b"<!doctype html>", PAGE])
def test_the_first_piece_is_there_at_once(coding, profile, first):
    response, reader = streamed(iter([first, PAGE]), coding, profile=profile), Reader(coding)
    assert reader.read(next(iter(response))) == first


@each_coding
@pytest.mark.parametrize(
    "content_type",
    ["text/event-stream", "application/x-ndjson; charset=utf-8", "application/x-ndjson", "TEXT/Event-Stream"],
)
def test_messages_are_never_held_back(coding, content_type):
    reader, messages = Reader(coding), [b"data: %d\n\n" % number for number in range(300)]
    response = iter(streamed(iter(messages), coding, content_type))
    assert [reader.read(next(response)) for _ in messages] == messages


@each_coding
def test_what_comes_slowly_is_shown_when_it_comes(coding, clock):
    def slowly():
        for piece in PIECES:
            clock.now += 2_000_001
            yield piece

    response, reader = iter(streamed(slowly(), coding)), Reader(coding)
    assert [reader.read(next(response)) for _ in PIECES] == PIECES


@each_coding
def test_what_comes_fast_is_put_together_up_to_8_kilobytes(coding, clock):
    asked_for = 0

    def fast():
        nonlocal asked_for
        for piece in [b"first"] + [b"%06d" % number for number in range(10_000)]:
            asked_for += len(piece)
            yield piece

    reader, seen, sent = Reader(coding), 0, []
    for data in streamed(fast(), coding):
        sent.append(data)
        seen += len(reader.read(data))
        assert asked_for - seen < 8_192
    assert len(sent) < 30
    assert reader.has_all


@each_coding
def test_fast_pieces_cost_little_more_than_the_whole(coding, clock):
    pieces = [PAGE[start : start + 50] for start in range(0, len(PAGE), 50)]
    whole = len(codec_of(coding, "balanced").encode(PAGE, lambda data: 0))
    assert len(b"".join(streamed(pieces, coding, max_padding=0))) < 1.3 * whole + 100


@each_coding
def test_the_source_is_never_asked_ahead(coding):
    given = []

    def source():
        for number in range(20):
            given.append(number)
            yield PAGE

    response = streamed(source(), coding)
    assert given == []
    for number, _ in zip(range(20), response, strict=False):
        assert given == list(range(number + 1))


@each_coding
def test_a_long_stream_takes_no_more_memory_than_a_short_one(coding):
    noise, process = random.Random(4).randbytes(2**17), psutil.Process()

    def run(count):
        length = sum(map(len, streamed((noise for _ in range(count)), coding, profile="fast")))
        assert length > 0.1 * count
        return process.memory_info().rss

    run(20)
    assert run(240) - run(20) < 8 * 2**20


@each_coding
@pytest.mark.parametrize("source", [[], [b""], [b"", b"", b""]])
def test_a_stream_of_nothing_is_complete(coding, source):
    assert decoded(streamed(source, coding)) == b""
    response = aanswered(StreamingHttpResponse(later(source)), asked(coding))
    assert DECODERS[coding](collected(response)) == b""


@each_coding
def test_text_bytes_views_and_empty_pieces_are_read(coding):
    assert decoded(streamed(["grün ", b"", b"und ", memoryview(b"blau"), ""], coding)) == "grün und blau".encode()


class TestBroken:
    @each_coding
    @pytest.mark.parametrize("place", [0, 1, 2, 20])
    @pytest.mark.parametrize("content_type", ["text/html", "text/event-stream"])
    def test_the_server_is_told_and_the_client_sees_no_end(self, coding, place, content_type):
        def source():
            yield from PIECES[:place]
            raise Broken

        sent, reader = [], Reader(coding)
        with pytest.raises(Broken):
            sent.extend(iter(streamed(source(), coding, content_type)))
        seen = reader.read(b"".join(sent))
        assert b"".join(PIECES[:place]).startswith(seen)
        assert not reader.has_all
        if place:
            assert seen.startswith(PIECES[0])

    @each_coding
    @pytest.mark.parametrize("place", [0, 1, 20])
    def test_an_asynchronous_one_too(self, coding, place):
        async def source():
            async for piece in later(PIECES[:place]):
                yield piece
            raise Broken

        sent, reader = [], Reader(coding)

        async def read():
            async for data in aanswer(source(), coding):
                sent.append(data)  # noqa: PERF401 - a comprehension would lose what came before

        with pytest.raises(Broken):
            asyncio.run(read())
        assert b"".join(PIECES[:place]).startswith(reader.read(b"".join(sent)))
        assert not reader.has_all

    @each_coding
    @pytest.mark.parametrize("method", ["write", "flush", "end"])
    def test_a_fault_of_ours_in_mid_stream_is_no_short_page(self, monkeypatch, coding, method):
        stream = codec_of(coding, "balanced").stream(0)
        monkeypatch.setattr(type(stream), method, lambda *args: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            list(streamed(PIECES, coding))

    @each_coding
    def test_a_stream_that_is_left_has_no_end(self, coding):
        response, reader = streamed(iter(PIECES), coding), Reader(coding)
        chunks = iter(response)
        reader.read(next(chunks))
        response.close()
        assert list(chunks) == []
        assert not reader.has_all


class Source:
    """An iterator that knows whether it was closed."""

    def __init__(self, pieces):
        self._pieces, self.closed = iter(pieces), 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._pieces)

    def close(self):
        self.closed += 1


class TestClosing:
    @pytest.mark.parametrize("pulled", [0, 1, 2, 99])
    def test_closing_the_response_closes_what_the_view_gave(self, pulled):
        source = Source(PIECES)
        response = streamed(source)
        for _ in zip(range(pulled), response, strict=False):
            pass
        assert source.closed == 0
        response.close()
        assert source.closed == 1

    @pytest.mark.parametrize("pulled", [1, 2, 99])
    def test_a_generator_of_the_view_runs_its_finally(self, pulled):
        ended = []

        def source():
            try:
                yield from PIECES
            finally:
                ended.append(True)

        response = streamed(source())
        for _ in zip(range(pulled), response, strict=False):
            pass
        response.close()
        assert ended == [True]

    def test_the_pump_is_done_once_however_often_it_is_closed(self):
        done = []
        for end in (list, next):
            chunks = compressed(iter(PIECES), Pump(codec_of("br", "fast").stream(0), False), done.append)
            end(chunks)
            chunks.close()
            chunks.close()
        assert len(done) == 2
        assert done[0].bytes_in == len(PAGE)
        assert 0 < done[1].bytes_in < len(PAGE)


def aanswer(source, coding, content_type="text/html"):
    response = StreamingHttpResponse(source, content_type=content_type)
    return answered(response, asked(coding))


def collected(response):
    async def read():
        return b"".join([chunk async for chunk in response])

    return asyncio.run(read())


class TestAsynchronous:
    @each_coding
    def test_it_stays_one_and_is_read(self, coding):
        response = aanswered(StreamingHttpResponse(later(PIECES)), asked(coding))
        assert response.is_async
        assert "Content-Length" not in response.headers
        assert DECODERS[coding](collected(response)) == PAGE

    @each_coding
    def test_messages_are_never_held_back(self, coding):
        reader, messages = Reader(coding), [b"data: %d\n\n" % number for number in range(100)]

        async def read():
            return [reader.read(data) async for data in aanswer(later(messages), coding, "text/event-stream")]

        assert asyncio.run(read())[:-1] == messages

    def test_two_streams_in_one_loop_do_not_mix(self):
        async def read(coding):
            return DECODERS[coding](b"".join([data async for data in aanswer(later(PIECES), coding)]))

        async def both():
            return await asyncio.gather(*(read(coding) for coding in CODINGS * 10))

        assert asyncio.run(both()) == [PAGE] * 30

    @pytest.mark.parametrize("coding", ["identity", *CODINGS])
    def test_a_client_that_leaves_ends_the_views_generator(self, coding):
        ended = []

        async def source():
            try:
                async for piece in later(PIECES * 10):
                    yield piece
            finally:
                ended.append(True)

        async def leave():
            response = aanswer(source(), coding)
            chunks = aiter(response)
            await anext(chunks)
            await chunks.aclose()
            response.close()
            del chunks, response
            for _ in range(20):  # the loop closes each generator in a task of its own
                await asyncio.sleep(0)
            return list(ended)

        gc.disable()  # it would find the generator in the end, but nobody knows when
        try:
            assert asyncio.run(leave()) == [True]
        finally:
            gc.enable()

    def test_a_cancelled_request_ends_it(self):
        async def source():
            yield PAGE
            await asyncio.sleep(60)

        async def leave():
            async def read():
                async for _ in aanswer(source(), "br"):
                    begun.set()

            begun = asyncio.Event()
            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(leave())

    def test_a_synchronous_stream_under_asgi_is_compressed(self):
        response = aanswered(StreamingHttpResponse(iter(PIECES)), asked("br"))
        assert decoded(response) == PAGE
