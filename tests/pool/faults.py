"""Serve a site while its database fails, and count what its visitors notice.

`python -m tests.pool.faults [scenario ...] [--rate 50] [--ours | --stock]` prints a table: the pool's engine against
Django's own with CONN_MAX_AGE=60. The server is a cluster of its own, which the site reaches through a proxy.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from example_project.demo.errors import DemoError
from example_project.demo.processes import ROOT, Child, Launcher, StopRequest
from tests import server_process
from tests.end_to_end.server import CONFIGURATION, READY_S
from tests.pool.cluster import OURS, STOCK, THREADS, Cluster
from tests.pool.load import Fault, Figures, Load
from tests.proxy import Proxy

WORKERS = 2
WARM_UP_RPS, WARM_UP_S = 100.0, 0.5


class Site:
    """The site under gunicorn; `log` holds what its processes said."""

    def __init__(self, folder: Path, database: dict[str, object], **environment: str) -> None:
        self.address = ("127.0.0.1", server_process.free_port())
        variables = {**os.environ, "FAULT_DATABASE": json.dumps(database), **environment}
        self._launcher = Launcher(folder, variables, StopRequest())

    def start(self, *options: str, graceful_s: int = 5) -> None:
        """Start, and return when all workers have booted."""
        bind = f"{self.address[0]}:{self.address[1]}"
        command = [sys.executable, "-m", "gunicorn", "-c", CONFIGURATION, "--bind", bind, "--workers", str(WORKERS)]
        command += ["--threads", str(THREADS), "--graceful-timeout", str(graceful_s), *options]
        self._child: Child = self._launcher.start("gunicorn", [*command, "tests.pool.fault_site:application"])
        deadline = time.monotonic() + READY_S
        while self.log.count("Booting worker") < WORKERS:
            self._child.check()
            if time.monotonic() > deadline:
                raise self._child.complaint(f"did not start within {READY_S} s")
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """Return what the site has written so far."""
        return self._child.log.read_text(errors="replace")

    @property
    def workers(self) -> list[int]:
        """Return the pids of the workers."""
        return [child.pid for child in psutil.Process(self._child.process.pid).children()]

    def stop(self) -> float:
        """Send TERM and wait; returns the seconds that the end took, and raises nothing when it was a bad end."""
        began = time.monotonic()
        if self._child.process.poll() is None:
            with suppress(DemoError):
                self._child.end()
        return time.monotonic() - began

    def errors(self, start: int = 0) -> Counter[str]:
        """Return the last lines of the tracebacks in the log from a position on, without their numbers."""
        lines = re.findall(
            r"^(?:[a-z_0-9.]+\.)?[A-Z]\w*(?:Error|Timeout|Requests|Closed)\b.*", self.log[start:], re.MULTILINE
        )
        return Counter(re.sub(r"\d+(\.\d+)?", "N", line)[:150] for line in lines)


@dataclass(frozen=True, slots=True)
class Timing:
    """How many seconds the load lasts, when the fault begins, how long that lasts, and how long nobody came before."""

    load_s: float
    fault_at_s: float
    fault_s: float = 0.0
    lull_s: float = 0.0


@dataclass
class Run:
    """One scenario on one engine: what the fault acts on."""

    cluster: Cluster
    proxy: Proxy
    site: Site
    load: Load
    timing: Timing
    notes: dict[str, object] = field(default_factory=dict)

    def wait(self) -> None:
        """Let the fault last."""
        self.load.sleep_until(self.timing.fault_at_s + self.timing.fault_s)


def restart(run: Run) -> None:
    run.cluster.stop()
    run.cluster.start()


def terminate(run: Run) -> None:
    run.cluster.terminate_all()


def forget(run: Run) -> None:
    run.proxy.forget()


@contextmanager
def down(run: Run) -> Iterator[None]:
    run.proxy.refuse()
    run.cluster.stop()
    try:
        yield
    finally:
        run.cluster.start()
        run.proxy.accept()


@contextmanager
def silent(run: Run) -> Iterator[None]:
    run.proxy.swallow()
    try:
        yield
    finally:
        run.proxy.heal()


@contextmanager
def stopped(run: Run) -> Iterator[None]:
    with run.cluster.frozen():
        yield


def worker_kill(run: Run) -> None:
    os.kill(run.site.workers[0], signal.SIGKILL)


@contextmanager
def term(run: Run) -> Iterator[None]:
    with silent(run):
        yield
        run.notes["exit_s"] = run.site.stop()


def preload(run: Run) -> None:
    """Note which worker used which backend, and whether the master's own still lives."""
    run.load.join()
    (early,) = re.findall(r"early query: (\S+) (\S+)", run.site.log)
    used: dict[str, set[str]] = {early[1]: {early[0]}}
    for request in run.load.requests:
        if request.page == "read" and not request.fault:
            process, backend = request.body.split()
            used.setdefault(backend, set()).add(process)
    run.notes["shared"] = sum(len(processes) > 1 for processes in used.values())
    run.notes["workers"] = len(set().union(*used.values()) - {early[0]})
    run.notes["master_lives"] = int(early[1].partition("@")[0]) in run.cluster.sessions()


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, when, and for how long; `act` is a function of the run, or a block that lasts while it fails."""

    act: Callable[[Run], object]
    full: Timing
    short: Timing
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


SCENARIOS = {
    "restart": Scenario(restart, Timing(15, 4), Timing(2.5, 1)),
    "terminate": Scenario(terminate, Timing(12, 4), Timing(2, 0.8)),
    "forget": Scenario(forget, Timing(15, 4), Timing(3, 1)),
    "forget_idle": Scenario(forget, Timing(15, 4, lull_s=1), Timing(3, 1.5, lull_s=0.8)),
    "down": Scenario(down, Timing(15, 4, 5), Timing(5, 0.8, 3)),
    "silent": Scenario(silent, Timing(22, 4, 10), Timing(5.5, 0.8, 3)),
    "blink": Scenario(silent, Timing(15, 4, 1), Timing(4.5, 0.8, 1)),
    "stopped": Scenario(stopped, Timing(22, 4, 10), Timing(5.5, 0.8, 3)),
    "worker_kill": Scenario(worker_kill, Timing(10, 4), Timing(2, 0.8)),
    "term": Scenario(term, Timing(8, 3, 2), Timing(2, 0.8, 0.8)),
    "preload": Scenario(preload, Timing(6, 4), Timing(1.5, 1), ("--preload",), {"FAULT_EARLY_QUERY": "1"}),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave: the figures of its load, notes of the scenario, and the errors in the site's log."""

    figures: Figures
    notes: dict[str, object]
    errors: Counter[str]


