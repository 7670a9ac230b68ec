"""Know the epoch that all keys of a cache begin with, and until when a process may believe its memory."""

from __future__ import annotations

from secrets import token_hex
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .levels import Levels

# How long the epoch is believed where nobody tells of its change.
_BELIEVED_S = 1.0
_EPOCH_BYTES = 6


class Namespace:
    """Hold the epoch as this process knows it. Thread-safe.

    Epochs are random: a counter that starts again after a flush would bring old rows of the table back to life. The
    epoch is an entry like others, so it lies in Redis and in the table; where both have lost it, a new one is a miss.
    """

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self.forget_parent()

    def forget_parent(self) -> None:
        """Begin as a new process does."""
        self._lock = RLock()
        self._generation = 0
        self._believed_until = 0.0
        self._last = token_hex(_EPOCH_BYTES)
        # Read without the lock by every get(): what keys begin with ("" while unknown), and the end of the trust.
        self.head = ""
        self.trusted_until = 0.0
        if self._levels.shared is None:
            self.head, self.trusted_until = self._levels.keys.head("0"), float("inf")

    def head_at(self, now: float) -> str:
        """Return what keys begin with."""
        head = self.head
        if head and (now < self.trusted_until or now < self._believed_until):
            return head
        return self._read_head(now)

    def forget(self) -> None:
        """Ask again: the epoch has changed, or may have."""
        if self._levels.shared is not None:
            with self._lock:  # critical section: the epoch that is just being read is of no use
                self._generation += 1
                self.head = ""

    def rotate(self) -> None:
        """Choose another epoch, which makes all entries unreachable."""
        with self._lock:
            self._last = token_hex(_EPOCH_BYTES)
        self._levels.write(self._levels.keys.epoch, self._last, None)
        self.forget()

    def _read_head(self, now: float) -> str:
        generation = self._generation
        head = self._levels.keys.head(self._epoch())
        with self._lock:  # critical section: nobody has told of a change since the reading began
            if generation == self._generation:
                self.head = head
                self._believed_until = now + _BELIEVED_S
                if self._levels.backplane is None or self._levels.backplane.mode == "ttl":
                    self.trusted_until = self._believed_until
        return head

    def _epoch(self) -> str:
        """Return the epoch of the shared levels; without them the last one known, or one of this process only."""
        key, levels = self._levels.keys.epoch, self._levels
        entry = levels.read(key)
        if entry is None and levels.add(key, token_hex(_EPOCH_BYTES), None):
            entry = levels.read(key)
        if entry is not None and isinstance(entry.value, str):
            self._last = entry.value
        return self._last
