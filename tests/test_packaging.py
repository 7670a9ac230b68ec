"""The wheel that users install: what is in it, and what it says about itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import django_perf
from tests.services import POSTGRES_WHEEL, REDIS_WHEEL

ROOT = Path(__file__).parents[1]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
EXTRAS = {"all", "compression", "demo", "dev", "otlp", "postgres", "prometheus", "redis", "test"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: a build leaves folders behind, and must not do so in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    for package in ("django_perf", "example_project", "tests"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    # Without isolation nothing is downloaded: setuptools is in this environment.
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir=dist", "."], cwd=folder, check=True)
    (path,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_wheel_holds_every_file_of_the_package(wheel):
    package = ROOT / "django_perf"
    files = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert files - set(wheel.namelist()) == set()


@pytest.mark.parametrize("part", ["migrations/", "py.typed", "static/", "templates/"])
def test_wheel_holds_more_than_modules(wheel, part):
    assert any(name.startswith(f"django_perf/{part}") for name in wheel.namelist())


def test_wheel_holds_nothing_but_the_package(wheel):
    top = {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()}

    assert top == {"django_perf", "django_perf_suite"}


def test_metadata_names_the_distribution(metadata):
    assert metadata["Name"] == "django-perf-suite"
    assert metadata["Version"] == django_perf.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"


def test_pytest_is_told_of_the_fixtures(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))

    assert "[pytest11]\ndjango_perf = django_perf.pytest_plugin" in wheel.read(name).decode()


def test_core_needs_three_packages(metadata):
    core = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]

    assert sorted(line.partition(">")[0] for line in core) == ["Django", "psutil", "rich"]


def test_every_extra_is_declared(metadata):
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS


def test_wheels_named_in_the_remedies_are_the_ones_installed_for_tests_and_demo(metadata):
    required = {line.partition(";")[0].strip() for line in metadata.get_all("Requires-Dist")}
    demo = set((ROOT / "tox.ini").read_text().split())

    assert {POSTGRES_WHEEL, REDIS_WHEEL} <= required & demo


def test_pyproject_leaves_the_metadata_to_setup_cfg():
    assert "project" not in tomllib.loads((ROOT / "pyproject.toml").read_text())
