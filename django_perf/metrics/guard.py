"""Keep faults of django_perf away from the host: telemetry may be lost, never a request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from .recorder import recorder

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def guarded(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | None:
    """Call `function`; when it raises an Exception, count that by place and class and return None.

    BaseException (SystemExit of a worker that is told to stop, KeyboardInterrupt) passes through.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        # Counting may fail too. This net is the one place where a fault of ours may go uncounted.
        with suppress(Exception):
            recorder.lost("error", f"{getattr(function, '__name__', 'unknown')}: {type(error).__name__}")
        return None
