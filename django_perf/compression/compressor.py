"""Compress one response for one request: decide, encode, and put the headers right."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from time import thread_time_ns
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.cache import patch_vary_headers

from ..conf import Compression
from ..metrics.guard import count_fault
from .codecs import Codec, codec_of, is_installed
from .dictionary import Dictionaries, Known
from .negotiation import IDENTITY, choose
from .padding import keyed_length, random_length
from .profiles import PROFILES
from .rules import ASKED_NOT_TO, is_probe, is_text, refusal
from .streaming import Pump, acompressed, compressed
from .tally import note
from .variants import is_shared, variants_in

# Everything is flushed: each piece is a message that somebody waits for.
_LIVE = ("text/event-stream", "application/x-ndjson", "application/json-seq", "multipart/x-mixed-replace")
DCZ = "dcz"
# Where a request keeps the response that has been decided about; the response itself may be pickled by a cache.
_DECIDED = "_django_perf_compressed"
_WANTED = "HTTP_ACCEPT_ENCODING"
# They describe the bytes that are sent, or parts of them (RFC 9110, section 14.3; RFC 9530).
_OUTDATED = ("accept-ranges", "content-digest", "repr-digest", "digest", "content-md5")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one response: the coding, what became of it where there is none, and a dictionary."""

    coding: str
    outcome: str
    dictionary: Known | None = None


