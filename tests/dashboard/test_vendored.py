"""The one foreign script is the one that was reviewed, with its licence beside it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

import django_perf

STATIC = Path(django_perf.__file__).parent / "static" / "django_perf"
UPLOT = STATIC / "vendor" / "uplot"


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("uPlot.iife.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
        ("uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
    ],
)
def test_uplot_is_the_release_that_was_reviewed(name, digest):
    assert sha256((UPLOT / name).read_bytes()).hexdigest() == digest


def test_its_licence_is_shipped():
    assert "Leon Sorokin" in (UPLOT / "LICENSE").read_text()
    assert "Permission is hereby granted, free of charge" in (UPLOT / "LICENSE").read_text()


def test_nothing_else_is_vendored():
    assert {path.name for path in STATIC.iterdir()} == {"performance.css", "performance.js", "vendor"}
    assert [path.name for path in (STATIC / "vendor").iterdir()] == ["uplot"]


def test_our_own_files_load_nothing_from_elsewhere():
    for name in ("performance.css", "performance.js"):
        text = (STATIC / name).read_text()
        assert "//cdn" not in text
        assert "http:" not in text
        assert "https:" not in text
