"""Make text from outside safe to store, to print and to show, and find the name that a wrong one was meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Control characters (C0, C1), line and paragraph separators, bidi controls, soft hyphens, zero-width marks, annotations
# and tags, lone surrogates, BOM.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_ELLIPSIS = "…"


def clean(text: str, limit: int = 200) -> str:
    r"""Escape what could forge a line, hide or break an encoder (as \x1b, \u202e) and cut to `limit` characters."""
    # Cut first: a 10 MB text must not be searched, and escaping makes it longer at most sixfold.
    text = text[: limit + 1]
    if _UNSAFE.search(text):
        text = _UNSAFE.sub(_escape, text)
    return text if len(text) <= limit else text[: limit - 1] + _ELLIPSIS


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("ascii", "backslashreplace").decode() if match[0] > "\x9f" else f"\\x{ord(match[0]):02x}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `name` was most likely meant to be, None when none is near."""
    near = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.5)
    return near[0] if near else None
