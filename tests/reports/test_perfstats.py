"""`perfstats` in its three forms, and what it makes of names that mean harm."""

from __future__ import annotations

import csv
import io
import json
import re
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_perf.advisor.report import REPORTS
from django_perf.management.commands import perfstats
from django_perf.metrics.catalog import BLOCK, ENDPOINT_QUERY, LOSS, REQUEST
from django_perf.metrics.recorder import recorder
from django_perf.reports import terminal
from django_perf.store.lease import Lease
from django_perf.store.models import Delta

from .data import recorded, series, store

pytestmark = pytest.mark.django_db
# Those that the store answers; the others ask the databases, and are answered only where they are named.
STORED = [report for report in REPORTS.values() if not report.is_live]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def perf(*arguments, out=None):
    out = io.StringIO() if out is None else out
    call_command("perfstats", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def shop():
    """Two endpoints, a statement and a loss, measured just now."""
    store(
        series(REQUEST, ("/busy", "GET", "2xx"), [1_000] * 9),
        series(REQUEST, ("/slow", "GET", "5xx"), [90_000], errors=1),
        series(ENDPOINT_QUERY, ("/busy", "GET", "default", "SELECT 1"), [2_000] * 18),
        series(BLOCK, ("import",), [5_000]),
        series(LOSS, ("error", "flush: OperationalError"), [1]),
        minute=int(time.time()) // 60,
        taken=time.time(),
    )


def test_the_table_shows_every_report_and_the_health(shop):
    lines = perf().splitlines()
    titles = [line.strip() for line in lines if line.strip() in {"Requests", "Queries", "Blocks", "Processes"}]
    assert titles == ["Requests", "Queries", "Blocks", "Processes"]
    assert any(line.split()[:4] == ["/busy", "GET", "9", "ms"] for line in lines)
    assert lines[-1] == (
        "1 workers, 0 lost, 0 measurements dropped, 0 rows unread; errors: flush: OperationalError x 1"
    )


def test_an_empty_store_says_so():
    text = perf()
    flowing = " ".join(text.split())
    assert f"Nothing was measured in this time of: {', '.join(report.title for report in STORED)}" in flowing
    assert "last flush never" in text
    assert "Requests: nothing was measured in this time" in perf("requests")
    assert text.endswith("0 workers, nothing lost\n")


def test_one_report_can_be_asked_for(shop):
    text = perf("queries")
    assert "SELECT 1" in text
    assert "/busy" not in text


def test_the_table_tells_what_the_limit_left_out(shop):
    text = perf("requests", "--limit", "1")
    assert "Requests, 1 of 2 shown" in text
    assert "/busy" not in text


def test_a_table_shows_twenty_rows_and_json_all():
    now = int(time.time()) // 60
    store(*(series(REQUEST, (f"/{number}", "GET", "2xx"), [1_000]) for number in range(30)), minute=now)
    assert "20 of 30 shown" in perf("requests")
    assert len(json.loads(perf("requests", "--format", "json"))["reports"]["requests"]["rows"]) == 30


def test_json_has_the_documented_keys(shop):
    found = json.loads(perf("--format", "json"))
    assert set(found) == {"generated_at", "since", "until", "reports", "health"}
    assert set(found["reports"]) == {
        *("requests", "changes", "marks", "losses", "own_costs", "exceptions", "samples", "blocks", "process"),
        *("queries", "query_errors", "findings", "lines", "transactions"),
        *("pool", "pool_processes", "cache", "cache_keys", "cache_processes"),
        *("compression", "compression_outcomes"),
        *("changes", "marks", "losses", "own_costs", "alerts"),
    }
    for name, report in found["reports"].items():
        assert set(report) == {"columns", "rows", "totals"}
        names = [column["name"] for column in report["columns"]]
        assert names == [column.name for column in REPORTS[name].columns]
        assert all(list(row) == names for row in report["rows"])
    assert {"dropped", "errors", "last_flush", "workers"} <= set(found["health"])
    assert found["health"]["errors"] == {"flush: OperationalError": 1}
    assert found["reports"]["requests"]["totals"]["count"] == 10
    assert all(found[name].endswith("+00:00") for name in ("generated_at", "since", "until"))


def test_csv_is_one_table_per_report_parted_by_an_empty_line(shop):
    parts = perf("--format", "csv").rstrip("\n").split("\n\n")
    headers = [next(csv.reader([part.splitlines()[0]])) for part in parts]
    assert headers == [[column.name for column in report.columns] for report in STORED]
    rows = list(csv.DictReader(parts[0].splitlines()))
    assert [(row["name"], row["count"], row["error_rate"], row["cpu_ms"]) for row in rows] == [
        ("/slow", "1", "1.0", ""),
        ("/busy", "9", "0.0", ""),
    ]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x","y")'])
def test_a_name_in_csv_is_no_formula(name):
    recorded(time.time(), (BLOCK, (name,), 1_000))
    (row,) = csv.DictReader(perf("blocks", "--format", "csv").splitlines())
    assert not row["name"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert row["name"].endswith(name.strip()[1:])


def test_rows_are_sorted_by_the_column_asked_for(shop):
    found = json.loads(perf("--sort", "count", "--format", "json"))["reports"]
    assert [row["name"] for row in found["requests"]["rows"]] == ["/busy", "/slow"]


def test_a_report_without_the_column_keeps_its_own_order(shop):
    found = json.loads(perf("--sort", "calls_per_request", "--format", "json"))["reports"]
    assert [row["name"] for row in found["requests"]["rows"]] == ["/slow", "/busy"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("requests", "--sort", "p98"), "report 'requests' has no column 'p98'; it has name, method, total_ms"),
        (("--sort", "p98"), "has no column 'p98'"),
        (("--since", "yesterday"), "'yesterday' is no time range; write for instance 5m, 1h, 24h, 7d"),
        (("--since", "401d"), "'401d' is no time range"),
        (("--limit", "0"), "--limit 0 shows nothing; give 1 or more"),
        (("--limit", "-1"), "--limit -1 shows nothing"),
        (("--watch", "--format", "json"), "--watch shows tables; leave --format out"),
        (("zzz",), "no report 'zzz'; there are advice, "),
        (("requets",), "no report 'requets'; did you mean 'requests'?"),
        (("requests", "--sort", "p95"), "did you mean 'p95_ms'?"),
        (("requests", "--sort=-p98"), "report 'requests' has no column 'p98'"),
        (("--since", "mark"), "there is no mark; set one with `manage.py perfmark TEXT`"),
        (("--since", "mark:v2"), "there is no mark with 'v2' in it"),
        (("--until", "noon"), "'noon' is no time"),
        (("--watch", "--until", "2026-11-29"), "--watch shows what happens now"),
        (("--watch", "--fail-over", "p95=1s"), "--watch does not end"),
        (("--fail-empty",), "--fail-empty needs a --fail-over"),
        (("--fail-over", "p95"), "'p95' is no limit; write NAME=LIMIT"),
        (("--fail-over", "pp95=1s"), "there is no metric 'pp95'; did you mean 'p95'?"),
        (("--fail-over", "p95=5%"), "p95_ms is not measured in '%'"),
        (("--fail-over", "error_rate=5"), "error_rate is never over 1: write 5% or 0.05"),
        (("--fail-over", "p95=1s@products"), "'products' is no endpoint"),
    ],
)
def test_a_wrong_argument_is_told(arguments, text):
    with pytest.raises(CommandError) as caught:
        perf(*arguments)
    assert text in str(caught.value)
    assert caught.value.returncode == 2


