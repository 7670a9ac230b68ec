"""Show django_perf at work: `manage.py demo [--seconds N] [--port P] [--products N] [--json FILE]`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from example_project.demo.errors import DemoError
from example_project.demo.screen import Screen
from example_project.demo.show import Plan, perform
from example_project.shop.management.commands.shop_seed import MAX_PRODUCTS


class Command(BaseCommand):
    """Run servers, shop, traffic and live figures until Ctrl-C; leave nothing behind."""

    help = "Run the shop with live traffic and show what django_perf measures."
    # The children check the settings they run with; this process only starts them.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, metavar="N", help="end after this time (default: at Ctrl-C)")
        parser.add_argument("--port", type=int, default=8000, metavar="P", help="default: 8000; 0 picks a free one")
        parser.add_argument("--products", type=int, default=10_000, metavar="N", help="default: 10000")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the final figures of perfstats here")

    def handle(self, *, seconds: float | None, port: int, products: int, json: Path | None, **options: Any) -> None:
        refuse_nonsense(seconds, port, products, json)
        # Django would end each write with a newline; the console moves the cursor by itself.
        self.stdout.ending = ""
        try:
            perform(Plan(seconds, port, products, json), Screen(Console(file=self.stdout)))
        except (DemoError, OSError) as error:
            raise CommandError(str(error)) from error


def refuse_nonsense(seconds: float | None, port: int, products: int, json: Path | None) -> None:
    """Raise CommandError for a value that could only fail later."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise CommandError(f"--seconds is {seconds}; give a number above 0")
    if not 0 <= port <= 65_535:
        raise CommandError(f"--port is {port}; give a number from 0 to 65535")
    if not 1 <= products <= MAX_PRODUCTS:
        raise CommandError(f"--products is {products}; give a number from 1 to {MAX_PRODUCTS}")
    if json is not None and not json.resolve().parent.is_dir():
        raise CommandError(f"--json names {str(json)!r}, but its folder does not exist")
