"""Cache what the shop reads, so that a committed write is visible to the very next read.

Each entry carries tags, and each tag has a generation: a random token, part of the entry's key. Invalidating a tag
forgets its token; every entry below it becomes unreachable at once and runs out by its TTL. Nothing is scanned.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core.cache import cache
from django.db import transaction

from example_project.shop.conf import get_config

# Longer than any entry lives: a token that runs out only costs a miss, because tokens never repeat.
GENERATION_TTL_S = 3600
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the cache, fixed BEFORE the query whose result it will hold.

    A reader that is overtaken by a write then stores its old value under the old generation, where no one looks.
    Without a key (the cache does not answer) a slot holds nothing and every read computes.
    """

    key: str | None

    def get(self) -> Any:
        """Return the value, or None when there is none; None itself is never stored."""
        return cache.get(self.key) if self.key else None

    def set(self, value: Any, ttl: float) -> None:
        """Keep the value for about `ttl` seconds, never longer."""
        if self.key:
            cache.set(self.key, value, jittered(ttl))


def open_slot(key: str, tags: Sequence[str]) -> Slot:
    """Return the slot of `key` in the present generation of its tags."""
    tokens = generations(tags)
    return Slot(f"{key}@{'.'.join(tokens)}" if tokens else None)


def generations(tags: Sequence[str]) -> list[str] | None:
    """Return the token of each tag; None when the cache does not answer."""
    found = cache.get_many([generation_key(tag) for tag in tags])
    tokens = [found.get(generation_key(tag)) or begin_generation(tag) for tag in tags]
    return tokens if all(tokens) else None


def begin_generation(tag: str) -> str | None:
    """Give the tag a token; whoever comes first wins, the others use the winner's."""
    cache.add(generation_key(tag), secrets.token_hex(6), GENERATION_TTL_S)
    return cache.get(generation_key(tag))


def generation_key(tag: str) -> str:
    """Return the cache key under which the token of a tag lives."""
    return f"generation:{tag}"


def invalidate_on_commit(tags: Iterable[str]) -> None:
    """Forget everything with one of these tags once the transaction commits; a rollback forgets nothing."""
    transaction.on_commit(partial(cache.delete_many, [generation_key(tag) for tag in tags]))


def jittered(ttl: float) -> float:
    """Shorten a TTL at random, so that entries stored together do not run out together."""
    return ttl * random.uniform(1 - JITTER, 1)


def default_ttl() -> float:
    """Return the lifetime of an ordinary entry in seconds."""
    return get_config().cache_ttl
