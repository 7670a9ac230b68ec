"""Every decoder reads what every codec writes, with any padding; threads and forks do not disturb each other."""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.http import HttpResponse

from django_perf.compression import codecs
from django_perf.compression.codecs import LARGE, Brotli, Gzip, Zstd, codec_of, is_installed
from django_perf.compression.padding import file_name, keyed_length, metadata_block, random_length, skippable_frame
from django_perf.compression.profiles import BACKGROUND, PROFILES
from tests.compression.coding import CODINGS, DECODERS, PAGE, Reader, answered, asked, decoded, zstd

ROOT = Path(__file__).parents[2]
NOISE = random.Random(1952).randbytes(20_000)
BODIES = {"empty": b"", "byte": b"x", "page": PAGE, "noise": NOISE, "run": b"a" * 300_000, "mixed": PAGE + NOISE + PAGE}
each_coding = pytest.mark.parametrize("coding", CODINGS)
each_profile = pytest.mark.parametrize("profile", PROFILES)


def pad(length):
    return lambda data: length


@each_coding
@each_profile
@pytest.mark.parametrize("name", BODIES)
def test_what_a_codec_writes_its_decoder_reads(coding, profile, name):
    data = codec_of(coding, profile).encode(BODIES[name], pad(7))
    assert DECODERS[coding](data) == BODIES[name]


@each_coding
@each_profile
@pytest.mark.parametrize("name", BODIES)
def test_a_stream_is_read_piece_by_piece_and_whole(coding, profile, name):
    body, stream, reader = BODIES[name], codec_of(coding, profile).stream(7), Reader(coding)
    sent = seen = b""
    for start in range(0, len(body), 9_000):
        piece = stream.write(body[start : start + 9_000]) + stream.flush()
        sent, seen = sent + piece, seen + reader.read(piece)
        assert seen == body[: start + 9_000]
        assert not reader.has_all
    assert DECODERS[coding](sent + stream.end()) == body


@each_coding
@each_profile
def test_every_length_of_padding_is_read_and_changes_nothing_but_the_length(coding, profile):
    codec, body = codec_of(coding, profile), PAGE[:600]
    plain = codec.encode(body, pad(0))
    for length in range(257):
        whole = codec.encode(body, pad(length))
        assert DECODERS[coding](whole) == body
        overhead = {"gzip": 1, "br": 2, "zstd": 8}[coding] if length else 0
        assert len(whole) == len(plain) + length + overhead


@each_coding
def test_every_length_of_padding_is_read_in_a_stream_and_by_a_reader_that_gets_single_bytes(coding):
    for length in range(257):
        stream = codec_of(coding, "fast").stream(length)
        data = stream.write(b"first ") + stream.flush() + stream.write(b"second") + stream.end()
        assert DECODERS[coding](data) == b"first second"
        reader = Reader(coding)
        # The padding of zstd is a frame of its own, behind the one that has the body.
        end = len(data) - len(skippable_frame(length)) if coding == "zstd" else len(data)
        assert b"".join(reader.read(data[at : at + 1]) for at in range(end)) == b"first second"
        assert reader.has_all


@each_coding
@pytest.mark.parametrize("padding", [0, 1, 256])
def test_flushing_what_is_empty_and_flushing_twice_breaks_nothing(coding, padding):
    for profile in PROFILES:
        stream = codec_of(coding, profile).stream(padding)
        data = [stream.flush(), stream.flush(), stream.write(b""), stream.write(b"abc"), stream.flush(), stream.flush()]
        assert DECODERS[coding](b"".join([*data, stream.write(b""), stream.end()])) == b"abc"
        assert DECODERS[coding](codec_of(coding, profile).stream(padding).end()) == b""


@pytest.mark.parametrize("make", [Zstd, Brotli, Gzip])
def test_what_nobody_waits_for_is_read_too(make):
    coding = {Zstd: "zstd", Brotli: "br", Gzip: "gzip"}[make]
    data = make(BACKGROUND).encode(PAGE, pad(3))
    assert DECODERS[coding](data) == PAGE
    assert len(data) <= len(codec_of(coding, "small").encode(PAGE, pad(3)))


