"""Make text from outside safe to store, to print and to show; bounded, one line, no invisible characters."""

from __future__ import annotations

import re

# Control characters (C0, C1), line and paragraph separators, bidi controls and zero-width marks, lone surrogates, BOM.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")
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
