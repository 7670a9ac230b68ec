"""Show the reports in a terminal."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from ...advisor.report import REPORTS
from ...exceptions import PerfError
from ...metrics.recorder import recorder
from ...reports.answer import Answer, answer
from ...reports.flat import write_csv
from ...reports.terminal import print_answer, watch
from ...reports.window import PRESETS, last

_WATCH_EVERY_S = 2.0


class Command(BaseCommand):
    """Print requests, queries, blocks and processes as the store knows them; from any machine that reaches it."""

    help = (
        "Show what django_perf has measured. Examples: perfstats --since 1h; perfstats requests --sort p95_ms; "
        "perfstats queries --limit 5; perfstats advice; perfstats database; perfstats --format json; perfstats --watch."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "report",
            nargs="?",
            choices=sorted(REPORTS),
            metavar="REPORT",
            help="One of %(choices)s; without it all, but those that ask the databases themselves.",
        )
        parser.add_argument("--since", default="5m", help=f"Time range: {', '.join(PRESETS)} or the like (5m).")
        parser.add_argument("--sort", metavar="COLUMN", help="Column to sort by, largest first.")
        parser.add_argument("--limit", type=int, metavar="N", help="Rows per report (table: 20, else all).")
        parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
        parser.add_argument("--watch", action="store_true", help="Show again every two seconds, until Ctrl-C.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print once, or again and again."""
        if options["watch"] and options["format"] != "table":
            raise CommandError("--watch shows tables; leave --format out")
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError(f"--limit {options['limit']} shows nothing; give 1 or more")
        if options["watch"]:
            watch(lambda: self._answer(options), _WATCH_EVERY_S, is_overview=not options["report"])
        else:
            self._print(self._answer(options), options["format"], is_overview=not options["report"])

    def _answer(self, options: dict[str, Any]) -> Answer:
        names = [options["report"]] if options["report"] else [one.name for one in REPORTS.values() if not one.is_live]
        limit = options["limit"] or (20 if options["format"] == "table" else None)
        try:
            with recorder.paused():
                return answer(names, last(options["since"], time.time()), options["sort"], limit, REPORTS)
        except (KeyError, ValueError, PerfError) as error:
            raise CommandError(str(error.args[0])) from error
        except DatabaseError as error:
            raise CommandError(f"the store cannot be read: {type(error).__name__}; has `migrate` been run?") from error

    def _print(self, result: Answer, format_: str, is_overview: bool) -> None:
        if format_ == "json":
            self.stdout.write(json.dumps(result.as_dict(), indent=2, allow_nan=False))
        elif format_ == "csv":
            self._print_csv(result.tables.values())
        else:
            print_answer(result, self.stdout, is_overview)

    def _print_csv(self, tables: Any) -> None:
        """Write one CSV per report, parted by an empty line; its header tells which it is."""
        for number, table in enumerate(tables):
            if number:
                self.stdout.write("")
            write_csv(table, self.stdout)
