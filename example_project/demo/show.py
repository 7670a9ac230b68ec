"""Put the demo on: prepare the database, serve the shop, send traffic, show the figures, strike the set."""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from example_project.demo import servers
from example_project.demo.errors import DemoStopped
from example_project.demo.processes import ROOT, Child, Launcher, StopRequest
from example_project.demo.screen import Screen

PROJECT = ROOT / "example_project"
MANAGE = (sys.executable, str(PROJECT / "manage.py"))
LOGIN = "demo / demo"
START_TIMEOUT_S = 30
REFRESH_S = 3
RATE = 60
# Rows per report in the live view: all four reports have to fit a screen.
LIVE_ROWS = "8"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for; without `seconds` the demo runs until Ctrl-C."""

    seconds: float | None
    port: int
    products: int
    json_file: Path | None


def perform(plan: Plan, screen: Screen) -> None:
    """Run the demo from beginning to end; what it made is gone afterwards, however it ended."""
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="django-perf-demo-")))
        launcher = Launcher(folder, prepare_environment(folder, screen), stop)
        try:
            prepare_shop(launcher, plan.products, screen)
            present(launcher, plan, screen)
        except DemoStopped:
            screen.say("Stopped.")


def prepare_environment(folder: Path, screen: Screen) -> dict[str, str]:
    """Find the servers, say which, and return the environment that names them."""
    database = servers.database(os.environ, folder)
    screen.say(database.note)
    redis = servers.redis(os.environ)
    screen.say(redis.note)
    return servers.child_environment(os.environ, database.url, redis.url)


def prepare_shop(launcher: Launcher, products: int, screen: Screen) -> None:
    """Make the tables and fill them, unless someone did before."""
    screen.say("Preparing the database ...")
    launcher.run("migrate", [*MANAGE, "migrate", "--no-color"])
    launcher.run("perfcache", [*MANAGE, "perfcache", "createtable"])
    seeded = launcher.run("shop_seed", [*MANAGE, "shop_seed", f"--products={products}", "--if-empty", "--user"])
    screen.say(seeded.strip())
    screen.say(launcher.run("perfcache", [*MANAGE, "perfcache", "warm", "--top=100"]).strip())
    pages = [f"/catalogue?page={number}" for number in range(1, 7)]
    launcher.run("perfdict", [*MANAGE, "perfdict", "build", "/catalogue*", *pages, "--host=localhost", "--approve"])


def present(launcher: Launcher, plan: Plan, screen: Screen) -> None:
    """Serve, send traffic and watch; then stop both in that order, so that no request meets a closed door."""
    url = choose_address(plan.port, screen)
    with ExitStack() as stack:
        gunicorn = launcher.start("gunicorn", gunicorn_command(urlsplit(url).netloc))
        stack.callback(gunicorn.stop)
        wait_until_answering(gunicorn, url, launcher.stop)
        traffic = launcher.start("traffic", traffic_command(url))
        stack.callback(traffic.stop)
        screen.announce(url, LOGIN)
        with suppress(DemoStopped), screen:
            watch(launcher, [gunicorn, traffic], plan.seconds, screen)
        screen.say("Stopping ...")
    # The workers write their last figures when they end, so the final ones are read only now.
    report(Launcher(launcher.folder, launcher.environment, StopRequest()), traffic, plan.json_file, screen)


def choose_address(wanted: int, screen: Screen) -> str:
    """Return the shop's address; on another port, and saying so, when the wanted one is taken."""
    port = servers.free_port(wanted)
    if wanted not in (0, port):
        screen.say(f"Port {wanted} is in use; taking {port}.")
    return f"http://{servers.HOST}:{port}"


def gunicorn_command(address: str) -> list[str]:
    """Return the command of the server; all but the address is in its configuration file."""
    return [sys.executable, "-m", "gunicorn", "-c", str(PROJECT / "gunicorn.conf.py"), "--bind", address]


def traffic_command(url: str) -> list[str]:
    """Return the command of the traffic."""
    return [sys.executable, "-m", "example_project.traffic", "--url", url, "--rate", str(RATE)]


def wait_until_answering(gunicorn: Child, url: str, stop: StopRequest) -> None:
    """Return when the shop answers; DemoError when it dies first or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_answering(url):
        gunicorn.check()
        if stop.wait(0.1):
            raise DemoStopped
        if time.monotonic() > deadline:
            raise gunicorn.complaint(f"runs, but {url} did not answer within {START_TIMEOUT_S} s")


def is_answering(url: str) -> bool:
    """Return whether the shop lists its categories."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/categories")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def watch(launcher: Launcher, children: list[Child], seconds: float | None, screen: Screen) -> None:
    """Show the figures every few seconds until the time is up or the user has seen enough."""
    deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
    while not launcher.stop.wait(min(REFRESH_S, deadline - time.monotonic())) and time.monotonic() < deadline:
        for child in children:
            child.check()
        if screen.is_live:
            screen.show(perfstats(launcher, "--since", "5m", "--limit", LIVE_ROWS))


def report(launcher: Launcher, traffic: Child, json_file: Path | None, screen: Screen) -> None:
    """Print what was sent and what was measured; write the figures to a file when asked."""
    screen.conclude(perfstats(launcher, "--since", "1h").rstrip())
    # Nothing when the end came before the traffic had begun.
    for line in traffic.output.read_text().splitlines():
        sent = json.loads(line)
        screen.say(f"Sent {sent['sent']} requests in {sent['seconds']} s: {json.dumps(sent['status'])}.")
    if json_file is not None:
        json_file.write_text(perfstats(launcher, "--since", "1h", "--format", "json"))
        screen.say(f"Wrote {json_file}.")


def perfstats(launcher: Launcher, *options: str) -> str:
    """Return the output of `manage.py perfstats`."""
    return launcher.run("perfstats", [*MANAGE, "perfstats", *options])
