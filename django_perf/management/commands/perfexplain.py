"""Show how the database runs a recorded query."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, no_translations
from django.db import Error as DatabaseError

from ...exceptions import PerfError
from ...metrics.recorder import recorder
from ...reports.plans import explained, print_explained


class Command(BaseCommand):
    """Explain a query by its id: nothing is executed, and no value of it is needed or known."""

    help = (
        "Show the plan of a recorded SELECT and what is wrong with it. The id is that of `perfstats queries` and of "
        "the page. Example: perfexplain 43689df3d1c7."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("id", help="The id of the query, 12 letters and digits.")

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        """Explain, or say why not."""
        try:
            with recorder.paused():
                print_explained(explained(options["id"]), self.stdout)
        except PerfError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"the store cannot be read: {type(error).__name__}; has `migrate` been run?") from error
