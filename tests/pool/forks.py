"""Fork a process again and again while its threads query, and report whose backends were whose.

`python -m tests.pool.forks 200`, with FAULT_DATABASE as for fault_site.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import sys
import time
import traceback
from collections.abc import Iterator
from threading import Event, Thread

from django.db import connection

from tests.pool.fault_site import who

AT_ONCE = 6
PATIENCE_S = 15.0


class Parent:
    """Threads that query all the time, and what they saw."""

    def __init__(self, threads: int = 4) -> None:
        self.backends: set[str] = set()
        self.queries = 0
        self.errors: list[str] = []
        self._stop = Event()
        self._threads = [Thread(target=self._query, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Parent:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _query(self) -> None:
        while not self._stop.wait(0.002):
            try:
                self.backends.add(backend())
                self.queries += 1
            except Exception as error:
                self.errors.append(repr(error))


def backend() -> str:
    """Return the backend that serves a query, as one request would ask it."""
    try:
        return who().split()[1]
    finally:
        connection.close()


def in_child(number: int, pipe: int) -> None:
    """Query in the forking thread and in a new one, tell what was seen, and end like a worker or at once."""
    status = 1
    try:
        seen = [backend()]
        thread = Thread(target=lambda: seen.append(backend()))
        thread.start()
        thread.join(PATIENCE_S)
        os.write(pipe, json.dumps([os.getpid(), seen]).encode() + b"\n")
        if number % 2:
            atexit._run_exitfuncs()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def fork_under_load(count: int) -> None:
    """Print, as JSON, the backends before, of the children, and after, and whatever went wrong."""
    with Parent() as parent:
        while parent.queries < 50 and not parent.errors:
            time.sleep(0.01)
        before, children, failed = parent.backends.copy(), {}, []
        for first in range(0, count, AT_ONCE):
            wave = [_forked(number) for number in range(first, min(first + AT_ONCE, count))]
            for pid, seen in _results(dict(wave)):
                if seen is None:
                    failed.append(pid)
                else:
                    children[pid] = seen
        queries = parent.queries
        time.sleep(0.2)
    answer = {
        "before": sorted(before),
        "after": sorted(parent.backends),
        "children": children,
        "failed": failed,
        "errors": parent.errors,
        "queries": [queries, parent.queries],
    }
    json.dump(answer, sys.stdout)


def _forked(number: int) -> tuple[int, int]:
    """Return the child's pid and the end of the pipe that tells what it saw."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        in_child(number, writing)
    os.close(writing)
    return pid, reading


def _results(wave: dict[int, int]) -> Iterator[tuple[int, list[str] | None]]:
    """Wait for a wave of children; None for one that failed or hung, which is killed."""
    deadline = time.monotonic() + PATIENCE_S
    for pid, reading in wave.items():
        text = _read_to_end(reading, deadline)
        if text is None:
            print(f"child {pid} hangs", file=sys.stderr)
            os.kill(pid, 9)
        os.close(reading)
        _, status = os.waitpid(pid, 0)
        yield pid, json.loads(text)[1] if text and status == 0 else None


def _read_to_end(reading: int, deadline: float) -> bytes | None:
    """Return all that comes before the other end closes, None when it does not in time."""
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            data = os.read(reading, 65536)
            if not data:
                return text
            text += data
    return None


if __name__ == "__main__":
    fork_under_load(int(sys.argv[1]))
