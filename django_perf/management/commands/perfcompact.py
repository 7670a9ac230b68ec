"""Do the housekeeping by hand or from cron."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from ...exceptions import PerfError
from ...store.housekeeping import tidy
from ...store.writer import own_connection


class Command(BaseCommand):
    """Compact and expire now; the workers do the same once a minute, so this is for a site without traffic."""

    help = "Merge the delta log of django_perf into rollups and delete what has expired. Safe at any time."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run once, unless another process is at it."""
        try:
            with own_connection() as alias:
                merged = tidy(alias)
        except PerfError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"the store fails: {type(error).__name__}; has `migrate` been run?") from error
        self.stdout.write("another process is at it" if merged is None else f"merged {merged} deltas")
