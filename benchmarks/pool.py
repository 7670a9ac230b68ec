"""What does the connection pool cost, and how fairly does it lend? Ours beside its rivals, on a real PostgreSQL.

Each contestant is a process of its own; rounds are interleaved, so a slow minute of the machine hits all alike.
Figures are medians over rounds, ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psutil

from benchmarks.pool_load import Yield, load
from benchmarks.pool_proxy import CountingProxy
from benchmarks.pool_site import CHECKED, NAME_VARIABLE, NEW, OURS, OURS_SMALL, PERSISTENT, RIVAL, URL_VARIABLE
from example_project.demo.processes import ROOT, Child, Launcher, StopRequest
from tests.server_process import free_port
from tests.services import POSTGRES_VARIABLE, find_postgres

PACKAGES = (
    "Django",
    "psycopg2-binary",
    "psycopg",
    "psycopg-pool",
    "SQLAlchemy",
    "django-db-connection-pool",
    "gunicorn",
)
BARE, ALWAYS, PSYCOPG, SQLALCHEMY = "bare deque", "ours, looks always", "psycopg_pool", "SQLAlchemy"
# Operations per thread and round are fewer by this; the ratio is the same.
_SLOW = {PSYCOPG: 4, SQLALCHEMY: 5}
OPERATIONS = 20_000
CROWD, FEW, HOLDS = 32, 4, 100
LOOKS = 2_000
THREADS = 8
OWN_STATEMENT = "SELECT 1"
LOAD_S, READY_S = 1.0, 30.0
CONFIGURATION = str(ROOT / "example_project" / "gunicorn.conf.py")


Contestant, Result = TypeVar("Contestant"), TypeVar("Result")


# --- ratios -------------------------------------------------------------------------------------------------------


def ratio(own: Sequence[float], base: Sequence[float]) -> float:
    """Return the median of the ratios within each round."""
    return statistics.median(one / other for one, other in zip(own, base, strict=True))


def at_most(value: float, target: float, base: str) -> str:
    """Say how a ratio stands to an upper target."""
    return f"   {value:.3g} x {base}, target <= {target:.3g}{'' if value <= target else '   MISSED'}"


def at_least(value: float, target: float, base: str) -> str:
    """Say how a ratio stands to a lower target."""
    return f"   {value:.3g} x {base}, target >= {target:.3g}{'' if value >= target else '   MISSED'}"


def in_turns(
    contestants: dict[str, Contestant], rounds: int, measure: Callable[[Contestant], Result]
) -> dict[str, list[Result]]:
    """Measure all in turn, and return the results by name; the first round warms up and is left out.

    The order turns too, so that nobody always follows the same neighbour.
    """
    names, found = list(contestants), {name: [] for name in contestants}
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(measure(contestants[name]))
    return {name: results[1:] for name, results in found.items()}


# --- pools --------------------------------------------------------------------------------------------------------


class Worker:
    """Drive one child process that holds a pool."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self._process = process

    def ask(self, what: str, threads: int, count: int) -> float:
        """Return the seconds that the child found."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what} {threads} {count}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended with {self._process.wait()}")
        return float(answer)


@contextmanager
def started(name: str, size: int, url: str) -> Iterator[Worker]:
    """Start the child that holds one pool; it ends with its standard input."""
    command = [sys.executable, "-m", "benchmarks.pool_worker", name, str(size)]
    environment = os.environ | {POSTGRES_VARIABLE: url}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"{name} did not start")
        yield Worker(name, process)
        process.stdin.close()


@contextmanager
def all_started(names: Sequence[str], size: int, url: str) -> Iterator[dict[str, Worker]]:
    """Start the children of several pools."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(started(name, size, url)) for name in names}


def micro(url: str, rounds: int) -> None:
    """Time acquire + release without anything in between."""
    with all_started([BARE, OURS, ALWAYS, PSYCOPG, SQLALCHEMY], 10, url) as workers:
        for threads in (1, THREADS):
            print(f"\nacquire + release, CPU time, threads: {threads}")
            found = in_turns(workers, rounds, partial(cycle, threads))
            for name, seconds in found.items():
                to_bare = ratio(seconds, found[BARE])
                goals = f"   {to_bare:.3g} x {BARE}"
                if name == OURS:
                    goals = at_most(to_bare, 1.5, BARE) + at_most(ratio(seconds, found[PSYCOPG]), 0.6, PSYCOPG)
                print(f"  {name:20} {statistics.median(seconds) * 1e6:7.2f} us{goals}")


