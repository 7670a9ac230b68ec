"""Drive Debian's Chromium with playwright, from a thread of its own.

playwright's synchronous API leaves an event loop running in the thread that started it. In pytest's main thread that
loop would make Django refuse the ORM and `asyncio.run` fail, in every later test. So one thread owns the browser, and
`Remote` carries each call to it: `page.goto(url)`, `page.locator("h1").inner_text()` read as always.
`page.run(function)` calls a function with the real page in that thread: for `expect`, `with` blocks and callbacks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


class BrowserNotFound(Exception):
    """No Chromium on this machine; the message names the remedy."""


def find_chromium() -> str | None:
    """Return the path of the system's Chromium or Chrome, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Remote:
    """A playwright object whose attributes and methods are used in the browser's thread."""

    def __init__(self, target: Any, thread: ThreadPoolExecutor) -> None:
        self._target = target
        self._thread = thread

    def __getattr__(self, name: str) -> Any:
        return self._wrap(self._thread.submit(getattr, self._target, name).result())

    def __repr__(self) -> str:
        return f"<Remote {self._target!r}>"

    def run(self, function: Callable[[Any], Any]) -> Any:
        """Return what `function` makes of the real object, in the browser's thread."""
        return self._wrap(self._thread.submit(function, self._target).result())

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._wrap(item) for item in value]
        if type(value).__module__.startswith("playwright."):
            return Remote(value, self._thread)
        return self._method(value) if callable(value) else value

    def _method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            real = [_unwrap(argument) for argument in arguments]
            named = {name: _unwrap(argument) for name, argument in named.items()}
            return self._wrap(self._thread.submit(method, *real, **named).result())

        return call


def _unwrap(value: Any) -> Any:
    return value._target if isinstance(value, Remote) else value


@contextmanager
def launch() -> Iterator[Remote]:
    """Run Chromium for as long as the block lasts. Raises BrowserNotFound."""
    path = find_chromium()
    if path is None:
        raise BrowserNotFound(f"none of {', '.join(NAMES)} is in PATH; apt-get install chromium, or run ./dev tests")
    with ThreadPoolExecutor(1, thread_name_prefix="browser") as thread:
        driver, browser = thread.submit(_start, path).result()
        try:
            yield Remote(browser, thread)
        finally:
            thread.submit(_end, driver, browser).result()


def _start(path: str) -> tuple[Any, Any]:
    from playwright.sync_api import sync_playwright  # half a second that only browser tests pay

    driver = sync_playwright().start()
    # Chromium's sandbox refuses to run as root, which is what CI is.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return driver, driver.chromium.launch(executable_path=path, headless=True, args=[*FLAGS, *sandbox])


def _end(driver: Any, browser: Any) -> None:
    browser.close()
    driver.stop()


@contextmanager
def open_page(browser: Remote, **options: Any) -> Iterator[tuple[Remote, list[str]]]:
    """Open a page in a fresh context; the list fills with console errors, uncaught exceptions and CSP violations."""
    context = browser.new_context(**options)
    errors: list[str] = []
    page = context.new_page()
    page.run(lambda real: _collect(real, errors))
    try:
        yield page, errors
    finally:
        context.close()


def _collect(page: Any, errors: list[str]) -> None:
    """Chromium reports a violation of the Content-Security-Policy as an error of the console, so these two are all."""
    page.on("console", lambda message: errors.append(message.text) if _is_error(message) else None)
    page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))


def _is_error(message: Any) -> bool:
    # The browser asks for an icon on its own; that a site has none is no fault of a page.
    return message.type == "error" and not message.location["url"].endswith("/favicon.ico")


def find_accessibility_faults(page: Remote, within: str = "html") -> list[str]:
    """Run axe-core in the page and return one line per fault, such as `label: Form elements must have labels (#q)`."""
    page.evaluate(AXE.read_text())  # evaluate, not a script tag: the page's own CSP need not allow it
    faults = page.evaluate("async (within) => (await axe.run(within)).violations", within)
    return [f"{fault['id']}: {fault['help']} ({_targets(fault)})" for fault in faults]


def _targets(fault: dict[str, Any]) -> str:
    return ", ".join(str(target) for node in fault["nodes"] for target in node["target"])
