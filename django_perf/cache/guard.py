"""Stand between a request and a level that may fail: what fails is counted, and nobody waits for it twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..breaker import CircuitBreaker
from ..exceptions import CacheUnavailable
from .tally import Tally

L = TypeVar("L")
T = TypeVar("T")


class Guard(Generic[L]):
    """Call a level through a breaker that opens at the first sign of a dead server. Thread-safe.

    `errors` are the exceptions that mean the level failed; after those in `fatal` there is no use in asking again.
    `on_down` is called when the breaker opens, and while it is open: somebody has to probe and close it.
    """

    def __init__(
        self,
        name: str,
        level: L,
        errors: tuple[type[BaseException], ...],
        fatal: tuple[type[BaseException], ...],
        tally: Tally,
        on_down: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.level = name, level
        self.breaker = CircuitBreaker(clock=clock)
        self.errors, self._fatal, self._tally, self._on_down = errors, fatal, tally, on_down

    @property
    def is_open(self) -> bool:
        """Tell whether the level is left alone."""
        return self.breaker.is_open

    def call(self, do: Callable[..., T], *args: Any) -> T:
        """Return what the level answers. Raises CacheUnavailable for every failure of it."""
        if self.breaker.is_open:
            self._tally.count(f"{self.name}_skipped")
            self._on_down()  # whoever asks it again may have been lost in a fork
            raise CacheUnavailable(f"cache level {self.name}: it does not answer; it is asked again in the background")
        try:
            return do(*args)
        except self.errors as error:
            self.failed(error)
            raise CacheUnavailable(f"cache level {self.name}: {type(error).__name__}") from error

    def failed(self, error: BaseException) -> None:
        """Count a failure, and open the breaker when the server is gone."""
        self._tally.failed(self.name, error)
        if isinstance(error, self._fatal):
            self.breaker.trip()
            self._on_down()