class Compressor:
    """Compress responses as one set of options says. Thread-safe."""

    def __init__(self, options: Compression) -> None:
        self._options = options
        self._offered = tuple(coding for coding in options.encodings if is_installed(coding))
        self._variants = variants_in(options.variant_cache) if options.variant_cache else None
        self._dictionaries = (
            _dictionaries(options.profile) if options.dictionaries and "zstd" in self._offered else None
        )

    def process(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Compress a response in place, if it may be and becomes smaller; nothing is changed when this raises.

        Only once: what a decorator of the view has decided, the middleware leaves so.
        """
        decided = request.__dict__.get(_DECIDED)
        if decided is not None and decided() is response:
            return
        plan = self.plan(request, response)
        # Not the response itself: a stream holds its request.
        request.__dict__[_DECIDED] = weakref.ref(response)
        if plan.coding == IDENTITY:
            self._note(request, plan.outcome, response)
        elif response.streaming:
            self._stream(request, cast(StreamingHttpResponse, response), plan.coding)
        else:
            self._encode(request, cast(HttpResponse, response), plan)

    def plan(self, request: HttpRequest, response: HttpResponseBase) -> Plan:
        """Decide, and say in Vary what the decision goes by."""
        options = self._options
        reason = refusal(request, response, options.min_size, options.content_types)
        if reason and reason not in ("not_modified", ASKED_NOT_TO):
            return Plan(IDENTITY, reason)
        header = request.META.get(_WANTED, "")
        dictionary = self._dictionary(request, response) if self._dictionaries is not None else None
        coding = choose(header, self._offered if dictionary is None else (DCZ, *self._offered))
        _vary(response)
        if reason:
            # The validator of what would have been sent.
            if reason == "not_modified" and coding != IDENTITY:
                _weaken(response)
            return Plan(IDENTITY, reason)
        if coding == IDENTITY:
            return Plan(IDENTITY, "not_accepted")
        return Plan(IDENTITY, "cross_site") if is_probe(request) else Plan(coding, coding, dictionary)

    def _dictionary(self, request: HttpRequest, response: HttpResponseBase) -> Known | None:
        """Return the dictionary to compress with, and tell a client without one where it is."""
        assert self._dictionaries is not None
        self._dictionaries.refresh()
        newest = self._dictionaries.for_path(request.path)
        if newest is None:
            return None
        patch_vary_headers(response, ("Accept-Encoding", "Available-Dictionary"))
        mine = self._dictionaries.of_client(request.META)
        # A browser offers dcz only with a dictionary at hand, and looks for links to one only in documents.
        if mine is not newest and request.META.get("HTTP_SEC_FETCH_DEST") == "document":
            _announce(response, newest)
        return None if response.streaming else mine

    def _encode(self, request: HttpRequest, response: HttpResponse, plan: Plan) -> None:
        body, coding = response.content, plan.coding
        if not body:  # a HEAD that says how long the body would be
            with _all_or_nothing(response):
                _relabel(response, coding, None)
            return
        began = thread_time_ns()
        data = self._kept(request, response, coding, body) or self._encoded(plan, body)
        cpu_ns = thread_time_ns() - began
        is_smaller = len(data) < len(body)
        if is_smaller:
            with _all_or_nothing(response):
                response.content = data
                _relabel(response, coding, len(data))
        note(
            request.resolver_match,
            request.method,
            coding if is_smaller else "not_smaller",
            len(body),
            len(data) if is_smaller else len(body),
            cpu_ns,
        )

    def _encoded(self, plan: Plan, body: bytes) -> bytes:
        codec = plan.dictionary.codec if plan.dictionary and plan.coding == DCZ else self._codec(plan.coding)
        return codec.encode(body, self._pad)

    def _kept(self, request: HttpRequest, response: HttpResponse, coding: str, body: bytes) -> bytes | None:
        """Return what is kept of a body, None where there is nothing, or nothing is to be kept."""
        if self._variants is None or coding == DCZ or not is_shared(request, response):
            return None
        return self._variants.get(coding, body, self._pad)

    def _codec(self, coding: str) -> Codec:
        return codec_of(coding, self._options.profile)

    def _pad(self, data: bytes) -> int:
        return keyed_length(data, self._options.max_padding)

    def _stream(self, request: HttpRequest, response: StreamingHttpResponse, coding: str) -> None:
        if request.method == "HEAD":  # nobody reads it
            with _all_or_nothing(response):
                _relabel(response, coding, None)
            self._note(request, coding, response)
            return
        padding = random_length(self._options.max_padding)
        pump = Pump(self._codec(coding).stream(padding), _is_live(response))
        done = partial(_note_stream, request, coding)
        with _all_or_nothing(response):
            if response.is_async:
                pieces = _pieces(response._iterator, response.charset)  # type: ignore[attr-defined]
                response.streaming_content = acompressed(pieces, pump, done)
            else:
                response.streaming_content = compressed(cast(Iterator[bytes], response.streaming_content), pump, done)
            _relabel(response, coding, None)

    @staticmethod
    def _note(request: HttpRequest, outcome: str, response: HttpResponseBase) -> None:
        size = 0 if response.streaming else len(response.content)  # type: ignore[attr-defined]
        note(request.resolver_match, request.method, outcome, size, size, 0)


@cache
def _dictionaries(profile: str) -> Dictionaries:
    """Return what this process knows of dictionaries; views and middleware share it."""
    # Here, because a model can be imported only when all apps are.
    from .loading import active_in_thread

    return Dictionaries(partial(active_in_thread, PROFILES[profile]))


def _announce(response: HttpResponseBase, dictionary: Known) -> None:
    """Tell the client where the dictionary is, where the site has routed it."""
    try:
        url = reverse("django_perf:dictionary", args=[dictionary.sha256.hex()])
    except NoReverseMatch:
        return
    link = f'<{url}>; rel="compression-dictionary"'
    before = response.headers.get("Link")
    response.headers["Link"] = f"{before}, {link}" if before else link


@contextmanager
def _all_or_nothing(response: HttpResponseBase) -> Iterator[None]:
    """Leave a response as it was when something fails: compressed bytes without their label would be garbage."""
    state, headers = dict(response.__dict__), dict(response.headers._store)
    try:
        yield
    except BaseException:
        response.__dict__.update(state)
        response.headers._store = headers
        raise


async def _pieces(body: AsyncIterator[Any], charset: str) -> AsyncIterator[bytes]:
    """Yield the pieces of an asynchronous body as bytes, as Django makes them.

    Not by response.streaming_content, which holds the response: the two would hold each other, and a client that leaves
    would not end the view's generator before the garbage collector comes.
    """
    async for piece in body:
        yield bytes(piece) if isinstance(piece, (bytes, memoryview)) else str(piece).encode(charset)


def _note_stream(request: HttpRequest, coding: str, pump: Pump) -> None:
    """Note a stream at its end; what fails here must not break it."""
    try:
        note(request.resolver_match, request.method, coding, pump.bytes_in, pump.bytes_out, pump.cpu_ns)
    except Exception as fault:
        count_fault("compression", fault)


def _is_live(response: HttpResponseBase) -> bool:
    return is_text(response.headers.get("Content-Type", ""), _LIVE)


def _vary(response: HttpResponseBase) -> None:
    """Tell caches that another client may get other bytes; past Django's function where there is nothing to merge."""
    store = response.headers._store
    if "vary" in store:
        patch_vary_headers(response, ("Accept-Encoding",))
    else:
        store["vary"] = ("Vary", "Accept-Encoding")


def _weaken(response: HttpResponseBase) -> None:
    """Make a strong ETag weak: it names the same thing, not the same bytes (RFC 9110, section 8.8.3)."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        response.headers["ETag"] = f"W/{etag}"


def _relabel(response: HttpResponseBase, coding: str, length: int | None) -> None:
    """Put right what the headers say of the body."""
    store = response.headers._store
    for name in _OUTDATED:
        store.pop(name, None)
    store["content-encoding"] = ("Content-Encoding", coding)
    if length is None:
        store.pop("content-length", None)
    else:
        store["content-length"] = ("Content-Length", str(length))
    _weaken(response)
