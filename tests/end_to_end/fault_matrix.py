"""Let every function of django_perf fail in turn, at length, and print what changed.

`python -m tests.end_to_end.fault_matrix --responses 10000 --hang 0.05`
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from contextlib import contextmanager

import django
from django.test.utils import override_settings, setup_databases, setup_test_environment, teardown_databases


@contextmanager
def test_database():
    """Set Django up as a run of the tests does."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    logging.disable()  # each fault is logged, and each failing view
    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    try:
        yield
    finally:
        teardown_databases(databases, verbosity=0)


def main() -> None:
    """Run, and print one line; below it what must not be, and what no request reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--responses", type=int, default=10_000)
    parser.add_argument("--hang", type=float, default=0.05, metavar="SECONDS")
    options = parser.parse_args()
    with test_database():
        from tests.end_to_end import fault_site, faults  # they import models, which need the apps

        started, targets = time.monotonic(), faults.find_targets()
        with override_settings(DJANGO_PERF=fault_site.SETTINGS, ROOT_URLCONF="tests.end_to_end.fault_urls"):
            result = fault_site.run(targets, options.hang, options.responses)
    print(
        f"{result.responses} responses, {len(targets)} functions, {len(result.reached)} of them reached, "
        f"{len(result.changed)} responses changed, {len(result.killed)} faults ended a thread, "
        f"{time.monotonic() - started:.0f} s"
    )
    unreached = [target.name for target in targets if target.name not in result.reached]
    for line in [*sorted(set(result.changed)), *sorted(result.killed), f"not reached: {' '.join(unreached)}"]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
