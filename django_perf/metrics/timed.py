"""Measure a block of code or a function by name."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ContextDecorator
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, TypeVar, cast

from .catalog import BLOCK
from .guard import count_fault
from .recorder import recorder
from .trace import current

Function = TypeVar("Function", bound=Callable[..., Any])


class timed(ContextDecorator):  # noqa: N801 - reads as the verb it is, like contextlib's own
    """Time what runs inside `with timed("name"):` or a function decorated by `@timed("name")`, sync or async.

    An exception that leaves the block counts as its error and goes on its way. Names are a fixed few: 200 are kept,
    further ones share the row (other). Nested and concurrent use is fine; one object serves one block at a time.
    """

    def __init__(self, name: str) -> None:
        self.name = str(name)
        self._started_ns = 0

    def __enter__(self) -> timed:
        self._started_ns = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        elapsed_ns = time.perf_counter_ns() - self._started_ns
        failed = kind is not None and issubclass(kind, Exception)
        try:
            recorder.record(BLOCK, (self.name,), (elapsed_ns + 500) // 1000, (int(failed),))
            trace = current.get()
            if trace is not None:
                trace.add_span("block", self.name, self._started_ns, elapsed_ns)
        except Exception as fault:
            count_fault("timed", fault)

    def _recreate_cm(self) -> timed:
        """Give each call of a decorated function a clock of its own."""
        return type(self)(self.name)

    def __call__(self, function: Function) -> Function:
        if not iscoroutinefunction(function):
            return super().__call__(function)

        @wraps(function)
        async def measured(*args: Any, **kwargs: Any) -> Any:
            with self._recreate_cm():
                return await function(*args, **kwargs)

        return cast(Function, measured)
