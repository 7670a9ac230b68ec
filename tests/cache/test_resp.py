"""However the bytes of a server are cut, the answers are the same."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from django_perf.cache.resp import Reader, Refused

STREAM = (
    b"+OK\r\n:42\r\n_\r\n$5\r\nhello\r\n$0\r\n\r\n*2\r\n$1\r\na\r\n:-1\r\n"
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$5\r\nkey:1\r\n"
    b">2\r\n$10\r\ninvalidate\r\n*2\r\n$6\r\na\r\n\r\nb\r\n$1\r\nb\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n"
    b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$4\r\n6162\r\n%1\r\n+k\r\n+v\r\n-NOPERM no\r\n!7\r\nERR bad\r\n+PONG\r\n"
)
ANSWERS = [
    b"OK",
    42,
    None,
    b"hello",
    b"",
    [b"a", -1],
    (b"invalidate", [b"key:1"]),
    (b"invalidate", [b"a\r\n\r\nb", b"b"]),
    (b"invalidate", None),
    (b"message", b"ch", b"6162"),
    [b"k", b"v"],
    "NOPERM no",
    "ERR bad",
    b"PONG",
]


def read(pieces):
    """Return all answers; a refusal as its text."""
    reader = Reader()
    found = [answer for piece in pieces for answer in reader.feed(piece)]
    return [str(answer) if isinstance(answer, Refused) else answer for answer in found]


def test_a_stream_in_one_piece_gives_its_answers():
    assert read([STREAM]) == ANSWERS


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_a_stream_in_any_pieces_gives_the_same_answers(cuts):
    places = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[a:b] for a, b in pairwise(places)]) == ANSWERS


@given(st.binary(max_size=30))
def test_a_key_may_hold_anything(key):
    message = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$%d\r\n%b\r\n" % (len(key), key)
    assert read([message]) == [(b"invalidate", [key])]
    assert read([message[:-1], message[-1:]]) == [(b"invalidate", [key])]
    assert read([message + message]) == [(b"invalidate", [key])] * 2
