"""Build a dictionary of what many answers have in common, so that it holds nothing that only one of them says. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

# What fewer answers say may be somebody's.
AT_LEAST = 5
MAX_BYTES = 64 * 1024
# A line longer than this is cut behind what ends a piece of HTML, CSS or JSON.
_LONG = 200
# How a dictionary that was trained begins: RFC 8878, section 5.
_TRAINED = b"\x37\xa4\x30\xec"
_PIECE = re.compile(rb"[^>,;}]*[>,;}]+|[^>,;}]+")


def pieces(body: bytes) -> Iterator[bytes]:
    """Yield the lines of a body, each with its end, long ones in pieces; together they are the body."""
    for line in body.splitlines(keepends=True):
        if len(line) <= _LONG:
            yield line
        else:
            yield from (match[0] for match in _PIECE.finditer(line))


def build(answers: Sequence[bytes], at_least: int = AT_LEAST, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the pieces that `at_least` answers have, in their order, those that save most if there are too many."""
    counts = Counter(piece for answer in answers for piece in set(pieces(answer)))
    common = {piece: count for piece, count in counts.items() if count >= at_least and piece.strip()}
    kept = set(_most_valuable(common, max_bytes))
    # In the order of the pages: a browser's page has long runs of them.
    content = b"".join(dict.fromkeys(piece for answer in answers for piece in pieces(answer) if piece in kept))
    # What begins like this would be read as something else than text.
    return b"\n" + content if content.startswith(_TRAINED) else content


def _most_valuable(common: dict[bytes, int], max_bytes: int) -> Iterable[bytes]:
    room = max_bytes
    for piece in sorted(common, key=lambda piece: (-common[piece] * len(piece), piece)):
        if len(piece) <= room:
            room -= len(piece)
            yield piece
