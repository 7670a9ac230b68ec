"""Run Django's own test suite on our ENGINE and on the stock one, and compare: python -m tests.django_suite.

The suite comes from the sdist of the Django that is installed. The pool is on by default: with a `pool` key in OPTIONS
Django would skip two tests of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import django

from tests.services import find_postgres

LABELS = """backends transactions db_utils transaction_hooks basic queries servers test_utils select_for_update
migrations schema cache postgres_tests async"""
ENGINES = {"stock": "django.db.backends.postgresql", "django_perf": "django_perf.pool.postgresql"}
MOST_TIME = 1.2
# Asserts that Django refuses OPTIONS["pool"] with psycopg2, which is what our engine takes: left out of both runs.
LEFT_OUT = "test_connect_pool_setting_ignored_for_psycopg2"
_SETTINGS = """
from test_sqlite import *
from urllib.parse import unquote, urlsplit
url = urlsplit({url!r})
DATABASES = {{
    alias: {{
        "ENGINE": {engine!r},
        "NAME": alias,
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname or "",
        "PORT": url.port or "",
    }}
    for alias in ("default", "other")
}}
"""


def fetch(folder: Path) -> Path:
    """Return the tests folder of the installed Django's sdist."""
    wanted = f"Django=={django.get_version()}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"]
    subprocess.run([*command, ":all:", "--dest", str(folder), wanted], check=True, stderr=subprocess.DEVNULL)
    (archive,) = folder.glob("[dD]jango-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    tests = next(folder.glob("[dD]jango-*/tests"))
    module = tests / "backends" / "postgresql" / "tests.py"
    module.write_text(module.read_text().replace(f"def {LEFT_OUT}", f"def left_out_{LEFT_OUT}"))
    return tests


def run(tests: Path, name: str, url: str, labels: list[str], parallel: int) -> tuple[str, float]:
    """Run the suite on one engine; return its counts and its seconds."""
    module = f"suite_{name}"
    (tests / f"{module}.py").write_text(_SETTINGS.format(url=url, engine=ENGINES[name]))
    paths = os.pathsep.join([str(Path(__file__).parents[1]), str(tests.parent)])
    command = [sys.executable, "-W", "ignore", "runtests.py", f"--settings={module}", "--noinput"]
    began = time.perf_counter()
    result = subprocess.run(
        [*command, f"--parallel={parallel}", *labels],
        cwd=tests,
        env={**os.environ, "PYTHONPATH": paths, "RUNNING_DJANGOS_TEST_SUITE": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    (tests.parent.parent / f"{name}.log").write_text(result.stdout)
    return counts_of(result.stdout), seconds


def counts_of(output: str) -> str:
    """Return "4482 tests OK (skipped=333, ...)" or what went wrong, from the end of a run."""
    ran = re.search(r"Ran (\d+) tests?", output)
    verdict = re.findall(r"^(OK|FAILED)(.*)$", output, re.MULTILINE)
    if not ran or not verdict:
        return "no result: " + " / ".join(output.strip().splitlines()[-3:])
    return f"{ran[1]} tests {''.join(verdict[-1])}"


def main() -> None:
    """Run both engines, print both results, and exit 1 when they differ or ours takes too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="*", default=LABELS.split())
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--only", choices=ENGINES)
    parser.add_argument("--folder", type=Path, help="keep the sdist and the logs here")
    options = parser.parse_args()
    url = find_postgres().url
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        tests = next(folder.glob("[dD]jango-*/tests"), None) or fetch(folder)
        results = {}
        for name in [options.only] if options.only else ENGINES:
            results[name] = run(tests, name, url, options.labels, options.parallel)
            print(f"Django {django.get_version()}, {name:11}: {results[name][0]}, {results[name][1]:.0f} s", flush=True)
    if len(results) == 2:
        (stock, stock_s), (ours, ours_s) = results.values()
        print(f"time: {ours_s / stock_s:.2f} of stock, at most {MOST_TIME}")
        sys.exit(stock != ours or " OK" not in ours or ours_s > MOST_TIME * stock_s)


if __name__ == "__main__":
    main()
