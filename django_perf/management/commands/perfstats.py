"""Show the reports in a terminal, and judge them for scripts."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter, no_translations
from django.db import Error as DatabaseError
from django.db import connections

from ...advisor.report import REPORTS
from ...exceptions import PerfError
from ...metrics.limits import GRAMMAR, limit_of
from ...metrics.names import nearest
from ...metrics.recorder import recorder
from ...reports.answer import Answer, Question, ask
from ...reports.completion import SHELLS, script
from ...reports.flat import write_csv, write_markdown
from ...reports.live import View
from ...reports.marks import since_mark
from ...reports.screen import EVERY_S, Scene, read, run
from ...reports.terminal import print_answer, print_health, watch
from ...reports.window import COMPARISONS, PRESETS, Window, window_of
from ...store.alias import store_alias

FORMATS = ("table", "json", "csv", "markdown")
_ROWS = 20
# What people call a report besides its name.
_ALSO = {"advise": "advice"}
BREACHED, LOSING, UNREADABLE = 1, 2, 3
_WRONG_USAGE = 2
_EXAMPLES = """\
examples:
  perfstats                                  all that was measured in the last five minutes
  perfstats requests --since 1h --sort p95_ms
  perfstats requests --sort=-p95_ms          the other way round
  perfstats changes --since mark             since the last deploy, against the time before
  perfstats queries --since 24h --compare week --filter orders
  perfstats --since 2026-11-29T14:05 --until 2026-11-29T14:20 --format json
  perfstats requests --watch                 live; press q to end it
  perfstats --health                         is anything being lost?
  perfstats requests --since 10m --fail-over p95=500ms --fail-over 'error_rate=1%@*'

exit codes: 0 all is well, 1 a limit is breached, 2 wrong usage or (with --health) data is being lost,
3 the store cannot be read.
"""


class _Help(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leave the examples as they are."""


