"""Delete all measurements."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from ...store.housekeeping import clear
from ...store.writer import own_connection


class Command(BaseCommand):
    """Empty the store; workers go on and fill it again from their next flush."""

    help = "Delete every measurement of django_perf. Asks first, unless --noinput is given."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--noinput", action="store_false", dest="interactive", help="Do not ask.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, then delete."""
        if options["interactive"] and input("Delete all measurements? Type yes: ") != "yes":
            raise CommandError("nothing was deleted")
        try:
            with own_connection() as alias:
                clear(alias)
        except DatabaseError as error:
            raise CommandError(f"the store fails: {type(error).__name__}; has `migrate` been run?") from error
        self.stdout.write("all measurements are deleted")
