"""What `perfstats` reads, compares, judges and completes, by its options."""

from __future__ import annotations

import io
import json
import subprocess
import time

import pytest
from django.core.management import call_command

from django_perf.advisor.report import REPORTS
from django_perf.metrics.catalog import BLOCK, LOSS, REQUEST, SITE
from django_perf.reports.marks import set_mark
from django_perf.reports.window import moment
from django_perf.store.tiers import DAY

from .data import series, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def minute():
    """The minute that runs."""
    return int(time.time()) // 60


def requests(minute, route, values, **counters):
    """Log requests of one endpoint; the sums of the site follow by themselves."""
    store(series(REQUEST, (route, "GET", "2xx"), values, **counters), minute=minute, taken=time.time())


def perf(*arguments):
    """Return what is printed, what is told, and the exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("perfstats", *arguments, stdout=out, stderr=err, no_color=True)
    except SystemExit as end:
        code = end.code
    return out.getvalue(), err.getvalue(), code


def rows(*arguments, report="requests"):
    return json.loads(perf(report, "--format", "json", *arguments)[0])["reports"][report]["rows"]


def names(*arguments, **more):
    return [row["name"] for row in rows(*arguments, **more)]


def iso(minute):
    return moment(minute * 60).isoformat()


def test_since_and_until_are_times(minute):
    requests(minute - 30, "/early", [1_000])
    requests(minute - 20, "/wanted", [1_000])
    requests(minute - 10, "/late", [1_000])
    assert names("--since", iso(minute - 25), "--until", iso(minute - 15)) == ["/wanted"]
    assert names("--since", "10m", "--until", iso(minute - 15)) == ["/wanted"]


def test_since_a_mark_begins_with_the_minute_of_the_last_one(minute):
    requests(minute - 20, "/old", [1_000])
    requests(minute - 10, "/first", [2_000])
    requests(minute - 3, "/second", [1_000])
    set_mark("default", "v1.0", (minute - 10) * 60 + 30)
    set_mark("default", "V2.0 hotfix", (minute - 5) * 60 + 30)
    assert names("--since", "mark") == ["/second"]
    assert names("--since", "mark:v1") == ["/first", "/second"]
    assert names("--since", "mark:v2.0 HOT") == ["/second"]


def test_the_filter_leaves_rows_with_the_text(minute):
    requests(minute, "/orders/", [1_000])
    requests(minute, "/products/", [1_000])
    assert names("--filter", "ORDER") == ["/orders/"]


def test_rows_are_sorted_the_other_way_round(minute):
    requests(minute, "/a", [1_000] * 3)
    requests(minute, "/b", [1_000] * 2)
    assert names("--sort", "count") == ["/a", "/b"]
    assert names("--sort=-count") == ["/b", "/a"]
    assert names("--sort", "name") == ["/a", "/b"]
    assert names("--sort=-name") == ["/b", "/a"]


def test_advise_is_the_report_advice():
    assert list(json.loads(perf("advise", "--format", "json")[0])["reports"]) == ["advice"]


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_numbers_are_compared_with_the_time_before(minute):
    requests(minute - 7, "/shop", [10_000] * 10)
    requests(minute, "/shop", [15_000] * 5)
    requests(minute, "/new", [1_000])
    text, _, _ = perf("requests", "--compare", "previous", "--sort", "count")
    shop, new = (next(line for line in text.splitlines() if name in line) for name in ("/shop", "/new"))
    assert " 5 -50 %" in shop
    assert "ms +50 %" in shop
    assert "%" not in new.replace("0\u00a0%", "")
    assert ", against " in text.splitlines()[0]


def test_the_comparison_in_json_stands_beside_the_rows(minute):
    requests(minute - DAY, "/shop", [10_000] * 10)
    requests(minute, "/shop", [15_000] * 5)
    requests(minute, "/new", [1_000])
    found = json.loads(perf("requests", "--format", "json", "--compare", "yesterday", "--sort", "count")[0])
    assert [row["count"] for row in found["reports"]["requests"]["rows"]] == [5, 1]
    compare = found["compare"]
    assert set(compare) == {"against", "since", "until", "reports"}
    assert compare["against"] == "yesterday"
    shop, new = compare["reports"]["requests"]
    assert (shop["name"], shop["count"], new) == ("/shop", 10, None)


def test_without_compare_there_is_no_such_part(minute):
    assert "compare" not in json.loads(perf("requests", "--format", "json")[0])


def test_the_keys_of_reports_tell_their_rows_apart(minute):
    for report in REPORTS.values():
        assert {report.column(name).name for name in report.keys} == set(report.keys)
        assert not (report.keys and report.is_live)


def test_compare_chooses_the_time_of_the_report_on_changes(minute):
    requests(minute - DAY, "/shop", [10_000] * 20)
    requests(minute, "/shop", [15_000] * 20)
    assert names(report="changes") == []
    (row,) = rows("--compare", "yesterday", report="changes")
    assert row["change"] == pytest.approx(0.5)


def test_markdown_and_csv_compare_too(minute):
    requests(minute - 7, "/shop", [10_000] * 10)
    requests(minute, "/shop", [15_000] * 5)
    assert "| 5 (-50 %) |" in perf("requests", "--format", "markdown", "--compare", "previous")[0]
    assert "count_before" in perf("requests", "--format", "csv", "--compare", "previous")[0].splitlines()[0]


# --- judgement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("max=500ms", "max of the whole site is 900 ms, 80% over 500 ms (4 requests)"),
        ("p95=1s", ""),
        ("p95=500ms@GET /fast", ""),
        ("p95=500ms@GET /slow", "p95 of GET /slow is 900 ms, 80% over 500 ms (1 requests)"),
        ("p95=500ms@*", "p95 of GET /slow is 900 ms, 80% over 500 ms (1 requests)"),
        ("p95=500ms@GET /nowhere", ""),
        ("error_rate=10%", "error_rate of the whole site is 25 %, 150% over 10 % (4 requests)"),
        ("error_rate=25%", ""),
        ("errors=0", "errors of the whole site is 1, over 0 (4 requests)"),
        ("cache_hit_ratio<90%", "cache_hit_ratio of the whole site is 75 %, 17% under 90 % (4 requests)"),
        ("queries=1", "queries of the whole site is 2.5, 150% over 1 (4 requests)"),
    ],
)
def test_a_breach_is_told_and_ends_with_1(minute, limit, told):
    requests(minute, "/fast", [1_000] * 3, queries=3, cache_hits=2, cache_misses=1)
    requests(minute, "/slow", [900_000], errors=1, queries=7, cache_hits=1)
    _, said, code = perf("requests", "--fail-over", limit)
    assert (said.strip(), code) == (told, 1 if told else 0)


def test_several_breaches_have_a_line_each_and_are_in_the_json(minute):
    requests(minute, "/slow", [900_000] * 2, errors=1)
    limits = ["--fail-over", "p95=500ms@*", "--fail-over", "error_rate=1%", "--fail-over", "max=5s"]
    out, said, code = perf("requests", "--format", "json", *limits)
    assert (len(said.splitlines()), code) == (2, 1)
    found = json.loads(out)["limits"]
    assert [(one["metric"], one["endpoint"], one["is_breach"]) for one in found] == [
        ("p95_ms", "GET /slow", True),
        ("error_rate", "", True),
        ("max_ms", "", False),
    ]
    assert found[0] == {
        "metric": "p95_ms",
        "endpoint": "GET /slow",
        "over": 500,
        "value": pytest.approx(900, rel=0.02),
        "count": 2,
        "is_breach": True,
    }


@pytest.mark.parametrize("limit", ["p95=1ms", "rate<1", "p95=1ms@*", "p95=1ms@GET /nowhere"])
def test_nothing_measured_is_no_breach_unless_it_shall_be(limit):
    assert perf("requests", "--fail-over", limit)[1:] == ("", 0)
    _, said, code = perf("requests", "--fail-over", limit, "--fail-empty")
    assert code == 1
    assert "nothing was measured" in said


def test_the_judgement_sees_the_figures_of_the_report(minute):
    requests(minute, "/a", list(range(1_000, 900_000, 700)))
    (row,) = rows()
    for metric in ("p50", "p95", "p99", "mean", "max"):
        value = row[f"{metric}_ms"]
        assert perf("requests", "--fail-over", f"{metric}={value - 0.01:.3f}ms@*")[2] == 1
        assert perf("requests", "--fail-over", f"{metric}={value + 0.01:.3f}ms@*")[2] == 0


def test_health_ends_with_2_when_data_is_lost(minute):
    text, _, code = perf("--health")
    assert (text.splitlines()[1:], code) == (["0 workers, nothing lost"], 0)
    store(series(LOSS, ("error", "flush: OperationalError"), [1]), minute=minute, taken=time.time())
    text, _, code = perf("--health")
    lost = "1 workers, 0 lost, 0 measurements dropped, 0 rows unread; errors: flush: OperationalError x 1"
    assert (text.splitlines()[1:], code) == ([lost], 2)
    assert json.loads(perf("--health", "--format", "json")[0])["reports"] == {}
    assert perf("requests", "--health", "--fail-over", "p95=1s")[2] == 2
    assert perf("requests")[2] == 0


def test_the_site_is_judged_by_its_own_series(minute):
    store(series(SITE, (), [1_000]), minute=minute)
    assert perf("requests", "--fail-over", "p95=0.5ms")[2] == 1


# --- markdown, help, completion ---------------------------------------------------------------------------------------


def test_markdown_is_one_table_per_report(minute):
    store(series(BLOCK, ("a|b",), [1_000]), minute=minute)
    text, _, _ = perf("--format", "markdown")
    assert "### Requests" in text
    assert "| a\\|b | 1 |" in text


def test_the_help_has_examples_and_exit_codes(capsys):
    with pytest.raises(SystemExit):
        call_command("perfstats", "--help")
    text = capsys.readouterr().out
    assert "\n  perfstats requests --watch " in text
    assert "exit codes: 0 all is well" in text
    assert "error_rate=1%" in text


COMPLETE = """
{script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_django_perf
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(*words):
    """Return what bash offers for the last word."""
    script, _, _ = perf("--completion", "bash")
    quoted = " ".join(f"'{word}'" for word in words)
    child = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE.format(script=script, words=quoted)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stderr == ""
    return child.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("manage.py", "perfstats", "requ"), ["requests"]),
        (("python", "manage.py", "perfstats", "chan"), ["changes"]),
        (("manage.py", "perfstats", "--fail-"), ["--fail-over", "--fail-empty"]),
        (("manage.py", "perfstats", "blocks", "--sort", "m"), ["mean_ms", "max_ms"]),
        (("manage.py", "perfstats", "--sort", "p9"), ["p95_ms", "p99_ms"]),
        (("manage.py", "perfstats", "--sort", "=", "-p9"), ["-p95_ms", "-p99_ms"]),
        (("manage.py", "perfstats", "--format", ""), ["table", "json", "csv", "markdown"]),
        (("manage.py", "perfstats", "--compare", "y"), ["yesterday"]),
        (("manage.py", "migr"), []),
    ],
)
def test_bash_completes_reports_columns_and_options(words, offered):
    assert completed(*words) == offered


def test_other_commands_are_left_to_django_s_completion():
    script, _, _ = perf("--completion", "bash")
    text = COMPLETE.format(script="_django_completion() { COMPREPLY=(migrate); }\n" + script, words="manage.py migr")
    child = subprocess.run(["bash", "--norc", "-c", text], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["migrate"]


def test_zsh_gets_the_same_by_its_own_emulation():
    bash, zsh = (perf("--completion", shell)[0] for shell in ("bash", "zsh"))
    assert "bashcompinit" in zsh
    assert zsh.endswith(bash.replace("--completion bash", "--completion zsh"))
