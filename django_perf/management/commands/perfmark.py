"""Draw a line into every chart: here something was changed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from ...metrics.recorder import recorder
from ...reports.marks import set_mark
from ...reports.window import moment, moment_of
from ...store.alias import store_alias


class Command(BaseCommand):
    """Remember a deploy, or whatever else may have changed how the site performs."""

    help = (
        'Mark a moment, a deploy as a rule: perfmark "v2.3". It is a line in every chart, and what the dashboard and '
        "perfstats --since mark compare with the time before."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("text", help="What happened, at most 100 characters.")
        parser.add_argument("--at", metavar="TIME", help="When: 2026-11-29T14:05 (UTC) or with +01:00 (default: now).")

    def handle(self, *args: Any, **options: Any) -> None:
        """Store the mark."""
        try:
            with recorder.paused():
                mark = set_mark(store_alias(), options["text"], moment_of(options["at"]) if options["at"] else None)
        except ValueError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(
                f"the store cannot be written: {type(error).__name__}; has `migrate` been run?"
            ) from error
        self.stdout.write(f"{moment(mark.at):%Y-%m-%d %H:%M:%S} UTC: {mark.text}")