def cycle(threads: int, worker: Worker) -> float:
    """Return the CPU seconds of one acquire + release."""
    return worker.ask("cpu", threads, OPERATIONS // _SLOW.get(worker.name, 1))


def fairness(url: str, rounds: int) -> None:
    """Find the longest wait in a crowd."""
    with all_started([BARE, OURS, PSYCOPG, SQLALCHEMY], FEW, url) as workers:
        found = in_turns(workers, rounds, lambda worker: worker.ask("worst_wait", CROWD, HOLDS))
    print(f"\nlongest wait of {CROWD} threads for {FEW} connections, each held 2 ms, {HOLDS} times by each")
    for name, seconds in found.items():
        goals = ""
        if name == OURS:
            goals = at_most(ratio(seconds, found[PSYCOPG]), 1.5, PSYCOPG)
            goals += at_most(ratio(seconds, found[SQLALCHEMY]), 0.1, SQLALCHEMY)
        print(f"  {name:20} {statistics.median(seconds) * 1e3:7.1f} ms{goals}")


def liveness(url: str, rounds: int) -> None:
    """Compare our look at the socket with the round trip that others make."""
    with started(OURS, 1, url) as worker:
        found = in_turns({"look": "look", "ask": "ask"}, rounds, lambda what: worker.ask(what, 1, LOOKS))
    part = ratio(found["ask"], found["look"])
    print("\nis the connection alive?")
    print(f"  SELECT 1 on loopback {statistics.median(found['ask']) * 1e6:7.2f} us")
    text = f"1/{part:.0f} of it, target 1/30{'' if part >= 30 else '   MISSED'}"
    print(f"  our look             {statistics.median(found['look']) * 1e6:7.2f} us   {text}")


# --- sites --------------------------------------------------------------------------------------------------------


class Site:
    """One gunicorn with one worker of THREADS threads."""

    def __init__(self, child: Child, address: tuple[str, int]) -> None:
        self._child = child
        self._address = address

    def load(self, path: str, callers: int = THREADS) -> Yield:
        """Ask for a path as fast as it answers."""
        return load(self._address, path, callers, LOAD_S)

    def cpu_s(self) -> float:
        """Return the CPU seconds that the worker has used."""
        (worker,) = psutil.Process(self._child.process.pid).children()
        used = worker.cpu_times()
        return used.user + used.system

    def wait_until_ready(self) -> None:
        """Wait for the port."""
        deadline = time.monotonic() + READY_S
        while True:
            self._child.check()
            try:
                return socket.create_connection(self._address).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise self._child.complaint(f"did not start within {READY_S} s") from None
                time.sleep(0.05)


@contextmanager
def served(names: Sequence[str], urls: Sequence[str]) -> Iterator[dict[str, Site]]:
    """Serve the small site in several configurations at once, each on its URL of the database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sites = {}
        for number, (name, url) in enumerate(zip(names, urls, strict=True)):
            port = free_port()
            environment = os.environ | {NAME_VARIABLE: name, URL_VARIABLE: url}
            command = [sys.executable, "-m", "gunicorn", "-c", CONFIGURATION, "--bind", f"127.0.0.1:{port}"]
            command += ["--workers", "1", "--threads", str(THREADS), "benchmarks.pool_site:application"]
            child = Launcher(folder, environment, StopRequest()).start(f"site{number}", command)
            stack.callback(child.stop)
            sites[name] = Site(child, ("127.0.0.1", port))
        for site in sites.values():
            site.wait_until_ready()
        yield sites


def statements(url: str, rounds: int) -> None:
    """Count what the server receives for a request besides the request's own query."""
    names = (PERSISTENT, CHECKED, NEW, OURS, RIVAL)
    parts = urlsplit(url)
    with ExitStack() as stack:
        upstream = (parts.hostname or "", parts.port or 5432)
        proxies = {name: stack.enter_context(CountingProxy(upstream)) for name in names}
        account = parts.netloc.rpartition("@")[0]
        ports = [proxy.address[1] for proxy in proxies.values()]
        urls = [parts._replace(netloc=f"{account}@127.0.0.1:{port}").geturl() for port in ports]
        sites = stack.enter_context(served(names, urls))
        print("\nwhat the server receives of warm requests, besides the one query of each")
        for name, site in sites.items():
            report_statements(name, site, proxies[name])


def report_statements(name: str, site: Site, proxy: CountingProxy) -> None:
    """Warm one site up, load it by one caller and by many, and print what the proxy read.

    Among many, a connection deep in a pool's stack may have been idle for so long that it is pinged.
    """
    site.load("/query")
    for callers in (1, THREADS):
        old, proxy.connections = len(proxy.statements), 0
        requests = site.load("/query", callers).answers
        extra = Counter(proxy.statements[old:])
        extra[OWN_STATEMENT] -= requests
        goal = ""
        if name == OURS and callers == 1:
            goal = f"   target 0{'   MISSED' if extra.total() else ''}"
        counts = f"{extra.total():5} statements, {proxy.connections:5} connections in {requests:5} requests"
        print(f"  {name:30} callers: {callers} {counts}{goal}")
        for text, number in extra.items():
            if number:
                print(f"    {number:5} times {text.partition(chr(0))[0]:.90}")


def gunicorn(url: str, rounds: int) -> None:
    """Compare requests per second of a view with one query."""
    names = (PERSISTENT, NEW, OURS, RIVAL)
    with served(names, [url] * len(names)) as sites:
        plain = [with_cpu("/plain", sites[PERSISTENT]) for _ in range(3)]
        found = in_turns(sites, rounds, partial(with_cpu, "/query"))
    rates = {name: [one.rate for one, _ in results] for name, results in found.items()}
    print(f"\na view with one query, gunicorn gthread 1 x {THREADS}, {THREADS} callers, requests per second")
    print(f"  {'no query at all':20} {describe(plain)}")
    for name, results in found.items():
        print(f"  {name:20} {describe(results)}   {ratio(rates[name], rates[PERSISTENT]):.3f} x {PERSISTENT}")
    for base, target in ((PERSISTENT, 0.9), (RIVAL, 1.1), (NEW, 8.0)):
        print(f"  ours:{at_least(ratio(rates[OURS], rates[base]), target, base)}")


def with_cpu(path: str, site: Site) -> tuple[Yield, float]:
    """Load one site; return also the CPU seconds of its worker per request."""
    before = site.cpu_s()
    result = site.load(path)
    return result, (site.cpu_s() - before) / result.answers


def describe(results: Sequence[tuple[Yield, float]]) -> str:
    """Return the median rate, the worker's CPU time per request, and what the load generator itself needed."""
    rate = statistics.median(one.rate for one, _ in results)
    cpu_us = statistics.median(cpu for _, cpu in results) * 1e6
    return (
        f"{rate:7.0f}, {cpu_us:5.0f} us CPU each, {statistics.median(one.own_part for one, _ in results):4.0%} to ask"
    )


def released(url: str, rounds: int) -> None:
    """Compare two connections that are handed back while the view is slow with one for each thread."""
    with served((PERSISTENT, OURS_SMALL), [url] * 2) as sites:
        views = {
            PERSISTENT: (sites[PERSISTENT], "/held"),
            f"{OURS_SMALL}, released()": (sites[OURS_SMALL], "/released"),
            f"{OURS_SMALL}, held": (sites[OURS_SMALL], "/held"),
        }
        found = in_turns(views, rounds, lambda view: view[0].load(view[1]).rate)
    print(f"\na view with one query and then 20 ms without any, {THREADS} threads, requests per second")
    for name, rates in found.items():
        value = ratio(rates, found[PERSISTENT])
        goal = at_least(value, 0.9, PERSISTENT) if name.endswith("released()") else f"   {value:.3g} x {PERSISTENT}"
        print(f"  {name:32} {statistics.median(rates):7.0f}{goal}")


# --- the command line ---------------------------------------------------------------------------------------------

# Name: function, rounds unless the command line says how many.
PARTS: dict[str, tuple[Callable[[str, int], None], int]] = {
    "micro": (micro, 15),
    "fairness": (fairness, 3),
    "liveness": (liveness, 15),
    "statements": (statements, 1),
    "gunicorn": (gunicorn, 15),
    "released": (released, 5),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--rounds", type=int, help="instead of each part's own number")
    options = parser.parse_args()
    service = find_postgres()
    print(f"PostgreSQL from {service.origin}; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    for name in options.part:
        part, rounds = PARTS[name]
        part(service.url, options.rounds or rounds)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