class Command(BaseCommand):
    """Print requests, queries, blocks and processes as the store knows them; from any machine that reaches it."""

    help = "Show what django_perf has measured."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Put examples under the help."""
        return super().create_parser(prog_name, subcommand, epilog=_EXAMPLES, formatter_class=_Help, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "report",
            nargs="?",
            metavar="REPORT",
            help=f"One of {', '.join(sorted(REPORTS))}; without it all, but those that ask the databases themselves.",
        )
        _add_what_is_read(parser)
        parser.add_argument("--format", choices=FORMATS, default="table")
        parser.add_argument("--watch", action="store_true", help="Show it live, until q or Ctrl-C.")
        _add_judgement(parser)
        parser.add_argument("--completion", choices=SHELLS, help="Print the completion of this command for a shell.")

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        """Print once, or again and again."""
        if options["completion"]:
            self.stdout.write(self._completion(options["completion"]))
            return
        options["report"] = _report_of(options["report"])
        _refuse_what_does_not_go_together(options)
        if options["watch"]:
            self._watch(options)
        else:
            self._show(options)

    def _show(self, options: dict[str, Any]) -> None:
        is_overview = not (options["report"] or options["health"])
        result = self._answer(options)
        self._print(result, options["format"], is_overview)
        code = BREACHED if self._tell_breaches(result, options["fail_empty"]) else 0
        if options["health"] and result.health.is_losing:
            code = LOSING  # the figures lack something, and with them any verdict
        if code:
            sys.exit(code)

    def _answer(self, options: dict[str, Any]) -> Answer:
        names = [options["report"]] if options["report"] else [one.name for one in REPORTS.values() if not one.is_live]
        with _told():
            question = Question(
                names=[] if options["health"] and not options["report"] else names,
                window=_window(options),
                sort=options["sort"],
                limit=options["limit"] or (_ROWS if options["format"] in {"table", "markdown"} else None),
                text=options["filter"],
                is_compared=options["compare"] is not None,
                limits=[limit_of(text) for text in options["fail_over"]],
            )
            return ask(question, REPORTS)

    def _print(self, result: Answer, format_: str, is_overview: bool) -> None:
        if format_ == "json":
            self.stdout.write(json.dumps(result.as_dict(), indent=2, allow_nan=False))
        elif format_ == "table":
            print_answer(result, self.stdout, is_overview)
        else:
            self._print_flat(result, write_csv if format_ == "csv" else write_markdown)

    def _print_flat(self, result: Answer, write: Any) -> None:
        """Write one table per report, parted by an empty line; its header tells which it is."""
        for number, table in enumerate(result.tables.values()):
            if number:
                self.stdout.write("")
            write(table, self.stdout)
        if not result.tables:
            print_health(result, self.stdout)

    def _tell_breaches(self, result: Answer, fails_empty: bool) -> bool:
        told = [one for one in result.verdicts if one.is_breach or (fails_empty and one.value is None)]
        for verdict in told:
            self.stderr.write(verdict.text())
        return bool(told)

    def _watch(self, options: dict[str, Any]) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty() and _draws()):
            watch(lambda: self._answer(options), self.stdout, EVERY_S, is_overview=not options["report"])
            return
        report = REPORTS[options["report"] or "requests"]
        sort = options["sort"] or ""
        with _told():
            report.column(sort.removeprefix("-") or report.columns[0].name)
        view = View(options["since"], sort.removeprefix("-"), sort.startswith("-"), options["filter"])
        run(report, view, partial(_scene, report, options), sys.stdin)

    def _completion(self, shell: str) -> str:
        parser = self.create_parser("manage.py", "perfstats")
        names = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        values = {"--format": FORMATS, "--compare": COMPARISONS, "--since": (*PRESETS, "mark"), "--completion": SHELLS}
        return script(shell, REPORTS, names, values)


def _add_what_is_read(parser: CommandParser) -> None:
    parser.add_argument(
        "--since",
        default=PRESETS[0],
        metavar="WHEN",
        help=f"A length ({', '.join(PRESETS)} or the like), a time (2026-11-29T14:05, UTC or with +01:00), `mark` for "
        "the last perfmark, or `mark:TEXT` for the last with TEXT in it. Default: %(default)s.",
    )
    parser.add_argument("--until", default="", metavar="TIME", help="The end, a time; default: now.")
    parser.add_argument(
        "--compare", choices=COMPARISONS, help="Show by how much each number has changed against that time."
    )
    parser.add_argument("--filter", default="", metavar="TEXT", help="Only rows with TEXT in one of their texts.")
    parser.add_argument(
        "--sort", metavar="COLUMN", help="Column to sort by, largest first; --sort=-COLUMN for smallest first."
    )
    parser.add_argument("--limit", type=int, metavar="N", help=f"Rows per report (tables: {_ROWS}, else all).")


def _add_judgement(parser: CommandParser) -> None:
    parser.add_argument(
        "--fail-over",
        action="append",
        default=[],
        metavar="LIMIT",
        help=f"Exit with 1 if the site breaches it, and say by how much; may be repeated: {GRAMMAR}.".replace(
            "%", "%%"
        ),
    )
    parser.add_argument("--fail-empty", action="store_true", help="Nothing measured breaches a limit too.")
    parser.add_argument("--health", action="store_true", help="Exit with 2 if data is being lost, and say what.")


def _report_of(name: str | None) -> str | None:
    known = _ALSO.get(name or "", name)
    if known is None or known in REPORTS:
        return known
    near = nearest(known, [*REPORTS, *_ALSO])
    meant = f"did you mean {near!r}? " if near else ""
    raise CommandError(f"no report {name!r}; {meant}there are {', '.join(sorted(REPORTS))}", returncode=_WRONG_USAGE)


def _refuse_what_does_not_go_together(options: dict[str, Any]) -> None:
    judges = options["fail_over"] or options["health"]
    wrong = {
        "--watch shows tables; leave --format out": options["watch"] and options["format"] != "table",
        "--watch shows what happens now; leave --until and --compare out": options["watch"]
        and (options["until"] or options["compare"]),
        "--watch does not end; leave --fail-over and --health out": options["watch"] and judges,
        f"--limit {options['limit']} shows nothing; give 1 or more": options["limit"] is not None
        and options["limit"] < 1,
        "--fail-empty needs a --fail-over": options["fail_empty"] and not options["fail_over"],
    }
    for text, is_so in wrong.items():
        if is_so:
            raise CommandError(text, returncode=_WRONG_USAGE)


def _window(options: dict[str, Any], now: float | None = None) -> Window:
    since = since_mark(store_alias(), options["since"])
    return window_of(since, options["until"], options["compare"] or "", time.time() if now is None else now)


def _scene(report: Any, options: dict[str, Any], view: View, room: int) -> Scene:
    """Read what the live view shows."""
    with _told():
        window = _window(options | {"since": view.since}, view.paused_at)
        return read(report, view, window, min(room, options["limit"] or room))


@contextmanager
def _told() -> Iterator[None]:
    """Measure nothing of our own, and tell in a sentence what is wrong."""
    try:
        with recorder.paused():
            yield
    except (KeyError, ValueError) as error:
        raise CommandError(str(error.args[0]), returncode=_WRONG_USAGE) from error
    except PerfError as error:
        raise CommandError(str(error.args[0]), returncode=UNREADABLE) from error
    except DatabaseError as error:
        # A command that goes on, --watch, shall find a new connection when the server is back.
        connections[store_alias()].close_if_unusable_or_obsolete()
        text = f"the store cannot be read: {type(error).__name__}; has `migrate` been run?"
        raise CommandError(text, returncode=UNREADABLE) from error


def _draws() -> bool:
    from rich.console import Console

    return not Console().is_dumb_terminal
