"""Serve a site while its Redis fails, and count what its visitors notice.

`python -m tests.cache.faults [scenario ...] [--rate 50] [--ours]` prints a table: this cache against django-redis, as
it comes and with IGNORE_EXCEPTIONS. The server is one of its own, which the site reaches through a proxy. The module
is also that site: FAULT_CACHE holds its CACHES["default"] as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache as once
from functools import partial
from pathlib import Path

import django
from django.conf import settings
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from example_project.demo.errors import DemoError
from example_project.demo.processes import Launcher, StopRequest
from tests import server_process
from tests.cache.redis_server import RedisServer
from tests.end_to_end.server import CONFIGURATION, READY_S
from tests.pool.faults import Timing
from tests.pool.load import Fault, Figures, Load
from tests.proxy import Proxy

OURS, STOCK, IGNORING = "ours", "django-redis", "ignoring"
WORKERS, THREADS = 2, 4
WARM_UP_RPS, WARM_UP_S = 100.0, 0.5
ROWS = ["row"] * 100

# --- the site ---------------------------------------------------------------------------------------------------------


def plain(request):
    """Answer without the cache."""
    return HttpResponse("plain")


def read(request):
    """Answer after several calls of the cache; says whether it is as good as new."""
    product = computed(int(request.GET["token"][:2], 16))
    cache.get("visitor")
    cache.get_many([f"product:{number}" for number in range(10)])
    cache.set("visitor", request.GET["token"], 60)
    return HttpResponse(f"{len(product)} {os.getpid()} {is_healthy(request.GET['token'])}")


def write(request):
    """Answer after calls that write; whoever counts has to expect that nobody can."""
    number = int(request.GET["token"][:2], 16)
    cache.add("count", 0, 60)
    with suppress(Exception):
        cache.incr("count")
    cache.set_many({f"product:{number % 10}": ROWS, f"product:{number}": ROWS}, 60)
    cache.delete(f"product:{number}")
    return HttpResponse("written")


@once
def _computing() -> Callable[[int], list[str]]:
    from django_perf.cache import cache_result

    return cache_result(60, key="computed:{number}")(lambda number: ROWS)


def computed(number: int) -> list[str]:
    """Return what a function returned before, in the way that the cache has for it."""
    if hasattr(cache, "levels"):
        return _computing()(number)
    return cache.get_or_set(f"computed:{number}", lambda: ROWS, 60)


def is_healthy(token: str) -> bool:
    """Tell whether what this process writes can be read in Redis, and whether it trusts its memory."""
    cache.set(f"health:{token}", token, 10)
    if not hasattr(cache, "levels"):
        return cache.get(f"health:{token}") == token
    levels = cache.levels
    entry = levels.shared.read(cache.physical(f"health:{token}"), [])
    is_trusted = bool(levels.namespace.head) and time.monotonic() < levels.namespace.trusted_until
    return is_trusted and entry is not None and entry.level == "l2"


urlpatterns = [path("plain/", plain), path("read/", read), path("write/", write)]


@once
def _wsgi() -> Callable:
    settings.configure(
        CACHES={"default": json.loads(os.environ["FAULT_CACHE"])},
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["127.0.0.1"],
        SECRET_KEY="faults",
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"stderr": {"class": "logging.StreamHandler"}},
            "loggers": {name: {"handlers": ["stderr"]} for name in ("django.request", "django_perf")},
        },
    )
    django.setup()
    return get_wsgi_application()


def application(environ, start_response):
    """Serve a request; Django is set up with the first one, in the worker."""
    return _wsgi()(environ, start_response)


# --- the faults -------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One scenario on one cache: what the fault acts on."""

    server: RedisServer
    proxy: Proxy
    load: Load
    timing: Timing

    def wait(self) -> None:
        """Let the fault last."""
        self.load.sleep_until(self.timing.fault_at_s + self.timing.fault_s)


def kill(run: Run) -> None:
    with run.server.down():
        run.wait()


def stop(run: Run) -> None:
    with run.server.frozen():
        run.wait()


def full(run: Run) -> None:
    run.server.client.config_set("maxmemory", 1)
    run.wait()
    run.server.client.config_set("maxmemory", 0)


def readonly(run: Run) -> None:
    run.server.client.replicaof("127.0.0.1", server_process.free_port())
    run.wait()
    run.server.client.replicaof("NO", "ONE")


def flush(run: Run) -> None:
    deadline = time.monotonic() + run.timing.fault_s
    while time.monotonic() < deadline:
        run.server.client.flushall()
        time.sleep(0.05)


def password(run: Run) -> None:
    client = run.server.client
    client.config_set("requirepass", "another")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    run.wait()
    client.config_set("requirepass", "")


def swallow(run: Run) -> None:
    run.proxy.swallow()
    run.wait()
    run.proxy.heal()


def forget(run: Run) -> None:
    run.proxy.forget()
    run.wait()


