"""Keep bytes in Redis, through django-redis: the level that all processes share."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.cache.backends.base import get_key_func
from django_redis.cache import RedisCache
from django_redis.pool import ConnectionFactory
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from . import scripts
from .resp import packed
from .scripts import Script

if TYPE_CHECKING:
    from .levels import Levels

# What django-redis gets where the site says nothing. A request never waits longer than this for a cache, and after the
# first time the breaker spares the others. One retry, of a lost connection only: it was idle when the server restarted.
_TIMEOUT_S = 0.25
_MAX_CONNECTIONS = 20
# A write that the network has lost is not sent again after so long, nor when its connection was given up: it would come
# behind newer ones.
_DROPPED_MS = 500
_FACTORY = "django_perf.cache.redis.OwnPools"
_SERIALIZER = "django_perf.cache.signing.SignedSerializer"
# Holds the server's microseconds of the moment when its database was found empty.
FIRST_SEEN = b"untracked:django_perf:first-seen"


def lease_of(key: bytes) -> bytes:
    """Return the key of the lease of a key, as the scripts know it too."""
    return b"untracked:lease:" + key


class Found(NamedTuple):
    """What lies under a key, and what is left of its life in milliseconds; None for ever."""

    blob: bytes
    ttl_ms: int | None


class OwnPools(ConnectionFactory):  # type: ignore[misc]
    """Keep connection pools apart from django-redis's own, which has one per URL, whoever's timeouts come first."""

    _pools: dict[str, Any] = {}


def django_redis_cache(location: Any, params: Mapping[str, Any], levels: Levels) -> RedisCache[Any]:
    """Return the django-redis cache below an alias, which finds its keys where we put them."""

    reverse = get_key_func(params["REVERSE_KEY_FUNCTION"]) if params.get("REVERSE_KEY_FUNCTION") else None

    def physical(key: str, prefix: str, version: int) -> str:
        return levels.keys.entry(levels.head(levels.clock()), key, version)

    def logical(key: str) -> str:
        local = key.removeprefix("untracked:").removeprefix(levels.keys.tracked).partition(":")[2]
        return reverse(local) if reverse is not None else local.partition(":")[2]

    own = {
        "KEY_FUNCTION": physical,
        "REVERSE_KEY_FUNCTION": logical,
        "OPTIONS": _options(params["OPTIONS"], str(location)),
    }
    return RedisCache(location, {**params, **own})


def _options(given: Mapping[str, Any], location: str) -> dict[str, Any]:
    """Return what django-redis gets: what the site says, and ours where it says nothing."""
    options = {
        "SOCKET_TIMEOUT": _TIMEOUT_S,
        "SOCKET_CONNECT_TIMEOUT": _TIMEOUT_S,
        "SERIALIZER": _SERIALIZER,
        "CONNECTION_FACTORY": _FACTORY,
        **given,
    }
    kwargs: dict[str, Any] = {"retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))}
    if hasattr(socket, "TCP_USER_TIMEOUT") and not location.startswith("unix"):
        kwargs |= {"socket_keepalive": True, "socket_keepalive_options": {socket.TCP_USER_TIMEOUT: _DROPPED_MS}}
    if options["CONNECTION_FACTORY"] == _FACTORY and "CONNECTION_POOL_CLASS" not in given:
        options["CONNECTION_POOL_CLASS"] = "redis.BlockingConnectionPool"
        kwargs |= {"max_connections": _MAX_CONNECTIONS, "timeout": _TIMEOUT_S}
    return options | {"CONNECTION_POOL_KWARGS": {**kwargs, **given.get("CONNECTION_POOL_KWARGS", {})}}


class RedisLevel:
    """Read and write bytes under physical keys. Thread-safe and fork-safe as redis-py's pools are.

    All methods raise what redis-py raises. Reads go to the master: a replica lags, and would fill the memory of a
    process again with what has just been invalidated.
    """

    def __init__(self, cache: RedisCache[Any]) -> None:
        self.cache = cache

    @property
    def client(self) -> Any:
        """Return redis-py's client for the master."""
        return self.cache.client.get_client(write=True)

    @property
    def is_single(self) -> bool:
        """Tell whether one master holds all keys, as one backplane can watch."""
        return type(self.cache.client).__name__ in ("DefaultClient", "HerdClient")

    def connect_apart(self) -> Any:
        """Return a new connection outside of the pool, which speaks RESP3."""
        pool = self.client.connection_pool
        connection = pool.connection_class(**{**pool.connection_kwargs, "protocol": 3, "socket_timeout": 1.0})
        connection.connect()
        return connection

    def read(self, keys: Sequence[bytes]) -> list[Found | None]:
        """Return what lies under each key, in one round trip."""
        answers = self._exchange([command for key in keys for command in ((b"GET", key), (b"PTTL", key))])
        return [_found(blob, ttl) for blob, ttl in zip(answers[::2], answers[1::2], strict=True)]

    def read_one(self, key: bytes) -> Found | None:
        """Return what lies under a key."""
        blob, ttl = self._exchange(((b"GET", key), (b"PTTL", key)))
        return _found(blob, ttl)

    def set(self, items: Sequence[tuple[bytes, bytes, int | None]]) -> int:
        """Store (key, blob, milliseconds or None); returns the server's microseconds, which order the writes."""
        return int(self._run(scripts.SET, [key for key, _, _ in items], _flat(items)))

    def set_plain(self, key: bytes, blob: bytes, ttl_ms: int | None) -> None:
        """Store one value where nobody asks for the order."""
        store = (b"SET", key, blob) if ttl_ms is None else (b"SET", key, blob, b"PX", b"%d" % ttl_ms)
        self._exchange(((b"UNLINK", lease_of(key)), store))

    def add(self, key: bytes, blob: bytes, ttl_ms: int | None) -> int:
        """Store unless there is a value that lives; returns the server's microseconds, 0 when there is one."""
        return int(self._run(scripts.ADD, [key], [blob, ttl_ms or 0]))

    def carry(self, items: Sequence[tuple[bytes, bytes, int | None]], quiet_ms: int) -> None:
        """Store (key, blob, milliseconds or None) where there is nothing at all, and was not emptied lately."""
        self._run(scripts.CARRY, [FIRST_SEEN, *(key for key, _, _ in items)], [quiet_ms * 1_000, *_flat(items)])

    def replace(self, key: bytes, expected: bytes, blob: bytes) -> int:
        """Put a value in the place of a certain other one for what is left of its life; returns the stamp, or 0."""
        return int(self._run(scripts.REPLACE, [key], [expected, blob]))

    def change(self, key: bytes, delta: int) -> tuple[bytes | None, int, bool]:
        """Add to a number; returns what is there now, the stamp, and whether it was changed: a number that fits."""
        blob, stamp, is_changed = self._run(scripts.CHANGE, [key], [delta])
        return blob, int(stamp), bool(is_changed)

    def touch(self, key: bytes, ttl_ms: int | None) -> int | None:
        """Give a value that lives another life; returns its grace in milliseconds, None when there is none."""
        grace = int(self._run(scripts.TOUCH, [key], [ttl_ms or 0]))
        return None if grace < 0 else grace

    def delete(self, keys: Sequence[bytes], tombstone_ms: int = 0) -> tuple[int, int]:
        """Forget keys, or bury them; returns how many lived, and the server's microseconds."""
        lived, stamp = self._run(scripts.DELETE, keys, [tombstone_ms])
        return int(lived), int(stamp)

    def bury_old(self, items: Sequence[tuple[bytes, bytes]], tombstone_ms: int) -> None:
        """Put tombstones in the place of certain (key, blob), and where there is nothing."""
        self._run(scripts.BURY_OLD, [key for key, _ in items], [*(blob for _, blob in items), tombstone_ms])

    def take_lease(self, key: bytes, token: bytes, ms: int) -> bool:
        """Take a lease where nobody has it."""
        return bool(self.client.set(key, token, nx=True, px=ms))

    def renew_lease(self, key: bytes, token: bytes, ms: int) -> None:
        """Prolong a lease that has this token."""
        self._run(scripts.RENEW_LEASE, [key], [token, ms])

    def end_lease(self, key: bytes, token: bytes) -> None:
        """End a lease that has this token."""
        self._run(scripts.END_LEASE, [key], [token])

    def store_leased(self, lease: bytes, token: bytes, item: tuple[bytes, bytes, int | None], only_new: bool) -> int:
        """Store (key, blob, milliseconds or None) and end the lease; returns the stamp, 0 when nothing was stored."""
        key, blob, ttl_ms = item
        return int(self._run(scripts.STORE_LEASED, [key, lease], [blob, ttl_ms or 0, token, int(only_new)]))

    def each_match(self, pattern: bytes, forget: Callable[[list[bytes]], object], count: int = 500) -> int:
        """Hand over the keys that match, in small steps that hold nobody up; returns how many there were."""
        cursor, found = 0, 0
        while True:
            cursor, keys = self.client.scan(cursor, match=pattern, count=count)
            if keys:
                forget(keys)
                found += len(keys)
            if not cursor:
                return found

    def publish(self, channel: str, keys: Iterable[bytes]) -> None:
        """Tell the other processes of writes, where the server itself cannot."""
        self.client.publish(channel, b"\n".join(key.hex().encode() for key in keys))

    def ping(self) -> None:
        """Raise when the server does not answer."""
        self.client.ping()

    def _run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Any] = ()) -> Any:
        client = self.client
        try:
            return client.evalsha(script.sha, len(keys), *keys, *arguments)
        except NoScriptError:  # a server that has been started anew
            return client.eval(script.text, len(keys), *keys, *arguments)

    def _exchange(self, commands: Sequence[tuple[bytes, ...]]) -> list[Any]:
        """Send commands that may be repeated, in one piece; returns what each was answered.

        On a connection of redis-py's pool, but past its client, which costs as much as the round trip itself.
        """
        pool = self.client.connection_pool
        connection = pool.get_connection()
        try:
            answers: list[Any] = connection.retry.call_with_retry(
                lambda: _sent(connection, commands), lambda error: connection.disconnect()
            )
            return answers
        finally:
            pool.release(connection)


def _sent(connection: Any, commands: Sequence[tuple[bytes, ...]]) -> list[Any]:
    connection.send_packed_command([b"".join(map(packed, commands))], check_health=False)
    answers, refused = [], None
    for _ in commands:
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            # A key that holds something else than a value, a set for one, spoils no other.
            answers.append(None)
            refused = refused if str(error).startswith("WRONGTYPE") else error
    if refused is not None:
        raise refused
    return answers


def _flat(items: Sequence[tuple[bytes, bytes, int | None]]) -> list[Any]:
    return [part for _, blob, ttl_ms in items for part in (blob, ttl_ms or 0)]


def _found(blob: Any, ttl: Any) -> Found | None:
    # -2: it ended between the two commands. For ever is -1.
    return Found(blob, None if ttl == -1 else ttl) if isinstance(blob, bytes) and ttl != -2 else None
