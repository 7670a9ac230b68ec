"""What compresses twice, stands in the wrong place or cannot work is said before the start."""

from __future__ import annotations

import pytest

from django_perf import checks
from django_perf.compression import codecs

OURS = "django_perf.middleware.CompressionMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"


@pytest.fixture
def found(settings):
    """Return what makes settings and returns the ids of what is wrong with them."""

    def check(*middleware, **compression):
        settings.MIDDLEWARE = list(middleware)
        settings.DJANGO_PERF = {"COMPRESSION": compression}
        return [message.id.removeprefix("django_perf.") for message in checks.check_compression()]

    return check


def test_nothing_is_wrong_with_it_in_its_place(found):
    assert found(OURS, CONDITIONAL, DICTIONARIES=True, VARIANT_CACHE="default", ENCODINGS=["zstd", "br", "gzip"]) == []
    assert found(GZIP, CONDITIONAL, VARIANT_CACHE="nowhere") == []


@pytest.mark.parametrize(
    "other",
    [
        GZIP,
        "compression_middleware.middleware.CompressionMiddleware",
        "django_http_compression.middleware.HttpCompressionMiddleware",
    ],
)
def test_two_that_compress_are_one_too_many(found, other):
    assert found(OURS, other) == found(other, OURS) == ["W008"]


def test_above_it_etags_would_be_made_of_compressed_bytes(found):
    assert found(CONDITIONAL, OURS) == ["W009"]


def test_a_coding_that_is_named_has_to_be_installed(found, monkeypatch):
    monkeypatch.setitem(codecs._INSTALLED, "br", False)
    assert found(OURS, ENCODINGS=["br", "gzip"]) == ["W010"]
    assert found(OURS) == []


def test_dictionaries_need_an_address_and_zstd(found, settings, monkeypatch):
    settings.ROOT_URLCONF = "tests.requests.urls"
    assert found(OURS, DICTIONARIES=True) == ["E008"]
    monkeypatch.setitem(codecs._INSTALLED, "zstd", False)
    assert found(OURS, DICTIONARIES=True) == ["E008", "E008"]


def test_variants_need_a_cache_that_is_there(found):
    assert found(OURS, VARIANT_CACHE="nowhere") == ["E009"]


def test_wrong_settings_are_said_by_another_check_alone(found):
    assert found(OURS, VARIANT_CACHE=7) == []
