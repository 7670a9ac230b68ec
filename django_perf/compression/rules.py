"""Say which responses may be compressed at all, whatever the client accepts; the reasons are counted and shown."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Set on a response by no_compress().
OPT_OUT = "_django_perf_no_compression"
# This client alone gets it uncompressed, which caches have to know.
ASKED_NOT_TO = "asked_not_to"
_NOT_MODIFIED = 304
# They have no body, or a part of one (RFC 9110, sections 15.3.5 to 15.3.7 and 15.4.5).
_WITHOUT_BODY = frozenset({*range(100, 200), 204, 205, 206, _NOT_MODIFIED})
_LONGEST_TYPE = 200


def refusal(request: HttpRequest, response: HttpResponseBase, min_size: int, types: tuple[str, ...]) -> str:
    """Return why a response is left alone, "" when nothing speaks against compressing it."""
    headers = response.headers
    if response.status_code in _WITHOUT_BODY:
        return "not_modified" if response.status_code == _NOT_MODIFIED else "status"
    if "Content-Encoding" in headers or "Content-Range" in headers:
        return "encoded"
    if OPT_OUT in response.__dict__:
        return "opted_out"
    size = _size(request, response)
    if size is not None and (not size or size < min_size):
        return "small"
    if not is_text(headers.get("Content-Type", ""), types):
        return "type"
    if _forbids(headers.get("Cache-Control", "")):
        return "no_transform"
    return ASKED_NOT_TO if _forbids(request.META.get("HTTP_CACHE_CONTROL", "")) else ""


def _size(request: HttpRequest, response: HttpResponseBase) -> int | None:
    """Return the length of the body, None where nobody knows it before its end.

    That of a HEAD without a body is what it declares.
    """
    size = None if response.streaming else len(response.content)  # type: ignore[attr-defined]
    if size or (size is not None and request.method != "HEAD"):
        return size
    declared = response.headers.get("Content-Length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() and len(declared) < 18 else size


def _forbids(cache_control: str) -> bool:
    """Tell whether a Cache-Control has the directive no-transform (RFC 9111, sections 5.2.1.6 and 5.2.2.6)."""
    return "no-transform" in cache_control.lower() if cache_control else False


def is_text(content_type: str, types: tuple[str, ...]) -> bool:
    """Tell whether a Content-Type is in an allow list."""
    return len(content_type) <= _LONGEST_TYPE and _is_text(content_type, types)


@lru_cache(maxsize=256)
def _is_text(content_type: str, types: tuple[str, ...]) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return any(re.fullmatch(translate(pattern.lower()), media_type) for pattern in types)


def is_probe(request: HttpRequest) -> bool:
    """Tell whether another site's page asks in the name of the visitor, not by a link or a form that he sees.

    Its author may choose what is asked, and measure how long the answer is: that is how BREACH reads a secret.
    """
    meta = request.META
    if meta.get("HTTP_SEC_FETCH_SITE") != "cross-site" or not meta.get("HTTP_COOKIE"):
        return False
    return not (meta.get("HTTP_SEC_FETCH_MODE") == "navigate" and meta.get("HTTP_SEC_FETCH_DEST") == "document")
