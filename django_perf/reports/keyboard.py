"""Read single keys from a terminal, and give it back as it was, whatever ends the reading."""

from __future__ import annotations

import os
import select
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from .live import keys_of

_MOST_BYTES = 1_024
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Keyboard:
    """Wait for keys on the terminal with this file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float | None) -> list[str]:
        """Return the keys that come within so many seconds, None for ever; "q" when the terminal has gone away."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return []
        try:
            data = os.read(self._descriptor, _MOST_BYTES)
        except OSError:  # a pseudo terminal whose other end has closed
            data = b""
        return keys_of(data) if data else ["q"]


@contextmanager
def keyboard(descriptor: int) -> Iterator[Keyboard]:
    """Take keys one by one, without Enter and unseen; Ctrl-C stays KeyboardInterrupt, a signal to end is SystemExit."""
    before = termios.tcgetattr(descriptor)
    with _ending_in_order():
        try:
            tty.setcbreak(descriptor)
            yield Keyboard(descriptor)
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise SystemExit, so that what stands in `finally` runs.

    Ctrl-Z does nothing: a view that is stopped could not give the terminal back.
    """
    if current_thread() is not main_thread():  # only the main thread may, and only it is interrupted
        yield
        return
    before = {number: signal.signal(number, _end) for number in _ENDING}
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> Any:
    # A second one must not interrupt the tidying up after the first.
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)
