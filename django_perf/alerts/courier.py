"""Send messages in a thread that may be left behind, so that a server that hangs holds nothing else up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

from django.db import connections

from ..metrics.recorder import recorder
from .messages import Message

HANGS = "the one before still hangs"


class Round:
    """Hold what one round sends: `sent` counts the messages that arrived, in order; `trouble` says why not all did."""

    def __init__(self, messages: Sequence[Message], send: Callable[[Message], None], deadline: float) -> None:
        self.messages = messages
        self.sent = 0
        self.trouble = ""
        self.done = Event()
        self._send = send
        self._deadline = deadline

    def end(self, trouble: str) -> None:
        """Be over without having sent anything."""
        self.trouble = trouble
        self.done.set()

    def run(self) -> None:
        """Send one after the other, until one fails or time is up: what one did not take, the next would not either."""
        try:
            with recorder.paused():
                self._send_all()
        except Exception as error:
            # The class alone: a text may name hosts and users.
            self.trouble = type(error).__name__
        finally:
            connections.close_all()  # there are mail backends that write into a database
            self.done.set()

    def _send_all(self) -> None:
        for message in self.messages:
            if time.monotonic() >= self._deadline:
                self.trouble = "time is up"
                return
            self._send(message)
            self.sent += 1


class Courier:
    """Serve one channel, one round at a time."""

    def __init__(self) -> None:
        self._thread: Thread | None = None

    def start(self, messages: Sequence[Message], send: Callable[[Message], None], deadline: float) -> Round:
        """Begin to send; at once over, with a trouble, while the round before has not ended."""
        round_ = Round(messages, send, deadline)
        if self._thread is not None and self._thread.is_alive():
            round_.end(HANGS)
            return round_
        self._thread = Thread(target=round_.run, name="django_perf alerts", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread left
            round_.end("no thread to send in")
        return round_
