"""A site whose answers are compared: those of the intact one with those under each fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient, Client, override_settings

from django_perf.db import instrument
from django_perf.metrics.flusher import Flusher
from django_perf.metrics.recorder import recorder
from django_perf.store.writer import write
from tests.end_to_end.faults import Target, hanging, raising

# The error of this one leaves the middleware chain, as under a server that wants to see it.
PROPAGATED = "/raises?propagated"
PATHS = (
    "/",
    "/nothing",
    "/raises",
    "/status/503",
    "/queries/2",
    "/failing-query",
    "/user",
    "/blocks",
    "/stream",
    "/broken-stream",
    "/file",
    PROPAGATED,
)
ASYNC_PATHS = ("/async", "/stream-async")
OURS = {"X-Response-Time", "Server-Timing"}
SETTINGS = {"SLOW_REQUEST_SECONDS": 1e-9, "IGNORE_ROUTES": ["ignored"], "FLUSH_INTERVAL": 0.05}
LAST_FLUSH_S = 5.0

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Result:
    """Count what a run did; `changed` names faults that changed a response, `killed` those that ended the flusher."""

    responses: int = 0
    reached: set[str] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)


class Site:
    """The app under test: handlers built before any fault, as in a process that has been serving for a while."""

    def __init__(self) -> None:
        self._client = Client(raise_request_exception=False)
        self._async_client = AsyncClient(raise_request_exception=False)
        self._flusher = Flusher(recorder, write, interval=0.05, deadline=0.5)

    def answers(self) -> Iterator[tuple[str, Answer]]:
        """Request each path once, each time from a recorder that must fold and wake its flusher."""
        forget_connection()
        for path in PATHS:
            recorder.is_asleep = True
            with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=path == PROPAGATED):
                yield path, answer_of(partial(self._client.get, path))
        for path in ASYNC_PATHS:
            recorder.is_asleep = True
            yield path, async_to_sync(self._async_answer)(path)

    def intact_answers(self) -> dict[str, Answer]:
        """Return the answers without any fault, which have to be the same each time."""
        result = Result()
        with self.measuring("nothing", result):
            expected = dict(self.answers())
            compare(self, expected, "nothing", result)
        assert not result.changed, result.changed
        return expected

    @contextmanager
    def measuring(self, name: str, result: Result) -> Iterator[None]:
        """Record as a server does, with a flusher's thread that writes to the store; note faults that end that."""
        hook = threading.excepthook
        threading.excepthook = lambda details: result.killed.add(name)
        self._flusher._reset()
        recorder.enabled, recorder.wake = True, self._flusher.start
        try:
            yield
        finally:
            self.stop_flusher()
            threading.excepthook, recorder.enabled, recorder.wake = hook, False, None

    def stop_flusher(self) -> None:
        """Let the thread make its last flush, and wait for its end; a second call does nothing."""
        with suppress(Exception):  # the fault itself, where it sits in stop()
            self._flusher.stop()
        self._flusher._stop.set()
        for thread in threading.enumerate():
            if thread.name == "django_perf flusher":
                thread.join(LAST_FLUSH_S)

    async def _async_answer(self, path: str) -> Answer:
        try:
            response = await self._async_client.get(path)
            body = b"".join([chunk async for chunk in response]) if response.streaming else response.content
        except Exception as error:
            return 0, {}, repr(error).encode()
        return response.status_code, headers_of(response), body


def answer_of(get) -> Answer:
    """Return status, headers without ours, and body; an exception that reaches the server is an answer too."""
    try:
        response = get()
    except Exception as error:
        return 0, {}, repr(error).encode()
    try:
        body = response.getvalue()
    except Exception as error:  # the view's own, in the middle of its stream
        body = repr(error).encode()
    return response.status_code, headers_of(response), body


def headers_of(response) -> dict[str, str]:
    return {name: value for name, value in response.items() if name not in OURS}


def forget_connection() -> None:
    """Let the next query make a connection, put its timer on, and learn its shape."""
    connection.close()
    connection.execute_wrappers.clear()
    instrument._remembered.clear()


def compare(site: Site, expected: dict[str, Answer], name: str, result: Result) -> None:
    for path, answer in site.answers():
        result.responses += 1
        if answer != expected[path]:
            result.changed.append(f"{name}: {path} gave {answer!r:.200}")


def try_target(site: Site, expected: dict[str, Answer], target: Target, hang_s: float, result: Result) -> None:
    """Let one function raise; then, where it is called at all, hang."""
    calls = try_fault(site, expected, f"{target.name} raises", raising(target), result)
    if calls:
        result.reached.add(target.name)
        if not target.path:
            try_fault(site, expected, f"{target.name} hangs", hanging(target, hang_s), result)


def try_fault(
    site: Site, expected: dict[str, Answer], name: str, fault: AbstractContextManager[list[None]], result: Result
) -> int:
    with site.measuring(name, result), fault as calls:
        compare(site, expected, name, result)
        site.stop_flusher()
    return len(calls)


def run(targets: list[Target], hang_s: float, responses: int = 0) -> Result:
    """Try all targets, again and again until there are so many responses."""
    site, result = Site(), Result()
    expected = site.intact_answers()
    while not result.reached or result.responses < responses:
        for target in targets:
            try_target(site, expected, target, hang_s, result)
    return result