@contextmanager
def serving(cluster: Cluster, folder: Path, name: str, engine: str) -> Iterator[tuple[Proxy, Site]]:
    """Serve a site, warmed up, behind a proxy and as the scenario needs it."""
    scenario = SCENARIOS[name]
    with Proxy(cluster.address) as proxy:
        site = Site(folder, cluster.settings(engine, proxy.address), **scenario.environment)
        site.start(*scenario.options)
        try:
            warm_up = Load(site.address, WARM_UP_RPS, WARM_UP_S)
            warm_up.start()
            warm_up.join()
            yield proxy, site
        finally:
            site.stop()


def run_scenario(cluster: Cluster, proxy: Proxy, site: Site, name: str, timing: Timing, rate: float = 50.0) -> Result:
    """Send the load, let the fault happen, and return what came of it."""
    lull = (timing.fault_at_s - timing.lull_s, timing.fault_at_s)
    run = Run(cluster, proxy, site, Load(site.address, rate, timing.load_s, lull), timing)
    said = len(site.log)
    run.load.start()
    try:
        fault = _strike(run, SCENARIOS[name])
    finally:
        run.load.join()
    return Result(Figures(run.load.requests, fault, cluster.tokens()), run.notes, site.errors(said))


def _strike(run: Run, scenario: Scenario) -> Fault:
    run.load.sleep_until(run.timing.fault_at_s)
    began = time.monotonic()
    if not hasattr(scenario.act, "__wrapped__"):
        scenario.act(run)
        now = time.monotonic()
        return Fault(began, now, now)
    with scenario.act(run):
        struck = time.monotonic()
        run.wait()
    return Fault(began, struck, time.monotonic())


