"""A site whose answers are compared: those of the intact one with those under each fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.db import connection, connections
from django.test import AsyncClient, Client, override_settings

from django_perf.compression import codecs, negotiation, padding, rules, tally, variants
from django_perf.db import instrument, shapes
from django_perf.metrics import callsite
from django_perf.metrics.flusher import Flusher
from django_perf.metrics.recorder import recorder
from django_perf.store.writer import write
from tests.compression.coding import CODINGS, PAGE, Reader
from tests.end_to_end.faults import BREAKS_OFF, Fault, Target, hanging, raising

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
# Asked for only where a function may have to do with it: it takes longer than all others together.
LOOPS, LOOPED = "/loops", ("db.", "requests.", "metrics.")
ASYNC_PATHS = ("/async", "/stream-async")
# Asked for with each coding, for the functions of compression.
CODED_PATHS = ("/", "/page", "/kept", "/pieces", "/broken-pieces")
CODED_ASYNC_PATHS = ("/page-async", "/pieces-async")
OURS = {"X-Response-Time", "Server-Timing"}
# A response that is not compressed is right as well, so what a coding changes is compared as far as it must be true.
CODED = {"Content-Encoding", "Content-Length", "Vary", "ETag"}
SETTINGS = {
    "SLOW_REQUEST_SECONDS": 1e-9,
    "SLOW_QUERY_SECONDS": 0.005,
    "IGNORE_ROUTES": ["ignored"],
    "FLUSH_INTERVAL": 0.05,
    "COMPRESSION": {"VARIANT_CACHE": "default"},
}
LAST_FLUSH_S = 5.0

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Result:
    """Count what a run did; `changed` names faults that changed a response, `killed` those that ended a thread."""

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

    def answers(self, fault: str = "") -> Iterator[tuple[str, Answer]]:
        """Request what a fault may change, each path once; all without one."""
        if not fault.startswith("compression."):
            yield from self._plain_answers((*PATHS, LOOPS) if not fault or fault.startswith(LOOPED) else PATHS)
        if not fault or fault.startswith("compression."):
            yield from self._coded_answers()

    def _plain_answers(self, paths: Sequence[str]) -> Iterator[tuple[str, Answer]]:
        """Request each path, each time from a recorder that must fold and wake its flusher."""
        forget_connection()
        for path in paths:
            recorder.is_asleep = True
            with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=path == PROPAGATED):
                yield path, answer_of(partial(self._client.get, path))
        for path in ASYNC_PATHS:
            recorder.is_asleep = True
            yield path, async_to_sync(self._async_answer)(path)

    def _coded_answers(self) -> Iterator[tuple[str, Answer]]:
        """Request each path in each coding, from a process that has compressed nothing yet."""
        forget_codecs()
        for coding in CODINGS:
            recorder.is_asleep = True
            headers = {"accept-encoding": coding}
            for path in CODED_PATHS:
                yield f"{path} {coding}", coded_answer_of(partial(self._client.get, path, headers=headers))
            for path in CODED_ASYNC_PATHS:
                yield f"{path} {coding}", async_to_sync(self._coded_async_answer)(path, headers)

    def intact_answers(self) -> dict[str, Answer]:
        """Return the answers without any fault, which have to be the same each time."""
        result = Result()
        with self.measuring("nothing", result):
            expected = dict(self.answers())
            for name in ("requests", "compression."):
                compare(self, expected, name, result)
        assert not result.changed, result.changed
        return expected

    @contextmanager
    def measuring(self, name: str, result: Result) -> Iterator[None]:
        """Record as a server does, with a flusher's thread that writes to the store; note faults that end a thread."""
        hook = threading.excepthook
        threading.excepthook = lambda details: result.killed.add(name)
        self._flusher._reset()
        recorder.source(tally.read)
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
            if thread.name in {"django_perf flusher", "django_perf variants"}:
                thread.join(LAST_FLUSH_S)

    async def _async_answer(self, path: str) -> Answer:
        try:
            response = await self._async_client.get(path)
            body = b"".join([chunk async for chunk in response]) if response.streaming else response.content
        except Exception as error:
            return 0, {}, repr(error).encode()
        return response.status_code, headers_of(response), body

    async def _coded_async_answer(self, path: str, headers: dict[str, str]) -> Answer:
        try:
            response = await self._async_client.get(path, headers=headers)
        except Exception as error:
            return 0, {}, repr(error).encode()
        sent, error = b"", None
        try:
            async for piece in as_pieces(response):
                sent += piece
        except Exception as caught:
            error = caught
        return decoded(response, sent, error)


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


