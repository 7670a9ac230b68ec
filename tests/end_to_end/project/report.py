"""Print all reports as JSON, as they read some seconds later: `python -m tests.end_to_end.project.report 60`."""

from __future__ import annotations

import json
import sys
import time

import django

django.setup()

from django_perf.reports.answer import REPORTS, answer  # noqa: E402 - needs the apps
from django_perf.reports.window import last  # noqa: E402
from django_perf.store.models import Delta, Process  # noqa: E402


def last_flushes():
    """Return when each process was last heard of."""
    rows = [*Process.objects.values_list("pid", "last_seen"), *Delta.objects.values_list("pid", "taken")]
    return {pid: max(at for own, at in rows if own == pid) for pid, _ in rows}


if __name__ == "__main__":
    found = answer(REPORTS, last("1h", time.time() + float(sys.argv[1]))).as_dict()
    print(json.dumps({**found, "last_flushes": last_flushes()}))
