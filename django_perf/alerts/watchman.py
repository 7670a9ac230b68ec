"""Look at the figures once a minute, and tell what has changed: the last chore of whoever has the compactor's lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from ..conf import Settings, get_settings
from ..metrics.alert_rules import Rule
from ..metrics.limits import EACH, SITE
from ..metrics.recorder import recorder
from ..store.reader import consistent
from . import states
from .channels import channels
from .deciding import State, decided, due, is_over
from .judging import judged, unseen
from .messages import Message, written
from .signals import alert_changed
from .telling import LIMIT_S, News, Outcome, Teller


class Watchman:
    """Judge all rules, keep their states and tell of changes; called by the housekeeper, and raises nothing.

    `clock` gives the seconds since 1970, `limit_s` is how long telling may take.
    """

    def __init__(self, clock: Callable[[], float] = time.time, limit_s: float = LIMIT_S) -> None:
        self._clock = clock
        self._teller = Teller(limit_s)

    def __call__(self, alias: str) -> None:
        """Look, if there is a rule; a fault of ours is counted."""
        try:
            settings = get_settings()
            if settings.alerts:
                self._look(alias, settings)
        except Exception as error:
            recorder.lost("error", f"alerts: {type(error).__name__}")

    def _look(self, alias: str, settings: Settings) -> None:
        now, rules, ways = self._clock(), {rule.id: rule for rule in settings.alerts}, channels(settings)

        def write(part: Sequence[State]) -> Message:
            return written(part, rules, path_of)

        def due_of(state: State) -> list[str]:
            return due(state, ways, now, settings.alert_every)

        news = _keep(alias, rules, now, due_of)
        outcome = self._teller.tell(news, ways, write)
        confirmed = [_confirm(alias, state, outcome, now) if to else state for state, to in news]
        states.forget(alias, [state for state in confirmed if is_over(state, ways, now)])
        states.forget_strange(alias, rules, now)


def _keep(alias: str, rules: Mapping[str, Rule], now: float, due_of: Callable[[State], list[str]]) -> list[News]:
    """Store what has become of each alert; return those that this process looks after, and claims to tell of."""
    found = consistent(alias, lambda snapshot: judged(snapshot, rules.values(), now))
    known = states.load(alias)
    news: list[News] = []
    for id_, endpoint in sorted({*found, *known}):
        rule, before = rules.get(id_), known.get((id_, endpoint))
        if rule is None:  # of a process with other settings
            continue
        verdict = replace(found.get((id_, endpoint)) or unseen(rule, endpoint), endpoint=endpoint)
        state = decided(rule, before, verdict, now)
        if state is not None and (one := _kept(alias, before, state, due_of(state), now)):
            news.append(one)
            _signal(rule, before, one[0])
    return news


def _kept(alias: str, before: State | None, state: State, to: list[str], now: float) -> News | None:
    """Store a state; None where another process has been faster, which then tells of it."""
    wanted = replace(state, claimed=now) if to else state
    saved = wanted if wanted == before else states.save(alias, before, wanted)
    return None if saved is None else (saved, to)


def _confirm(alias: str, state: State, outcome: Outcome, now: float) -> State:
    """Note who knows. What failed is free for the next round; what is still under way stays claimed."""
    key = state.alert, state.endpoint
    told = dict(state.told) | dict.fromkeys(outcome.sent.get(key, ()), (state.is_firing, now))
    claimed = state.claimed if key in outcome.under_way else 0.0
    return states.save(alias, state, replace(state, told=told, claimed=claimed)) or state


def _signal(rule: Rule, before: State | None, state: State) -> None:
    """Let other apps hear of a change; a fault of theirs is counted."""
    if (before is not None and before.is_firing) == state.is_firing:
        return
    answers = alert_changed.send_robust(
        rule, alert=rule.title, is_firing=state.is_firing, value=state.value, endpoint=state.endpoint
    )
    for _, answer in answers:
        if isinstance(answer, Exception):
            recorder.lost("error", f"alert signal: {type(answer).__name__}")


def path_of(endpoint: str) -> str:
    """Return the path of the page that shows an endpoint, "" where the admin is not routed."""
    is_one = endpoint not in (SITE, EACH)
    method, _, route = endpoint.partition(" ")
    try:
        path = reverse(f"admin:django_perf_performance_{'endpoint' if is_one else 'changelist'}")
    except NoReverseMatch:
        return ""
    return f"{path}?{urlencode({'route': route, 'method': method})}" if is_one else path
