"""Tell which fills of a memory are still allowed: a lease per key, as of "Scaling Memcache at Facebook" (NSDI 2013).

A value that was read from below before an eviction may be older than it, and nobody would evict it again.
"""

from __future__ import annotations

from collections import OrderedDict

# A fill is under way for milliseconds: nobody has that many, but for those that are never ended.
MOST_TOKENS = 10_000


class Token:
    """Stand for the right to fill a key, which whoever reads it meanwhile shares."""

    __slots__ = ("holders",)

    def __init__(self) -> None:
        self.holders = 0


class Tokens:
    """Hold the valid tokens by key, MOST_TOKENS at most: beyond, the oldest loses its right.

    Called under the memory's lock, but for `is_valid`.
    """

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, Token] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def is_valid(self, key: str, token: object) -> bool:
        """Tell whether a fill of the key is allowed; an invalid token stays so."""
        return token is not None and self._tokens.get(key) is token

    def begin(self, key: str) -> Token:
        """Return the token of the key, to be released once for every time that it was returned."""
        token = self._tokens.get(key)
        if token is None:
            if len(self._tokens) >= MOST_TOKENS:
                self._tokens.popitem(last=False)
            token = self._tokens[key] = Token()
        token.holders += 1
        return token

    def release(self, key: str, token: object) -> bool:
        """Take a token back; False when it is not valid."""
        if not self.is_valid(key, token):
            return False
        self._tokens[key].holders -= 1
        if not self._tokens[key].holders:
            self.revoke(key)
        return True

    def revoke(self, key: str) -> None:
        """Make the token of the key invalid, if there is one."""
        self._tokens.pop(key, None)

    def clear(self) -> None:
        """Make all tokens invalid."""
        self._tokens.clear()
