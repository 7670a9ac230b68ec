"""`manage.py demo` as a user runs it: one process to start, everything gone at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

import example_project
from example_project.demo import servers, show
from example_project.demo.errors import DemoError, DemoStopped
from example_project.demo.processes import Launcher, StopRequest
from tests import services

MANAGE = str(Path(example_project.__file__).with_name("manage.py"))


@pytest.fixture
def surroundings(tmp_path):
    """An environment with a database of its own and a folder that shows what is left behind."""
    (tmp_path / "tmp").mkdir()
    return {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3",
        "REDIS_URL": settings.CACHES["default"]["LOCATION"],
        "TMPDIR": str(tmp_path / "tmp"),
    }


def demo(*options):
    return [sys.executable, MANAGE, "demo", "--products", "60", *options]


def is_listening(url):
    host, port = re.search(r"http://([\d.]+):(\d+)", url).groups()
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_the_demo_shows_what_it_measured_and_leaves_nothing_behind(surroundings, tmp_path):
    figures = tmp_path / "figures.json"
    command = demo("--seconds", "4", "--port", "0", "--json", str(figures))
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"http://127\.0\.0\.1:\d+/admin/django_perf/performance/", done.stdout)
    for text in ("demo / demo", "Added 60 products.", "the one in DATABASE_URL", "products"):
        assert text in done.stdout
    assert int(re.search(r"Sent (\d+) requests", done.stdout)[1]) > 30
    assert "products" in json.dumps(json.loads(figures.read_text()))
    assert not is_listening(done.stdout)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_signal_ends_the_demo_in_good_order(surroundings, tmp_path):
    with subprocess.Popen(demo("--port", "0"), env=surroundings, stdout=subprocess.PIPE, text=True) as process:
        shown = next(line for line in process.stdout if "Dashboard" in line)
        assert is_listening(shown)
        process.terminate()
        process.communicate(timeout=100)
    assert process.returncode == 0
    assert not is_listening(shown)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def checkout(tmp_path):
    """A checkout in which `./dev demo` has nothing to install: its Python is the one of the tests."""
    root = tmp_path / "checkout"
    for name, text in {
        ".venv/bin/tox": "exit 1",
        ".venv/bin/python": "exit 0",  # tox, which is asked to make the environment that is there already
        ".tox/demo/bin/python": f'exec "{sys.executable}" "$@"',
    }.items():
        script = root / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
    own = Path(MANAGE).parents[1]
    shutil.copy(own / "dev", root / "dev")
    (root / "example_project").symlink_to(own / "example_project")
    return root


ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_ctrl_c_on_a_terminal_ends_dev_demo_in_good_order(surroundings, tmp_path, checkout):
    command = [*python(ON_A_TERMINAL), str(checkout / "dev"), "demo", "--products", "60", "--port", "0"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=surroundings, **pipes) as process:
        shown = next(line for line in process.stdout if b"Dashboard" in line).decode()
        assert is_listening(shown)
        process.stdin.write(b"\x03")  # the terminal sends the signal to all that the command has started
        process.stdin.flush()
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said.decode()
    assert not is_listening(shown)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_child_that_fails_is_shown_with_its_last_words(surroundings, tmp_path):
    nowhere = surroundings | {"DATABASE_URL": "postgres://user@127.0.0.1:1/name"}
    done = subprocess.run(demo(), env=nowhere, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "CommandError: migrate ended with status 1; its last words:" in done.stderr
    assert "Connection refused" in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "option",
    [{"seconds": 0.0}, {"seconds": float("inf")}, {"port": 65_536}, {"products": 0}, {"json": Path("/no/such/x")}],
)
def test_a_senseless_option_is_refused_before_anything_starts(option):
    [name] = option
    with pytest.raises(CommandError, match=f"--{name}"):
        call_command("demo", **option)


def test_without_a_url_the_servers_are_private_ones(monkeypatch, tmp_path):
    found = services.Service("PostgreSQL", "postgres://private", "the system")
    monkeypatch.setattr(services, "find_postgres", lambda: found)
    monkeypatch.setattr(services, "find_redis", lambda: found)
    assert servers.database({}, tmp_path) == servers.Server("postgres://private", "Database: PostgreSQL, the system")
    assert servers.redis({}).url == "postgres://private"


def test_without_any_server_the_demo_says_what_it_cannot_show(monkeypatch, tmp_path):
    def find_nothing():
        raise services.ServiceNotFound("nothing here")

    monkeypatch.setattr(services, "find_postgres", find_nothing)
    monkeypatch.setattr(services, "find_redis", find_nothing)
    database, redis = servers.database({}, tmp_path), servers.redis({})
    assert (database.url, redis.url) == (f"sqlite:///{tmp_path}/shop.sqlite3", "")
    for server in (database, redis):
        assert "nothing here" in server.note
        assert "Not shown:" in server.note


def test_a_busy_port_is_exchanged_for_a_free_one():
    with socket.socket() as listener:
        listener.bind((servers.HOST, 0))
        listener.listen()
        busy = listener.getsockname()[1]
        assert servers.free_port(busy) not in (0, busy)
    assert servers.free_port(busy) == busy


def launcher(tmp_path, stop):
    return Launcher(tmp_path, dict(os.environ), stop)


def python(code):
    return [sys.executable, "-c", code]


def test_a_child_that_died_unnoticed_is_an_error_when_it_is_stopped(tmp_path):
    child = launcher(tmp_path, StopRequest()).start("child", python("raise SystemExit('no reason')"))
    child.process.wait(30)
    for act in (child.check, child.stop):
        with pytest.raises(DemoError, match=r"child ended with status 1; its last words:\nno reason"):
            act()


def test_a_child_that_ignores_sigterm_is_killed_and_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("example_project.demo.processes.GRACE_S", 0.2)
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    child = launcher(tmp_path, StopRequest()).start("child", python(code))
    while not child.output.read_text():
        child.check()
    with pytest.raises(DemoError, match=r"child did not end within 0\.2 s of SIGTERM and was killed"):
        child.stop()
    assert child.process.returncode == -signal.SIGKILL


def test_a_signal_ends_a_child_that_is_waited_for(tmp_path):
    code = f"import os, signal; os.kill({os.getpid()}, signal.SIGTERM); signal.pause()"
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop, pytest.raises(DemoStopped):
        launcher(tmp_path, stop).run("child", python(code))
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_server_that_does_not_answer_in_time_is_shown_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(show, "START_TIMEOUT_S", 0)
    code = "import signal, sys; print('busy', file=sys.stderr, flush=True); signal.pause()"
    child = launcher(tmp_path, StopRequest()).start("gunicorn", python(code))
    while not child.log.read_text():
        child.check()
    with pytest.raises(DemoError, match=r"gunicorn runs, but .* did not answer within 0 s; its last words:\nbusy"):
        show.wait_until_answering(child, f"http://127.0.0.1:{servers.free_port(0)}", StopRequest())
    child.stop()


def test_the_output_of_a_child_is_returned(tmp_path):
    assert launcher(tmp_path, StopRequest()).run("child", python("print('x' * 200_000)")) == "x" * 200_000 + "\n"
