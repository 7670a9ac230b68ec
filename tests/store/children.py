"""Start real Python processes that use the store of the running test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connections

from tests.services import POSTGRES_VARIABLE

ROOT = Path(__file__).resolve().parents[2]


def environment():
    """Name the test's own PostgreSQL database to a child that imports tests.settings."""
    url = urlsplit(settings.POSTGRES.url)._replace(path=f"/{connections['default'].settings_dict['NAME']}")
    return os.environ | {
        POSTGRES_VARIABLE: url.geturl(),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
    }


def python(code):
    """Start `code` in a process of its own, with pipes for text."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def run(code):
    """Run `code` to its end and return what it printed; its error output is the message of a failure."""
    with python(code) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output
