"""Keep the states of alerts in the store, so that whichever process looks next knows what was found and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from django.db import IntegrityError, transaction

from ..metrics.alert_rules import Rule
from ..store.models import AlertState
from .deciding import State

_FIELDS = ("is_firing", "began", "since", "calm_since", "value", "count", "claimed", "version")
# A worker with older settings must not delete what one with newer settings looks after.
_STRANGE_S = 86_400.0

Key = tuple[str, str]


def load(alias: str) -> dict[Key, State]:
    """Return all states, by rule and endpoint."""
    return {(row.alert, row.endpoint): _state(row) for row in AlertState.objects.using(alias)}


def save(alias: str, known: State | None, state: State) -> State | None:
    """Store a state in the place of the one that was read; None where another process was faster.

    The version is a fence: of two processes that have read the same state one alone goes on with it.
    """
    version = known.version if known else 0
    saved = replace(state, version=version + 1)
    values = {name: getattr(saved, name) for name in _FIELDS} | {"told": {k: list(v) for k, v in saved.told.items()}}
    if known is None:
        return saved if _insert(alias, saved, values) else None
    rows = AlertState.objects.using(alias).filter(alert=state.alert, endpoint=state.endpoint, version=version)
    return saved if rows.update(**values) else None


def _insert(alias: str, state: State, values: dict[str, object]) -> bool:
    try:
        with transaction.atomic(using=alias):
            AlertState.objects.using(alias).create(alert=state.alert, endpoint=state.endpoint, **values)
    except IntegrityError:  # it has just been made elsewhere
        return False
    return True


def forget(alias: str, states: Iterable[State]) -> None:
    """Delete states, unless they have changed."""
    for state in states:
        AlertState.objects.using(alias).filter(
            alert=state.alert, endpoint=state.endpoint, version=state.version
        ).delete()


def forget_strange(alias: str, rules: Mapping[str, Rule], now: float) -> None:
    """Delete the states of rules that are gone, and whose states nobody has touched for a day."""
    rows = AlertState.objects.using(alias).exclude(alert__in=list(rules))
    rows.filter(since__lt=now - _STRANGE_S).delete()


def _state(row: AlertState) -> State:
    told = {channel: (bool(is_firing), float(at)) for channel, (is_firing, at) in row.told.items()}
    return State(row.alert, row.endpoint, told=told, **{name: getattr(row, name) for name in _FIELDS})
