"""Decide what becomes of an alert, and who has to be told; values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..metrics.alert_rules import Rule
from ..metrics.limits import Verdict

# Of a figure that goes up and down around its limit people hear twice, not every minute.
_CALM_S = 300.0
# Whoever has claimed a message and not confirmed it by then is gone.
CLAIM_S = 120.0
# One looks once a minute, more or less.
_JITTER_S = 30.0
# What nobody could be told of by then is no news.
_FORGET_S = 86_400.0

# Which of the two states was told, and when.
Told = tuple[bool, float]


@dataclass(frozen=True, slots=True)
class State:
    """Hold one alert at one endpoint; times are in seconds since 1970.

    `began` is when it last began to fire, `since` when its present state began, `calm_since` when its figure came back
    (0 while it breaches). `told` says what each channel was told last, `claimed` when a process set out to tell.
    """

    alert: str
    endpoint: str
    is_firing: bool
    began: float
    since: float
    calm_since: float = 0.0
    value: float | None = None
    count: int = 0
    told: Mapping[str, Told] = field(default_factory=dict)
    claimed: float = 0.0
    version: int = 0


def decided(rule: Rule, known: State | None, verdict: Verdict, now: float) -> State | None:
    """Return the state after a verdict; None where there is nothing to remember.

    It fires with a breach, which is one of the whole time, and ends when there has been none for as long, five minutes
    at the most. Too few requests for a verdict are no breach.
    """
    if verdict.is_breach:
        return _firing(rule, known, verdict, now)
    if known is None or not known.is_firing:
        return known
    calm_since = known.calm_since or now
    calm = replace(known, calm_since=calm_since, value=verdict.value, count=verdict.count)
    if now - calm_since < min(rule.minutes * 60.0, _CALM_S) - _JITTER_S:
        return calm
    return replace(calm, is_firing=False, since=now)


def _firing(rule: Rule, known: State | None, verdict: Verdict, now: float) -> State:
    if known is None:
        return State(rule.id, verdict.endpoint, True, now, now, 0.0, verdict.value, verdict.count)
    began = known.began if known.is_firing else now
    since = known.since if known.is_firing else now
    return replace(
        known, is_firing=True, began=began, since=since, calm_since=0.0, value=verdict.value, count=verdict.count
    )


def due(state: State, channels: Iterable[str], now: float, every_s: float) -> list[str]:
    """Return the channels that have to be told of a change, or again of what goes on; none while a process is at it."""
    if now - state.claimed < CLAIM_S:
        return []
    return [channel for channel in channels if _is_due(state, state.told.get(channel), now, every_s)]


def _is_due(state: State, told: Told | None, now: float, every_s: float) -> bool:
    if told is None or told[0] != state.is_firing:
        return True
    return state.is_firing and now - told[1] >= every_s - _JITTER_S


def is_over(state: State, channels: Iterable[str], now: float) -> bool:
    """Tell whether a state can be forgotten: it fires no more, and all know or will not care any more."""
    if state.is_firing:
        return False
    has_told = all(told is not None and not told[0] for told in map(state.told.get, channels))
    return has_told or now - state.since > _FORGET_S


def in_order(states: Iterable[State], channel: str) -> list[State]:
    """Return states as they are told: what is new first, then what is over, then what goes on."""

    def rank(state: State) -> int:
        is_reminder = state.is_firing and state.told.get(channel, (False, 0.0))[0]
        return 2 if is_reminder else int(not state.is_firing)

    return sorted(states, key=lambda state: (rank(state), state.began))


def parcels(states: Sequence[State], most: int) -> list[list[State]]:
    """Return states by message: one each, and the last message takes all that are too many."""
    if len(states) <= most:
        return [[state] for state in states]
    return [*([state] for state in states[: most - 1]), list(states[most - 1 :])]
