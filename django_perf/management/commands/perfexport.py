"""Push the metrics of the whole site to a collector, from one place."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from ...exceptions import PerfError
from ...exporters import otlp
from ...exporters.reading import read_families
from ...store.writer import own_connection


class Command(BaseCommand):
    """Read the totals and push them, again and again: what is missed once is in the next push. See docs/exports.md."""

    help = "Push the metrics of the whole site over OTLP/HTTP. Run it once per site, not once per host."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        url = "The whole address: http://collector:4318/v1/metrics."
        parser.add_argument("--otlp", metavar="URL", required=True, help=url)
        parser.add_argument("--interval", type=_seconds, default=15.0, help="Seconds between two pushes (15).")
        parser.add_argument("--once", action="store_true", help="Push once, and fail where that fails.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Push until the process is ended, or once."""
        if not otlp.is_installed():
            raise CommandError("OTLP needs the OpenTelemetry SDK: pip install django-perf-suite[otlp]")
        pusher = otlp.Pusher(options["otlp"])
        try:
            while (trouble := _push(pusher)) or not options["once"]:
                self._tell(trouble, is_last=options["once"])
                time.sleep(options["interval"])
        except KeyboardInterrupt:
            self.stderr.write("stopped")
        finally:
            pusher.close()

    def _tell(self, trouble: str, is_last: bool) -> None:
        if trouble and is_last:
            raise CommandError(trouble)
        if trouble:
            self.stderr.write(trouble)


def _push(pusher: otlp.Pusher) -> str:
    """Push once; returns what went wrong, "" where nothing did."""
    try:
        with own_connection():
            families = read_families()
    except (DatabaseError, PerfError) as error:
        return f"the store cannot be read: {type(error).__name__}; has `migrate` been run?"
    return "" if pusher.push(families) else "the collector did not take the metrics"


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 3_600:
        raise ArgumentTypeError(f"{text} is no number of seconds from 1 to 3600")
    return value
