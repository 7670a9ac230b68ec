"""Hold one connection pool: `pool_worker.py NAME SIZE`; a child of pool.py.

Reads lines "WHAT THREADS COUNT" and answers each with seconds; see `TASKS`.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from threading import Barrier, Condition, Thread
from typing import Any
from urllib.parse import urlsplit

from tests.services import POSTGRES_VARIABLE

URL = os.environ.get(POSTGRES_VARIABLE, "")
HOLD_S = 0.002
PATIENCE_S = 60.0


class Lending:
    """A pool as these benchmarks see it: a function to take a connection, one to give it back."""

    def __init__(self, take: Callable[[], Any], give: Callable[[Any], object], pool: Any = None) -> None:
        self.take, self.give, self.pool = take, give, pool


# --- the pools ----------------------------------------------------------------------------------------------------


def bare(size: int) -> Lending:
    """Make what nobody can beat: a deque and a Condition. Checks nothing, queues nobody, notes nothing."""
    import psycopg2

    idle, condition = deque(psycopg2.connect(URL) for _ in range(size)), Condition()

    def take() -> Any:
        with condition:
            while not idle:
                condition.wait()
            return idle.pop()

    def give(connection: Any) -> None:
        with condition:
            idle.append(connection)
            condition.notify()

    return Lending(take, give)


def ours(size: int) -> Lending:
    """Make our pool as Django makes it."""
    from django.conf import settings
    from django.db import connection

    parts = urlsplit(URL)
    # So that no round of the loop below meets a connection that has come to its age of 50,000 uses.
    options = {"max_size": size, "timeout": PATIENCE_S, "max_uses": 1_000_000_000}
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django_perf.pool.postgresql",
                "NAME": parts.path.removeprefix("/"),
                "USER": parts.username,
                "PASSWORD": parts.password,
                "HOST": parts.hostname,
                "PORT": parts.port or 5432,
                "OPTIONS": {"pool": options},
            }
        }
    )
    pool: Any = connection.pool  # type: ignore[attr-defined]
    return Lending(pool.getconn, pool.putconn, pool)


def ours_looking(size: int) -> Lending:
    """Make our pool with a look at the socket at each checkout, however recently the connection was used."""
    made = ours(size)
    made.pool._bypass = 0.0
    return made


def psycopg_pool(size: int) -> Lending:
    """Make the pool of psycopg 3, without its check."""
    del sys.modules["psycopg"]  # see benchmarks/__init__.py
    import psycopg_pool

    pool = psycopg_pool.ConnectionPool(URL, min_size=size, max_size=size, timeout=PATIENCE_S, open=True)
    pool.wait()
    return Lending(pool.getconn, pool.putconn, pool)


def sqlalchemy(size: int) -> Lending:
    """Make SQLAlchemy's pool over psycopg2, without its pre_ping."""
    import psycopg2
    from sqlalchemy.pool import QueuePool

    pool = QueuePool(lambda: psycopg2.connect(URL), pool_size=size, max_overflow=0, timeout=PATIENCE_S)
    return Lending(pool.connect, lambda connection: connection.close(), pool)


POOLS: dict[str, Callable[[int], Lending]] = {
    "bare deque": bare,
    "ours": ours,
    "ours, looks always": ours_looking,
    "psycopg_pool": psycopg_pool,
    "SQLAlchemy": sqlalchemy,
}


# --- what is measured ---------------------------------------------------------------------------------------------


def cpu(lending: Lending, threads: int, count: int) -> float:
    """Return the CPU seconds of one acquire + release."""
    take, give = lending.take, lending.give

    def work() -> None:
        for _ in range(count):
            give(take())

    started: list[float] = []
    _together(threads, work, lambda: started.append(time.process_time()))
    return (time.process_time() - started[0]) / (threads * count)


def worst_wait(lending: Lending, threads: int, count: int) -> float:
    """Return the longest time that anybody waited, with each checkout held for HOLD_S."""
    worst: list[float] = []

    def work() -> None:
        longest = 0.0
        for _ in range(count):
            asked = time.perf_counter()
            connection = lending.take()
            longest = max(longest, time.perf_counter() - asked)
            time.sleep(HOLD_S)
            lending.give(connection)
        worst.append(longest)

    _together(threads, work, lambda: None)
    return max(worst)


def look(lending: Lending, threads: int, count: int) -> float:
    """Return the seconds of one look at the socket under a connection."""
    connection = lending.take()
    state = connection.slot.channel.state
    started = time.perf_counter()
    for _ in range(count):
        state()
    seconds = time.perf_counter() - started
    lending.give(connection)
    return seconds / count


def ask(lending: Lending, threads: int, count: int) -> float:
    """Return the seconds of one `SELECT 1` by psycopg2 at its barest."""
    from psycopg2 import extensions

    connection = lending.take()
    cursor = extensions.connection.cursor(connection, cursor_factory=extensions.cursor)
    started = time.perf_counter()
    for _ in range(count):
        cursor.execute("SELECT 1")
        cursor.fetchone()
    seconds = time.perf_counter() - started
    cursor.close()
    lending.give(connection)
    return seconds / count


def _together(threads: int, work: Callable[[], None], started: Callable[[], None]) -> None:
    """Run `work` in threads that begin at one moment."""
    barrier = Barrier(threads, action=started)

    def run() -> None:
        barrier.wait()
        work()

    crew = [Thread(target=run) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()


TASKS: dict[str, Callable[[Lending, int, int], float]] = {
    "cpu": cpu,
    "worst_wait": worst_wait,
    "look": look,
    "ask": ask,
}


def main() -> None:
    """Answer lines until the parent closes them."""
    name, size = sys.argv[1], int(sys.argv[2])
    lending = POOLS[name](size)
    for connection in [lending.take() for _ in range(size)]:  # all are open before anything is measured
        lending.give(connection)
    print("ready", flush=True)
    for line in sys.stdin:
        what, threads, count = line.split()
        print(TASKS[what](lending, int(threads), int(count)), flush=True)


if __name__ == "__main__":
    main()
