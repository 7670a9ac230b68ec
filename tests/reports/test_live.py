"""The live view: what keys make of it, what it draws, and a real terminal that gets back what it was."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from django_perf.metrics.catalog import REQUEST
from django_perf.reports.headline import headline, spark
from django_perf.reports.keyboard import keyboard
from django_perf.reports.live import View, keys_of, pressed
from django_perf.store.models import Delta
from django_perf.store.reader import consistent

from .data import HERE, series, store

ROOT = Path(__file__).parents[2]
COLUMNS = ["name", "count", "p95_ms"]


def after(view, *keys, own_order="count", now=1_000.0):
    for key in keys:
        view = pressed(view, key, COLUMNS, own_order, now)
    return view


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[C\x1b[D", ["right", "left"]),
        (b"\x1bOC\t\x1b[Z", ["right", "right", "left"]),
        (b"\r\n\x7f\x08\x1b", ["enter", "enter", "backspace", "backspace", "escape"]),
        (b"\x1b[15~\x1b[1;5H", []),
        ("/é宽".encode(), ["/", "é", "宽"]),
        (b"\xff\xfeq", ["q"]),
        (b"\x04", ["q"]),
    ],
)
def test_keys_are_told_from_what_a_terminal_sends(data, keys):
    assert keys_of(data) == keys


def test_arrows_and_tab_change_the_column_that_is_sorted_by():
    assert after(View(), "right").order == "p95_ms"
    assert after(View(), "right", "right").order == "name"
    assert after(View(), "left").order == "name"
    assert after(View(), "left", own_order="").order == "name"


def test_r_turns_the_order_around_and_another_column_begins_with_its_own():
    assert after(View(), "r").order == "-count"
    assert after(View(), "r", "r").order == "count"
    assert after(View(), "r", "right").order == "p95_ms"


def test_numbers_choose_the_range_and_q_ends():
    assert [after(View(), key).since for key in "1234"] == ["5m", "1h", "24h", "7d"]
    assert pressed(View(), "q", COLUMNS, "", 0) is None
    assert after(View(), "5", "x", "up") == View()


def test_p_holds_the_moment_and_lets_it_go():
    assert after(View(), "p").paused_at == 1_000.0
    assert after(View(), "p", "p").paused_at is None


def test_a_filter_is_typed_and_taken_by_enter():
    typing = after(View(text="old"), "/", "q", "1", "x", "backspace")
    assert (typing.draft, typing.text, typing.since) == ("q1", "old", "5m")
    assert after(typing, "enter") == View(text="q1")
    assert after(typing, "escape") == View(text="old")
    assert after(View(text="old"), "escape").text == ""
    assert after(View(), "/", "\x01", "\u202e").draft == ""


@given(st.binary(max_size=200))
def test_any_bytes_are_keys_and_any_keys_a_view(data):
    view = View()
    for key in keys_of(data):
        view = pressed(view, key, COLUMNS, "count", 0.0) or View()
    assert len(view.draft or "") <= 100


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], 20, "▁▂▃▄▅▆▇██"),
        ([1, 1, 2, 2], 2, "▅█"),
        ([1, 1, 1], 2, "█▅"),
        ([0, 0], 5, ""),
        ([], 5, ""),
        ([1], 0, ""),
    ],
)
def test_values_are_a_line_of_blocks(values, width, line):
    assert spark(values, width) == line


@pytest.mark.django_db
def test_the_headline_is_rate_errors_and_duration_of_the_site():
    empty = consistent("default", lambda snapshot: headline(snapshot, HERE))
    assert empty.text() == "rate 0/s   errors –   p50 –   p95 –   p99 –"
    store(
        series(REQUEST, ("/a", "GET", "2xx"), [10_000] * 3), series(REQUEST, ("/b", "GET", "5xx"), [10_000], errors=1)
    )
    found = consistent("default", lambda snapshot: headline(snapshot, HERE))
    assert (found.rate, found.error_rate) == (4 / 240, 0.25)
    assert found.quantiles_ms == pytest.approx((10, 10, 10), rel=0.02)
    assert (len(found.counts), sum(found.counts)) == (60, 4)
    assert found.text().startswith("rate 0.02/s   errors 25")


# --- a real terminal --------------------------------------------------------------------------------------------------

CHILD = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from django.db import connections
for alias in ("default", "sqlite"):
    connections.settings[alias]["NAME"] = sys.argv[1] if alias == "default" else connections.settings[alias]["NAME"]
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "perfstats", *sys.argv[2:]])
"""
CLEAR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """`perfstats --watch` on a pseudo terminal of 40 x 160."""

    def __init__(self, *arguments, **environment):
        self.parent, self.child = pty.openpty()
        termios.tcsetwinsize(self.child, (40, 160))
        self.before = termios.tcgetattr(self.child)
        code = [sys.executable, "-c", CHILD, connection.settings_dict["NAME"], *arguments]
        variables = {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}
        self.process = subprocess.Popen(
            code,
            stdin=self.child,
            stdout=self.child,
            stderr=self.child,
            env={**os.environ, **variables},
            start_new_session=True,
            preexec_fn=self._take_terminal,
        )
        self.raw = self.all = ""

    def _take_terminal(self):
        # Ctrl-C goes to whom the terminal belongs.
        import fcntl

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def send(self, keys):
        os.write(self.parent, keys.encode())

    def wait_for(self, text, seconds=30.0):
        """Return what was drawn until `text` came up, without codes; what follows is looked at the next time."""
        end = time.monotonic() + seconds
        while text not in self._plain():
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{text!r} did not come within {seconds} s; there was {self._plain()[-3_000:]!r}")
        shown, self.raw = self._plain(), ""
        return shown

    def _plain(self):
        return CLEAR.sub("", self.raw)

    def _read(self, seconds):
        ready, _, _ = select.select([self.parent], [], [], max(0.0, seconds))
        if ready:
            data = os.read(self.parent, 65_536).decode("utf-8", "replace")
            self.raw, self.all = self.raw + data, self.all + data
        return bool(ready)

    def end(self):
        """Wait for the end; return its code and all that was written last."""
        end = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < end:
            self._read(0.05)
        code = self.process.wait(1)
        while self._read(0.0):
            pass
        return code, self.raw

    def is_restored(self):
        return termios.tcgetattr(self.child) == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.parent)
        os.close(self.child)


