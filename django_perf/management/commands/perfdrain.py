"""Take this host out of the balancer before a stop."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...conf import get_settings
from ...exceptions import UnsafeFolder
from ...readiness.drain import FORGOTTEN_S, Drain
from ...readiness.state import drain_of


class Command(BaseCommand):
    """Switch the readiness of all workers on this host to red, and back; see docs/health.md."""

    help = "Turn readyz of all workers on this host red before a stop (on), or green again (off)."
    # Nothing may stand between a stop and its drain.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions."""
        parser.add_argument("action", choices=("on", "off", "status"))

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action."""
        try:
            drain = drain_of(get_settings())
            if options["action"] == "on":
                drain.switch_on()
            elif options["action"] == "off":
                drain.switch_off()
        except (UnsafeFolder, ImproperlyConfigured, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_status(drain))


def _status(drain: Drain) -> str:
    age = drain.age()
    if age is None:
        return f"not draining ({drain.path})"
    if not drain.is_on():
        return f"not draining: switched on {age:.0f} s ago, ignored after {FORGOTTEN_S:.0f} s ({drain.path})"
    return f"draining for {max(0.0, age):.0f} s ({drain.path})"
