"""Know the epoch that all keys of a cache begin with, and until when a process may believe its memory."""

from __future__ import annotations

from secrets import randbits
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .levels import Levels

# How long the epoch is believed where nobody tells of its change.
_BELIEVED_S = 1.0
_EPOCH_BITS = 48


class Namespace:
    """Hold the epoch as this process knows it. Thread-safe.

    Epochs are random: a counter that starts again after a flush would bring old rows of the table back to life. The
    epoch is an entry like others, so it lies in Redis and in the table; where both have lost it, a new one is a miss.
    It is a number, which is not sealed: processes that cannot open each other's values have to agree on it, too.
    """

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self.forget_parent()

    def forget_parent(self) -> None:
        """Begin as a new process does."""
        self._lock = RLock()
        self._generation = 0
        # What keys begin with, and until when that is believed though nobody tells of a change.
        self._believed = "", 0.0
        self._last = randbits(_EPOCH_BITS)
        self._is_known = False
        # Read without the lock by every get(): what keys begin with ("" while unknown), and the end of the trust.
        self.head = ""
        self.trusted_until = 0.0
        if self._levels.shared is None:
            self.head, self.trusted_until = self._levels.keys.head("0"), float("inf")

    def head_at(self, now: float) -> str:
        """Return what keys begin with."""
        head = self.head
        if head and now < self.trusted_until:
            return head
        head, until = self._believed
        return head if now < until else self._read_head(now)

    def current_head(self, now: float) -> str:
        """Return what keys begin with; asks for it where nobody would have told of a change, unless nobody answers.

        A key that is deleted under a past epoch would live on under the present one.
        """
        shared, backplane = self._levels.shared, self._levels.backplane
        is_told = backplane is not None and backplane.mode != "ttl" and self.head and now < self.trusted_until
        first = shared.redis or shared.table if shared is not None else None
        head = self.head_at(now) if first is None or first.is_open or is_told else self._read_head(now)
        if shared is not None and not self._is_known:
            # Begun while nobody answers: what is written now has another name below, which nobody knows.
            shared.repairs.note_everything()
        return head

    def forget(self) -> None:
        """Ask again: the epoch has changed, or may have."""
        if self._levels.shared is not None:
            with self._lock:  # critical section: the epoch that is just being read is of no use
                self._generation += 1
                self.head, self._believed = "", ("", 0.0)

    def rotate(self) -> None:
        """Choose another epoch, which makes all entries unreachable."""
        with self._lock:
            self._last = randbits(_EPOCH_BITS)
        self._is_known = self._levels.write(self._levels.keys.epoch, self._last, None) or self._is_known
        self.forget()

    def _read_head(self, now: float) -> str:
        generation, backplane = self._generation, self._levels.backplane
        epoch, is_certain = self._epoch()
        head = self._levels.keys.head(f"{epoch:012x}")
        with self._lock:  # critical section: nobody has told of a change since the reading began
            if generation == self._generation:
                self._believed = head, now + _BELIEVED_S
                self.head = head if is_certain else ""
                if backplane is None or backplane.mode == "ttl":
                    self.head, self.trusted_until = self._believed
        return head

    def _epoch(self) -> tuple[int, bool]:
        """Return the epoch of the shared levels, else the last one known; and whether its change would be told.

        Not from memory: the table's epoch, which lies there too, may be older than one that Redis has forgotten.
        """
        key, shared, unanswered = self._levels.keys.epoch, self._levels.shared, list[str]()
        assert shared is not None
        entry = shared.read(key, unanswered)
        if entry is None:
            self._levels.add(key, randbits(_EPOCH_BITS), None)
            entry = shared.read(key, unanswered)  # the one of whoever was first
        if entry is not None and type(entry.value) is int:
            self._last, self._is_known = entry.value, True
        elif shared.redis is not None and not unanswered:  # something else is in its place
            self._levels.write(key, self._last, None)
        return self._last, entry is not None and entry.level == "l2"