@pytest.fixture
def watched(transactional_db):
    """Start `perfstats --watch` on a store with two endpoints."""
    now = int(time.time())
    store(
        series(REQUEST, ("/busy", "GET", "2xx"), [1_000] * 9),
        series(REQUEST, ("/slow", "GET", "5xx"), [90_000], errors=1),
        minute=now // 60,
        taken=now,
    )
    screens = []

    def start(*arguments, **environment):
        screens.append(Screen(*arguments, **environment))
        return screens[-1]

    yield start
    for screen in screens:
        screen.close()


def test_the_view_obeys_its_keys(watched):
    screen = watched("requests", "--watch")
    first = screen.wait_for("p pause")
    assert "rate " in first
    assert "errors 10" in first
    assert "█" in first
    assert first.index("/slow") < first.index("/busy")
    assert "Total time ▼" in first
    screen.send("\x1b[C")
    shown = screen.wait_for("Count ▼") + screen.wait_for("p pause")
    assert shown.index("/busy") < shown.index("/slow")
    screen.send("r")
    screen.wait_for("Count ▲")
    screen.send("2")
    screen.wait_for("[2 1h]")
    screen.send("/slo")
    screen.wait_for("filter: slo_")
    screen.send("\r")
    shown = screen.wait_for("filter 'slo'") + screen.wait_for("p pause")
    assert "/busy" not in shown
    screen.send("p")
    screen.wait_for("PAUSED")
    screen.send("q")
    code, last = screen.end()
    assert code == 0
    assert "\x1b[?1049l" in last
    assert "\x1b[?25h" in last
    assert screen.is_restored()


def test_the_store_is_read_again_by_itself(watched):
    screen = watched("requests", "--watch")
    screen.wait_for("p pause")
    store(series(REQUEST, ("/new", "GET", "2xx"), [1_000]), minute=int(time.time()) // 60, taken=time.time())
    screen.wait_for("/new", 20)


def test_a_view_that_waits_costs_no_time(watched):
    screen = watched("requests", "--watch")
    screen.wait_for("p pause")
    screen.send("p")
    screen.wait_for("PAUSED")
    while screen._read(0.5):
        """Let it draw to the end."""
    used = _ticks(screen.process.pid)
    # Longer than until the next reading would be due.
    assert not select.select([screen.parent], [], [], 2.5)[0]
    assert _ticks(screen.process.pid) - used <= 5


def _ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize(
    ("environment", "absent"), [({"NO_COLOR": "1"}, r"\x1b\[[0-9;]*3[0-7]m"), ({"TERM": "dumb"}, r"\x1b\[\?1049h")]
)
def test_a_terminal_without_colours_is_enough(watched, environment, absent):
    screen = watched("requests", "--watch", **environment)
    screen.wait_for("/busy")
    assert not re.search(absent, screen.all)
    screen.send("\x03")
    assert screen.end()[0] == 0
    assert screen.is_restored()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda screen: screen.send("\x03"), 0),
        (lambda screen: screen.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda screen: screen.process.send_signal(signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["ctrl-c", "sigterm", "sighup"],
)
def test_the_terminal_is_given_back_whatever_ends_the_view(watched, end, code):
    screen = watched("requests", "--watch")
    screen.wait_for("p pause")
    assert not screen.is_restored()
    screen.send("\x1a2")  # Ctrl-Z does nothing
    screen.wait_for("[2 1h]")
    end(screen)
    found, last = screen.end()
    assert found == code
    assert "\x1b[?1049l" in last
    assert "\x1b[?25h" in last
    assert screen.is_restored()


def test_a_store_that_fails_is_told_and_tried_again(watched):
    screen = watched("requests", "--watch")
    screen.wait_for("p pause")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_perf_delta RENAME TO elsewhere")
    try:
        screen.wait_for("the store cannot be read: ProgrammingError", 20)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO django_perf_delta")
    screen.wait_for("nothing lost", 20)
    assert Delta.objects.exists()


def test_a_wrong_column_is_told_before_the_screen_is_taken(watched):
    screen = watched("requests", "--watch", "--sort", "p95")
    screen.wait_for("did you mean 'p95_ms'?")
    assert screen.end()[0] == 2
    assert "\x1b[?1049h" not in screen.all
    assert screen.is_restored()


def test_a_fault_of_ours_gives_the_terminal_back():
    parent, child = pty.openpty()
    before = termios.tcgetattr(child)

    def fail():
        with keyboard(child):
            assert termios.tcgetattr(child) != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert termios.tcgetattr(child) == before
    os.close(parent)
    os.close(child)
