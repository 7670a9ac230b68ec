"""Name the keys of one cache in the shared levels, so that one prefix covers all that may lie in a process's memory.

<prefix>:<epoch>:<version>:<key>    an entry; another epoch makes all of them unreachable at once
<prefix>:epoch                      that epoch
<prefix>:tag:<name>                 the epoch of a tag
untracked:<prefix>:...              entries that no process keeps in its memory
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

# Bytes; what comes before it has to fit too.
MAX_KEY = 200

KeyFunction = Callable[[str, str, int], str]


class Keys:
    """Make physical keys. Thread-safe: holds nothing that changes."""

    def __init__(self, prefix: str, excluded: Sequence[str] = (), function: KeyFunction | None = None) -> None:
        self.prefix = prefix
        self.tracked = f"{prefix}:"
        self.epoch = f"{prefix}:epoch"
        self._excluded = tuple(excluded)
        self._function = function
        # Whether an entry's key is more than head, version and key.
        self.is_special = bool(excluded) or function is not None

    def tag(self, name: str) -> str:
        """Return the key that holds the epoch of a tag."""
        return f"{self.prefix}:tag:{_short(name)}"

    def head(self, epoch: str) -> str:
        """Return what the keys of all tracked entries begin with."""
        return f"{self.prefix}:{epoch}:"

    def entry(self, head: str, key: str, version: int) -> str:
        """Return the key of an entry."""
        local = f"{version}:{key}" if self._function is None else self._function(key, self.prefix, version)
        if self._excluded and str(key).startswith(self._excluded):
            head = f"untracked:{head}"
        return head + _short(local)

    def moved(self, physical: str, head: str) -> str:
        """Return the key of the same entry under another epoch."""
        start, _, rest = physical.partition(self.tracked)
        return start + head + rest.partition(":")[2]

    def is_entry(self, physical: str) -> bool:
        """Tell whether a key is that of an entry, and has an epoch therefore."""
        return physical != self.epoch and not physical.startswith(f"{self.prefix}:tag:")

    def is_tracked(self, physical: str) -> bool:
        """Tell whether an entry may lie in the memory of processes."""
        return not physical.startswith("untracked:")


def _short(name: str) -> str:
    """Replace what is too long by its digest; what looks like one is replaced too, so that no name can be another's."""
    raw = to_bytes(name)
    if len(raw) <= MAX_KEY and name[:1] != "~":
        return name
    return "~" + blake2b(raw, digest_size=16).hexdigest()


def to_bytes(physical: str) -> bytes:
    """Return a key as the servers know it."""
    return physical.encode("utf-8", "surrogatepass")


def from_bytes(raw: bytes) -> str:
    """Return a key of a server as this process knows it; never raises."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def escaped(text: str) -> str:
    """Return the server's pattern that matches this text only."""
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text)
