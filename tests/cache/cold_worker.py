"""Ask for one cold key in many threads at once: python -m tests.cache.cold_worker LOCATION PREFIX SECONDS THREADS.

Prints how often this process has computed, once all threads have their answer. With an endless SECONDS it stands for a
leader that dies: it says "computing" and goes no further.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import django
from django.conf import settings


def main() -> None:
    """Compute at most once."""
    location, prefix, seconds, threads = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    cache = {"BACKEND": "django_perf.cache.MultiLevelCache", "LOCATION": location, "KEY_PREFIX": prefix}
    settings.configure(SECRET_KEY="cold", CACHES={"default": cache})
    django.setup()
    from django_perf import cache_result

    computed = []

    @cache_result(key="cold")
    def slow():
        computed.append(1)
        print("computing", flush=True)
        time.sleep(seconds)
        return ["value"]

    together = Barrier(threads)

    def ask(_):
        together.wait(60)
        return slow()

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(ask, range(threads))) == [["value"]] * threads
    print("computed", len(computed), flush=True)


if __name__ == "__main__":
    main()
