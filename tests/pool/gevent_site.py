"""Use the engine under gevent, in a process of its own: everything is patched before anything is imported."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
from gevent.socket import wait_read, wait_write  # noqa: E402
from psycopg2 import extensions  # noqa: E402


def wait(conn, timeout=None):
    """Let other greenlets run while libpq waits, as psycogreen does."""
    while (state := conn.poll()) != extensions.POLL_OK:
        (wait_read if state == extensions.POLL_READ else wait_write)(conn.fileno(), timeout=timeout)


extensions.set_wait_callback(wait)

import django  # noqa: E402

django.setup()

from django.db import connections  # noqa: E402

JOBS, SIZE = 40, 4
connections.settings["pooled"] = {
    **connections["default"].settings_dict,
    "ENGINE": "django_perf.pool.postgresql",
    "OPTIONS": {"pool": {"max_size": SIZE}},
}


def job() -> int:
    """Run one statement, as one request does."""
    wrapper = connections["pooled"]
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.02), pg_backend_pid()")
        pid = cursor.fetchone()[1]
    wrapper.close()
    return pid


if __name__ == "__main__":
    jobs = [gevent.spawn(job) for _ in range(JOBS)]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    pool = connections["pooled"].pool
    assert pool.uses() == JOBS
    assert {one.value for one in jobs} == {slot.facts["pid"] for slot in pool.slots}
    print(pool.level())