@each_coding
def test_a_profile_that_works_harder_makes_fewer_bytes(coding):
    text = Path(argparse.__file__).read_bytes()
    fast, balanced, small = (len(codec_of(coding, name).encode(text, pad(0))) for name in PROFILES)
    assert fast > balanced > small


@pytest.mark.parametrize("content", [PAGE, NOISE, b"\n\x37\xa4\x30\xec" + PAGE])
def test_a_dictionary_of_any_bytes_is_used_as_it_is(content):
    shared = zstd.ZstdDict(content, is_raw=True).as_prefix
    codec = Zstd(PROFILES["balanced"], content)
    for body in (PAGE + b"!", b"", content):
        assert zstd.decompress(codec.encode(body, pad(5)), zstd_dict=shared) == body
    assert len(codec.encode(content, pad(0))) < 100


def test_no_browser_is_asked_for_more_memory_than_it_gives():
    most = {zstd.DecompressionParameter.window_log_max: 23}  # RFC 9659: 8 MB
    body = BODIES["mixed"] * 200
    for codec in (*(codec_of("zstd", profile) for profile in PROFILES), Zstd(BACKGROUND)):
        assert zstd.decompress(codec.encode(body, pad(0)), options=most) == body
        stream = codec.stream(0)
        assert zstd.decompress(stream.write(body) + stream.end(), options=most) == body


class TestPadding:
    def test_a_keyed_length_is_below_its_limit_and_takes_every_value(self):
        assert {keyed_length(b"%d" % number, 100) for number in range(3_000)} == set(range(100))

    def test_a_random_length_is_below_its_limit_and_takes_every_value(self):
        assert {random_length(100) for _ in range(3_000)} == set(range(100))

    @pytest.mark.parametrize("limit", [0, 1])
    def test_limits_of_zero_and_one_mean_none(self, limit):
        assert {keyed_length(b"%d" % number, limit) for number in range(50)} == {0}
        assert {random_length(limit) for _ in range(50)} == {0}

    def test_equal_bodies_have_equal_lengths_under_one_key_and_others_under_another(self, settings):
        bodies = [b"%d" % number for number in range(50)]
        first = [keyed_length(body, 100) for body in bodies]
        assert [keyed_length(body, 100) for body in bodies] == first
        settings.SECRET_KEY = "another"
        assert [keyed_length(body, 100) for body in bodies] != first
        settings.SECRET_KEY = "tests"
        assert [keyed_length(body, 100) for body in bodies] == first

    def test_a_key_of_bytes_is_a_key(self, settings):
        settings.SECRET_KEY = b"\xff\x00"
        assert 0 <= keyed_length(b"body", 100) < 100

    def test_no_padding_is_no_bytes(self):
        assert file_name(0) == skippable_frame(0) == metadata_block(0) == b""


@each_coding
def test_equal_bodies_are_equal_bytes_whatever_was_compressed_before(coding):
    codec = codec_of(coding, "balanced")
    first = codec.encode(PAGE, pad(9))
    for other in BODIES.values():
        codec.encode(other, pad(1))
        assert codec.encode(PAGE, pad(9)) == first


@each_coding
def test_a_body_that_failed_does_not_spoil_the_next(coding):
    codec = codec_of(coding, "balanced")
    for wrong in ("text", None, 5):
        with pytest.raises(TypeError):
            codec.encode(wrong, pad(0))
    with pytest.raises(ZeroDivisionError):
        codec.encode(PAGE, lambda data: 1 // 0)
    assert DECODERS[coding](codec.encode(PAGE, pad(0))) == PAGE


@each_coding
def test_a_body_that_is_compressed_while_another_one_is_keeps_its_bytes(coding):
    codec, inner = codec_of(coding, "balanced"), []

    def interrupt(data):
        inner.append(codec.encode(NOISE, pad(2)))
        return 3

    assert DECODERS[coding](codec.encode(PAGE, interrupt)) == PAGE
    assert DECODERS[coding](inner[0]) == NOISE


def test_the_context_of_a_large_body_is_given_up():
    codec = Zstd(PROFILES["fast"])
    codec.encode(PAGE, pad(0))
    assert codec._local.context is not None
    codec.encode(b"a" * (LARGE + 1), pad(0))
    assert codec._local.context is None


@each_coding
def test_eight_threads_get_the_bytes_of_one(coding):
    codec, source = codec_of(coding, "balanced"), random.Random(8)
    bodies = [(PAGE * 3)[source.randrange(2_000) : source.randrange(4_000, 60_000)] for _ in range(160)]
    bodies[40] = PAGE * 60
    expected = [codec.encode(body, pad(index)) for index, body in enumerate(bodies)]

    def both(index):
        stream, body = codec_of(coding, "fast").stream(index), bodies[index]
        streamed = stream.write(body[:3_000]) + stream.flush() + stream.write(body[3_000:]) + stream.end()
        return codec.encode(body, pad(index)), DECODERS[coding](streamed)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(both, range(len(bodies))))
    assert [whole for whole, _ in results] == expected
    assert [streamed for _, streamed in results] == bodies