def fork_storm(cluster: Cluster, count: int = 200) -> dict[str, object]:
    """Fork a process that queries in threads, and return what parent and children saw (see forks.py)."""
    variables = {"FAULT_DATABASE": json.dumps(cluster.settings(OURS, cluster.address))}
    command = [sys.executable, "-m", "tests.pool.forks", str(count)]
    answer = subprocess.run(
        command, env={**os.environ, **variables}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    if answer.returncode:
        raise RuntimeError(f"{command!r} ended with {answer.returncode}: {answer.stdout}{answer.stderr}")
    return {**json.loads(answer.stdout), "stderr": answer.stderr}


COLUMNS = "| {:11} | {:5} | {:>12} | {:34} | {:>5} | {:>12} | {:>7} | {:>8} | {:>9} | {:>9} | {:>8} | {:>4} |"
TITLES = ("scenario", "", "failed/sent", "kinds", "slow", "failed later", "flying", "recovery", "plain p50", "db p50*")


def _line(name: str, engine: str, figures: Figures) -> str:
    kinds = " ".join(f"{kind}:{count}" for kind, count in figures.kinds.most_common())
    return COLUMNS.format(
        name,
        "ours" if engine == OURS else "stock",
        f"{len(figures.failed)}/{len(figures.requests)}",
        kinds,
        len(figures.slow),
        len(figures.failed_later),
        len(figures.in_flight),
        f"{figures.recovery_s:.2f} s",
        _ms(figures.median_ms(["plain"])),
        _ms(figures.median_ms(["read", "write"], after_s=2.0)),
        f"{figures.worst_s:.2f} s",
        len(figures.lost),
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def main() -> None:
    """Run the scenarios of the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS, "fork"], metavar="scenario")
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second")
    parser.add_argument("--ours", dest="engines", action="store_const", const=[OURS], default=[OURS, STOCK])
    parser.add_argument("--stock", dest="engines", action="store_const", const=[STOCK])
    parser.add_argument("--short", action="store_true", help="as short as in the tests")
    options = parser.parse_args()
    cluster = Cluster()
    print(COLUMNS.format(*TITLES, "worst", "lost"))
    print("* of read and write, from 2 s after the beginning of the fault to its end")
    for name in options.scenarios or [*SCENARIOS, "fork"]:
        for engine in options.engines if name != "fork" else []:
            _print_run(cluster, name, engine, options)
        if name == "fork":
            _print_forks(fork_storm(cluster))


def _print_run(cluster: Cluster, name: str, engine: str, options: argparse.Namespace) -> None:
    timing = SCENARIOS[name].short if options.short else SCENARIOS[name].full
    with (
        tempfile.TemporaryDirectory(prefix="django-perf-faults-") as folder,
        serving(cluster, Path(folder), name, engine) as (proxy, site),
    ):
        result = run_scenario(cluster, proxy, site, name, timing, options.rate)
    print(_line(name, engine, result.figures), *(f"{key}={value}" for key, value in result.notes.items()), flush=True)
    for text, count in result.errors.most_common(6):
        print(f"    {count} x {text}", flush=True)


def _print_forks(seen: dict) -> None:
    own = [backend for backends in seen["children"].values() for backend in set(backends)]
    shared = len(own) - len(set(own)) + len(set(own) & set(seen["after"]))
    lost = set(seen["before"]) - set(seen["after"])
    text = "fork: {} children, {} failed or hung, {} backends shared, {} of the parent's {} lost, {} errors, {} queries"
    counts = (len(seen["failed"]), shared, len(lost), len(seen["after"]), len(seen["errors"]), seen["queries"])
    print(text.format(len(seen["children"]) + len(seen["failed"]), *counts))


if __name__ == "__main__":
    main()
