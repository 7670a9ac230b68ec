"""Speak to a Redis server: write commands, and read RESP3 as it arrives, also messages that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_MORE = object()
_ONE_KEY = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$"


def packed(words: Sequence[bytes]) -> bytes:
    """Return a command as the server reads it."""
    return b"*%d\r\n%b" % (len(words), b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words]))


class Refused(Exception):
    """An error that the server answered."""


class Reader:
    """Turn bytes into answers: bytes, int, None, list, tuple for a message (push), Refused for an error.

    A list of keys arrives in one piece of a few hundred bytes, which this reads in a few microseconds.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterable[Any]:
        """Return the answers that are complete now."""
        if not self._buffer and data.startswith(_ONE_KEY):
            # What comes most: one key that somebody has written.
            length, _, rest = data[len(_ONE_KEY) :].partition(b"\r\n")
            if len(rest) == int(length) + 2:
                return ((b"invalidate", [rest[:-2]]),)
        return self._feed(data)

    def _feed(self, data: bytes) -> Iterator[Any]:
        self._buffer += data
        position = 0
        while True:
            answer, end = self._read(position)
            if answer is _MORE:
                self._buffer = self._buffer[position:]
                return
            position = end
            yield answer

    def _read(self, start: int) -> tuple[Any, int]:
        end = self._buffer.find(b"\r\n", start)
        if end < 0:
            return _MORE, start
        kind, text, position = self._buffer[start : start + 1], self._buffer[start + 1 : end], end + 2
        if kind in b"$=!":
            return self._text(kind, int(text), position)
        if kind in b"*~>%":
            return self._items(kind, int(text) * (1 + (kind == b"%")), position)
        if kind == b"-":
            return Refused(text.decode("utf-8", "replace")), position
        if kind == b":":
            return int(text), position
        return (None if kind == b"_" else text), position

    def _text(self, kind: bytes, length: int, start: int) -> tuple[Any, int]:
        end = start + length
        if length < 0:
            return None, start
        if len(self._buffer) < end + 2:
            return _MORE, start
        text = self._buffer[start:end]
        return (Refused(text.decode("utf-8", "replace")) if kind == b"!" else text), end + 2

    def _items(self, kind: bytes, count: int, position: int) -> tuple[Any, int]:
        if count < 0:
            return None, position
        items = []
        for _ in range(count):
            item, position = self._read(position)
            if item is _MORE:
                return _MORE, position
            items.append(item)
        return (tuple(items) if kind == b">" else items), position