FORK = """
import os, sys
from django_perf.compression import tally
from django_perf.compression.codecs import codec_of
from django_perf.metrics.recorder import recorder
recorder.enabled = True
body = b"<p>forked</p>" * 3_000
codings = ("zstd", "br", "gzip")
before = [codec_of(coding, "balanced").encode(body, lambda data: 5) for coding in codings]
streams = [codec_of(coding, "balanced").stream(5) for coding in codings]
begun = [stream.write(body) for stream in streams]
tally.note(None, "GET", "gzip", 1, 1, 1)
child = os.fork()
after = [codec_of(coding, "balanced").encode(body, lambda data: 5) for coding in codings]
ended = [first + stream.end() for first, stream in zip(begun, streams)]
if child == 0:
    os._exit(0 if after == before and not list(tally.read()) else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, "child"
assert after == before and len(list(tally.read())) == 1, "parent"
"""


def test_parent_and_child_of_a_fork_both_go_on():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DJANGO_PERF_NO_SERVICES": "1"}
    child = subprocess.run(
        [sys.executable, "-c", FORK], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr


@pytest.fixture
def codecs_without(monkeypatch):
    """Return the module as it is where some libraries are not installed."""

    def load(*missing):
        for name in missing:
            monkeypatch.setitem(sys.modules, name, None)
        spec = importlib.util.spec_from_file_location(codecs.__name__, codecs.__file__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr("django_perf.compression.compressor.is_installed", module.is_installed)
        monkeypatch.setattr("django_perf.compression.compressor.codec_of", module.codec_of)
        return module

    return load


ZSTD = ("compression", "backports", "backports.zstd")


@pytest.mark.parametrize(
    ("missing", "left", "best"),
    [
        ((), ["zstd", "br", "gzip"], "zstd"),
        (("brotli",), ["zstd", "gzip"], "zstd"),
        (ZSTD, ["br", "gzip"], "br"),
        ((*ZSTD, "brotli"), ["gzip"], "gzip"),
        ((*ZSTD, "brotli", "zlib_ng", "isal"), ["gzip"], "gzip"),
    ],
)
def test_a_library_that_is_missing_is_not_offered_and_breaks_nothing(codecs_without, missing, left, best):
    module = codecs_without(*missing)
    assert [coding for coding in CODINGS if module.is_installed(coding)] == left
    response = answered(HttpResponse(PAGE), asked("zstd, br, gzip"))
    assert response.headers["Content-Encoding"] == best
    assert decoded(response) == PAGE
    for coding in set(CODINGS) - set(left):
        response = answered(HttpResponse(PAGE), asked(coding))
        assert "Content-Encoding" not in response.headers
        assert response.content == PAGE


@pytest.mark.parametrize("missing", [(), ("isal",), ("zlib_ng",), ("isal", "zlib_ng")])
@each_profile
def test_gzip_is_made_by_whatever_is_there(codecs_without, missing, profile):
    codec = codecs_without(*missing).codec_of("gzip", profile)
    stream = codec.stream(5)
    data = stream.write(PAGE) + stream.flush() + stream.write(NOISE) + stream.end()
    assert gzip.decompress(data) == PAGE + NOISE
    for length in (0, 1, 99, 256):
        assert gzip.decompress(codec.encode(PAGE, pad(length))) == PAGE


def test_all_codings_are_tested_here():
    assert all(is_installed(coding) for coding in CODINGS)
