"""What the child processes of the table level's tests do."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import django
from django.db import connections


def _level(alias, name, table):
    from django_perf.cache.database import DatabaseLevel

    django.setup()
    connections[alias].settings_dict["NAME"] = name
    return DatabaseLevel(alias, table, timeout=30)


def increment(alias, name, table, threads, times):
    """Add 1 to the row "k" in many threads, when stdin says so."""
    level = _level(alias, name, table)
    level.get_many(["k"])
    print("ready", flush=True)
    sys.stdin.readline()

    def work(number):
        for _ in range(times):
            level.change("k", lambda old: b"%d" % (int(old) + 1))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    level.close()


def fork(alias, name, table):
    """Write, fork a child that writes and ends, and write again; print who was connected, as JSON."""
    level = _level(alias, name, table)
    seen = {"parent": _connected(level)}
    level.set_many([("parent", b"before", None)])
    reading, writing = os.pipe()
    if os.fork() == 0:
        level.set_many([("child", b"value", None)])
        os.write(writing, json.dumps(_connected(level)).encode())
        level.close()
        raise SystemExit(0)  # with all exit handlers, and whatever is freed at the end
    _, status = os.wait()
    seen |= {"child": json.loads(os.read(reading, 1000)), "status": status}
    level.change("parent", lambda old: b"after")
    seen["later"] = _connected(level)
    level.close()
    print(json.dumps(seen))


def _connected(level):
    """Return what tells connections apart: the server's process, or the object in ours."""

    def ask(cursor):
        if level._connection.vendor == "sqlite":
            return f"{os.getpid()} {id(cursor.connection)}"
        cursor.execute("SELECT pg_backend_pid()")
        return str(cursor.fetchone()[0])

    return level._connection.run(ask)
