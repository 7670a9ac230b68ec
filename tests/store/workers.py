"""What the child processes of test_processes do; they fork from one that has loaded Django, as gunicorn's do."""

from __future__ import annotations

import os
import random
import signal
import sys

import django


def flush_together(processes, rounds, series):
    """Fork writers that start at one moment, when stdin says so; print their exit codes."""
    django.setup()
    gate, opener = os.pipe()
    for number in range(processes):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)  # end of file, when the parent closes the other end
            _run(lambda number=number: _flush(number, rounds, series))
    print("ready", flush=True)
    sys.stdin.readline()
    os.close(opener)
    print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(processes)])


def _flush(number, rounds, series):
    from django_perf.store.writer import write

    from .data import MIDNIGHT, batch, requests

    for turn in range(rounds):
        table = {}
        for one in range(series):
            table |= requests(count=number + 1, route=f"/{one}", errors=1)
        write(batch({MIDNIGHT + turn // 10: table}, pid=number))


def compact_on_demand():
    """Fork a compactor for each line of stdin: its name, and where it shall stop itself; print what becomes of it.

    Prints its pid when it holds the lease, "stopped" when it has stopped itself, and its exit code at its end.
    """
    django.setup()
    for line in sys.stdin:
        owner, stop_at = line.split()
        child = os.fork()
        if child == 0:
            _run(lambda owner=owner, stop_at=stop_at: _compact(owner, stop_at))
        _, status = os.waitpid(child, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            print("stopped", flush=True)
            _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _compact(owner, stop_at):
    from django_perf.store import compactor
    from django_perf.store.lease import Holder

    from .data import DAY, MIDNIGHT

    compactor._DELTAS_AT_ONCE = 1
    if stop_at != "nowhere":
        _stop_before(compactor, stop_at)
    holder = Holder("default", owner)
    while not holder.acquire():
        pass  # the server has not noticed yet that the last holder was killed, and its row is locked
    print(os.getpid(), flush=True)
    compactor.compact(holder, (MIDNIGHT + DAY) * 60 + compactor.GRACE_S)


def _stop_before(module, name):
    """Stop this process, as a pause of its machine would, before its third call of a function."""
    function = getattr(module, name)
    calls = []

    def stopping(*args):
        calls.append(name)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGSTOP)
        return function(*args)

    setattr(module, name, stopping)


def _run(work):
    """Work and leave without the parent's exit handlers: 0, or 1 with the error's class in stderr."""
    random.seed()
    code = 1
    try:
        work()
        code = 0
    except Exception as error:
        print(type(error).__name__, file=sys.stderr, flush=True)
    finally:
        os._exit(code)
