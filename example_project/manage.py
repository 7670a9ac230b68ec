#!/usr/bin/env python
"""Run the example project's management commands from any folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Hand the command line to Django with the repository root importable."""
    # Python puts the script's own folder on the path; from there `example_project` itself would not be found, while
    # `settings` or `urls` of anybody else would be ours.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(entry for entry in sys.path if entry != str(here))]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