@pytest.mark.parametrize("model", [Delta, Lease])
@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_missing_tables_are_told(model, form):
    with connection.schema_editor() as editor:
        editor.delete_model(model)
    text = "the store cannot be read: ProgrammingError; has `migrate` been run"
    with pytest.raises(CommandError, match=text) as caught:
        perf("--format", form)
    assert caught.value.returncode == 3


def test_a_busy_store_is_told(monkeypatch):
    def busy(*arguments):
        raise perfstats.PerfError("store 'default': rollups changed")

    monkeypatch.setattr(perfstats, "ask", busy)
    with pytest.raises(CommandError, match="store 'default': rollups changed"):
        perf()


def test_perfstats_does_not_measure_itself(shop):
    recorder.enabled = True
    perf()
    assert recorder.drain() == {}


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"])
def test_what_is_no_terminal_gets_plain_text(shop, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    assert "\x1b" not in perf()


def test_a_terminal_gets_colours(shop, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in perf(out=Terminal())


HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "two\nlines",
    "carriage\rreturn",
    "bell\x07 and \x9b31m",
    "nul\x00",
    "[red]x[/red]",
    "[/]",
    "[link=http://x]y",
    "\u202eright to left",
    "\u2028separator",
    "\ud800",
    "y" * 3_000,
    "宽" * 3_000,
    "",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_one_line_without_escape_codes(name):
    recorded(
        time.time(),
        (BLOCK, ("calm",), 2_000),
        (BLOCK, (name,), 1_000),
        (ENDPOINT_QUERY, ("default", "calm"), 2_000),
        (ENDPOINT_QUERY, ("default", name), 1_000),
    )
    lines = perf().split("\n")
    assert not any(ord(sign) < 32 or "\x7f" <= sign <= "\x9f" or sign in "\u202e\u2028" for sign in "".join(lines))
    for title, end in (("Queries", r"\d\d:\d\d|0"), ("Blocks", "ms")):
        start = next(number for number, line in enumerate(lines) if line.startswith(title))
        # Title, rule around it, the header and its rule, two rows, an empty line.
        rows = [line for line in lines[start + 2 :][:5] if line.strip() and "──" not in line]
        assert len(rows) == 3
        assert all(re.fullmatch(end, row.split()[-1]) for row in rows[1:])


def test_markup_in_a_name_is_shown_as_it_is():
    recorded(time.time(), (BLOCK, ("[red]x[/red]",), 1_000))
    assert "[red]x[/red]" in perf()


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_a_narrow_terminal_loses_columns_and_neither_names_nor_digits(monkeypatch, width):
    monkeypatch.setattr(terminal, "_WIDE", width)
    long = "/api/v1/orders/<int:order>/lines/<int:line>/attachments/<uuid:attachment>/"
    now = int(time.time()) // 60
    store(series(REQUEST, (long, "DELETE", "2xx"), [123_456] * 1_234, bytes_out=10**9), minute=now, taken=time.time())
    lines = perf("requests").splitlines()
    assert max(map(len, lines)) <= width
    (row,) = [line for line in lines if line.strip().startswith("/api/v1/orders/<int:ord")]
    (header,) = [line for line in lines if "Endpoint" in line]
    assert "2 min 32 s" in row
    # Every value stands whole under its whole label.
    assert not any(label.endswith("…") for label in header.split())
    assert row.count("…") == 1


def test_watch_without_a_keyboard_prints_until_it_is_interrupted(shop, monkeypatch):
    drawn = []

    def interrupt(seconds):
        drawn.append(seconds)
        if len(drawn) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(terminal.time, "sleep", interrupt)
    text = perf("requests", "--watch")
    assert drawn == [2.0, 2.0]
    assert text.count("/busy") == 2
    assert "\x1b" not in text