_FULL, _SHORT = Timing(18, 4, 10), Timing(3.4, 0.7, 1.2)
SCENARIOS: dict[str, Callable[[Run], None]] = {
    function.__name__: function for function in (kill, stop, swallow, forget, full, readonly, flush, password)
}


@dataclass(frozen=True)
class Result:
    """The figures of a run, and when the last process was as good as new, in seconds after the end of the fault."""

    figures: Figures
    recovery_s: float


class Site:
    """The site under gunicorn."""

    def __init__(self, folder: Path, engine: str, url: str) -> None:
        self.address = ("127.0.0.1", server_process.free_port())
        variables = {**os.environ, "FAULT_CACHE": json.dumps(cache_settings(engine, url))}
        self._launcher = Launcher(folder, variables, StopRequest())

    def start(self) -> None:
        """Start, and return when all workers have booted."""
        bind = f"{self.address[0]}:{self.address[1]}"
        command = [sys.executable, "-m", "gunicorn", "-c", CONFIGURATION, "--bind", bind, "--workers", str(WORKERS)]
        command += ["--threads", str(THREADS), "--graceful-timeout", "5", "tests.cache.faults:application"]
        self._child = self._launcher.start("gunicorn", command)
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

    def stop(self) -> None:
        """Send TERM and wait."""
        with suppress(DemoError):
            self._child.end()


def cache_settings(engine: str, url: str) -> dict[str, object]:
    """Return a site's CACHES["default"]."""
    if engine == OURS:
        return {"BACKEND": "django_perf.cache.MultiLevelCache", "LOCATION": url, "KEY_PREFIX": "faults"}
    options = {"IGNORE_EXCEPTIONS": True} if engine == IGNORING else {}
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "KEY_PREFIX": "faults", "OPTIONS": options}


@contextmanager
def serving(server: RedisServer, folder: Path, engine: str) -> Iterator[tuple[Proxy, Site]]:
    """Serve a site, warmed up, behind a proxy."""
    with Proxy(server.address) as proxy:
        site = Site(folder, engine, server.url(proxy.address))
        site.start()
        try:
            warm_up = Load(site.address, WARM_UP_RPS, WARM_UP_S)
            warm_up.start()
            warm_up.join()
            yield proxy, site
        finally:
            site.stop()


def run_scenario(server: RedisServer, proxy: Proxy, site: Site, name: str, timing: Timing, rate: float) -> Result:
    """Send the load, let the fault happen, and return what came of it."""
    run = Run(server, proxy, Load(site.address, rate, timing.load_s), timing)
    run.load.start()
    try:
        run.load.sleep_until(timing.fault_at_s)
        began = time.monotonic()
        SCENARIOS[name](run)
        fault = Fault(began, began, time.monotonic())
    finally:
        run.load.join()
    requests = run.load.requests
    figures = Figures(requests, fault, frozenset(one.token for one in requests))
    ill = [one.due for one in requests if one.page == "read" and one.due > fault.healed and "True" not in one.body]
    return Result(figures, max(ill, default=fault.healed) - fault.healed)


run_short = partial(run_scenario, timing=_SHORT, rate=50.0)

COLUMNS = "| {:9} | {:12} | {:>12} | {:26} | {:>10} | {:>10} | {:>9} | {:>8} |"
TITLES = ("scenario", "", "failed/sent", "kinds", "plain p50", "cache p50", "healthy", "worst")


def _line(name: str, engine: str, result: Result) -> str:
    figures = result.figures
    kinds = " ".join(f"{kind}:{count}" for kind, count in figures.kinds.most_common())
    return COLUMNS.format(
        name,
        engine,
        f"{len(figures.failed)}/{len(figures.requests)}",
        kinds,
        _ms(figures.median_ms(["plain"])),
        _ms(figures.median_ms(["read", "write"])),
        f"{result.recovery_s:.2f} s",
        f"{figures.worst_s:.2f} s",
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def main() -> None:
    """Run the scenarios of the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], metavar="scenario")
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second")
    parser.add_argument("--ours", action="store_true", help="only this cache")
    parser.add_argument("--short", action="store_true", help="as short as in the tests")
    options = parser.parse_args()
    print(COLUMNS.format(*TITLES), flush=True)
    for name in options.scenarios or SCENARIOS:
        for engine in [OURS] if options.ours else [OURS, STOCK, IGNORING]:
            _print_run(name, engine, _SHORT if options.short else _FULL, options.rate)


def _print_run(name: str, engine: str, timing: Timing, rate: float) -> None:
    server = RedisServer()
    with (
        tempfile.TemporaryDirectory(prefix="django-perf-faults-") as folder,
        serving(server, Path(folder), engine) as (proxy, site),
    ):
        print(_line(name, engine, run_scenario(server, proxy, site, name, timing, rate)), flush=True)
    server.stop()


if __name__ == "__main__":
    main()
