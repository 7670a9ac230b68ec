"""Choose a content coding from what a client accepts (RFC 9110, section 12.5.3), in linear time. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

IDENTITY = "identity"
# Beyond that nobody is meant: a header that were cut could say `br` where it said `br;q=0`.
MAX_LENGTH = 1_024
MAX_ITEMS = 32
# A wildcard does not ask for it: its client has to have the dictionary.
_NAMED_ONLY = frozenset({"dcz"})
_ITEM = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*"  # a coding is a token
    r"(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?"
)


def choose(header: str, offered: tuple[str, ...]) -> str:
    """Return the coding that the client likes best of those offered, the earlier at equal liking, else "identity".

    Never raises: what is not written as the RFC has it is taken for a refusal, what is too long for no header at all.
    """
    # A visitor's text is remembered only while it is short, and only so many of them.
    return _chosen(header, offered) if 0 < len(header) <= MAX_LENGTH else IDENTITY


@lru_cache(maxsize=256)
def _chosen(header: str, offered: tuple[str, ...]) -> str:
    weights = weights_of(header)
    best, most = IDENTITY, 0.0
    for coding in offered:
        weight = _weight(weights, coding)
        if weight > most:
            best, most = coding, weight
    return best if most >= _weight(weights, IDENTITY) else IDENTITY


def weights_of(header: str) -> dict[str, float]:
    """Return the weight of each coding that is named, `*` among them; nothing for more than 32 items."""
    items = header.split(",", MAX_ITEMS)
    weights: dict[str, float] = {}
    if len(items) > MAX_ITEMS:
        return weights
    for item in items:
        match = _ITEM.fullmatch(item)
        # Malformed, but it may have meant to refuse: `gzip;q=none`.
        name, weight = (match[1], float(match[2] or 1)) if match else (item.partition(";")[0].strip(), 0.0)
        coding = name.lower().removeprefix("x-") if name.lower() == "x-gzip" else name.lower()
        weights[coding] = min(weight, weights.get(coding, 1.0))
    return weights


def _weight(weights: dict[str, float], coding: str) -> float:
    return weights.get(coding, 0.0 if coding in _NAMED_ONLY else weights.get("*", 0.0))