def coded_answer_of(get) -> Answer:
    """Return the same with the body as the client reads it."""
    try:
        response = get()
    except Exception as error:
        return 0, {}, repr(error).encode()
    sent, error = b"", None
    try:
        for piece in response:
            sent += piece
    except Exception as caught:
        error = caught
    return decoded(response, sent, error)


async def as_pieces(response):
    if not response.streaming:
        yield response.content
        return
    async for piece in response:
        yield piece


def decoded(response, sent: bytes, error: Exception | None) -> Answer:
    """Return an answer as its client understands it; one that is labelled wrongly is a different one."""
    headers = {name: value for name, value in headers_of(response).items() if name not in CODED}
    headers["ETag"] = response.get("ETag", "").removeprefix("W/")
    headers["Content-Length"] = "right" if response.get("Content-Length", str(len(sent))) == str(len(sent)) else "wrong"
    body, ending = sent, "whole" if error is None else repr(error)
    if coding := response.get("Content-Encoding"):
        is_told = "accept-encoding" in response.get("Vary", "").lower() and response.get("ETag", "W/").startswith("W/")
        headers["Content-Length"] += "" if is_told else ", label wrong"
        reader = Reader(coding)
        try:
            body = reader.read(sent)
        except Exception as fault:
            ending = f"garbage: {fault!r}"
        else:
            if reader.has_all != (error is None):
                ending += ", seen as cut" if error is None else ", not seen as cut"
    if error is not None and PAGE.startswith(body[: len(PAGE)]):
        body = b""  # how much of it a coding held back is not of interest
    return response.status_code, headers | {"ending": ending}, body


def forget_codecs() -> None:
    """Let the next response choose, make its codec, and find nothing kept."""
    cache.clear()
    for known in (codecs.codec_of, codecs.background_codec, negotiation._chosen, rules._is_text, padding._key):
        known.cache_clear()
    # Not by its own method, which may be the one that fails; and each body counts as asked for once already.
    kept = variants.variants_in("default")
    kept._is_running = False
    kept._waiting.clear()


def headers_of(response) -> dict[str, str]:
    return {name: value for name, value in response.items() if name not in OURS}


def forget_connection() -> None:
    """Let the next query make a connection, have it instrumented, and learn shapes and places."""
    connection.close()
    raw = connections["default"]
    for name in vars(raw).pop(instrument.MARK, ()):
        vars(raw).pop(name, None)
    # Not by their own methods, which may be what fails.
    for known in shapes._by_alias.values():
        known.known.clear()
        known._named.clear()
    callsite._known.clear()
    callsite._places.clear()
    recorder.samples._won.clear()


def compare(site: Site, expected: dict[str, Answer], name: str, result: Result) -> None:
    for path, answer in site.answers(name):
        result.responses += 1
        if answer != expected[path] and not has_broken_off(answer, name):
            result.changed.append(f"{name}: {path} gave {answer!r:.200}")


def has_broken_off(answer: Answer, name: str) -> bool:
    """Tell whether the client got the beginning of the right body and sees that it is cut, where that is allowed."""
    target = name.removesuffix(" raises")
    return target in BREAKS_OFF and answer[1].get("ending") == repr(Fault(target)) and answer[2] == b""


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
