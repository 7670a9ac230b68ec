"""Name every error that this package raises on purpose."""

from __future__ import annotations


class PerfError(Exception):
    """Base of all errors of django_perf, so that a host can catch them together."""


class UnknownPayload(PerfError):
    """Refuse bytes written by a newer version; the row that holds them has to be kept as it is."""


class DamagedPayload(PerfError):
    """Refuse bytes that claim a known version and cannot be read all the same."""


class StoreBusy(PerfError):
    """Report a store whose rollups changed under the reader at every attempt."""


class PoolError(PerfError):
    """Base of what a connection pool refuses; the text carries the state of the pool."""


class PoolTimeout(PoolError):
    """Report that no connection came in time, or that the server is known not to answer."""


class TooManyRequests(PoolError):
    """Refuse to wait because enough others wait already."""


class PoolClosed(PoolError):
    """Refuse the use of a pool that was closed."""


class CacheUnavailable(PerfError):
    """Report a level of the cache that cannot do what only it can: count, or tell whether a key is new."""


class Unexplainable(PerfError):
    """Refuse to explain a statement; `code` is the database's own reason, where that has refused it."""

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


class NotRecorded(PerfError):
    """Report that nothing of that name is in the store."""


class UnsafeFolder(PerfError):
    """Refuse a folder that is not this user's alone."""
