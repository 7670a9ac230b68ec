"""Tell of alerts on all channels at once, and say what has become of each message."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..metrics.recorder import recorder
from .channels import Send
from .courier import Courier, Round
from .deciding import State, in_order, parcels
from .messages import Message
from .states import Key

# A minute's messages on one channel; what is more becomes one.
MOST_MESSAGES = 20
# However slow the channels are, the flusher waits no longer.
LIMIT_S = 10.0

# A state, and the channels that are to be told of it.
News = tuple[State, Sequence[str]]
Write = Callable[[Sequence[State]], Message]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold, by alert and endpoint, which channels know now, and which are still at it."""

    sent: Mapping[Key, Sequence[str]]
    under_way: Mapping[Key, Sequence[str]]


class Teller:
    """Keep a courier for each channel."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._couriers: dict[str, Courier] = {}

    def tell(self, news: Sequence[News], ways: Mapping[str, Send], write: Write) -> Outcome:
        """Send, and wait until all are through or the time is up; what fails is counted, and raises nothing."""
        deadline = time.monotonic() + self._limit_s
        rounds = {
            name: self._start(name, send, parts, write, deadline)
            for name, send in ways.items()
            if (parts := _parts(news, name))
        }
        for name, (_, round_) in rounds.items():
            is_done = round_.done.wait(max(0.0, deadline - time.monotonic()))
            if trouble := round_.trouble or ("" if is_done else "no answer"):
                recorder.lost("error", f"alert {name}: {trouble}")
        return _outcome(rounds)

    def _start(
        self, name: str, send: Send, parts: list[list[State]], write: Write, deadline: float
    ) -> tuple[list[list[State]], Round]:
        courier = self._couriers.setdefault(name, Courier())
        return parts, courier.start([write(part) for part in parts], send, deadline)


def _parts(news: Iterable[News], channel: str) -> list[list[State]]:
    return parcels(in_order((state for state, to in news if channel in to), channel), MOST_MESSAGES)


def _outcome(rounds: Mapping[str, tuple[list[list[State]], Round]]) -> Outcome:
    sent: dict[Key, list[str]] = {}
    under_way: dict[Key, list[str]] = {}
    for name, (parts, round_) in rounds.items():
        is_done, arrived = round_.done.is_set(), round_.sent
        for part in parts[:arrived]:
            _note(sent, part, name)
        for part in [] if is_done else parts[arrived : arrived + 1]:
            _note(under_way, part, name)
    return Outcome(sent, under_way)


def _note(found: dict[Key, list[str]], part: Iterable[State], channel: str) -> None:
    for state in part:
        found.setdefault((state.alert, state.endpoint), []).append(channel)
