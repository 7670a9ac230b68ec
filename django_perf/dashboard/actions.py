"""Do what the pages offer to those who may manage: clear, invalidate, retire; each leaves a line in the admin's log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from django.http import HttpRequest

from ..exceptions import PerfError
from ..metrics.names import clean
from ..metrics.recorder import recorder
from ..store.alias import store_alias
from ..store.housekeeping import clear
from ..store.orders import give
from ..store.writer import own_connection
from .models import Performance

MANAGE = "django_perf.manage_performance"
_MOST_TAG = 200


class Refused(PerfError):
    """What was asked for cannot be done; the text says why."""


@dataclass(frozen=True, slots=True)
class Action:
    """Offer one action: its name, the words on its button, the page that has it, and what it does.

    `do` takes a target and a text, and returns what has been done in words. `asks` names the text that it needs.
    """

    name: str
    label: str
    page: str
    do: Callable[[str, str], str]
    asks: str = ""


def _check_cache(alias: str) -> None:
    """Refuse a cache of another kind; ours needs an extra, so nothing of it is imported before one is there."""
    is_ours = alias in settings.CACHES and type(caches[alias]).__module__ == "django_perf.cache.multilevel"
    if not is_ours:
        raise Refused(f"there is no cache {clean(alias)!r} of django_perf")


def _clear_cache(alias: str, text: str) -> str:
    _check_cache(alias)
    caches[alias].clear()
    return f"cache {alias}: cleared"


def _invalidate(alias: str, text: str) -> str:
    _check_cache(alias)
    from ..cache.invalidation import invalidate

    tag = text.strip()
    if not 0 < len(tag) <= _MOST_TAG:
        raise Refused(f"a tag has 1 to {_MOST_TAG} characters")
    invalidate(tag, alias=alias)
    return f"cache {alias}: tag {clean(tag)} invalidated"


def _retire(alias: str, text: str) -> str:
    if alias not in settings.DATABASES:
        raise Refused(f"there is no database {clean(alias)!r}")
    give(store_alias(), "retire", alias)
    return f"pool {alias}: every process replaces its connections with its next flush"


def _clear_measurements(target: str, text: str) -> str:
    with own_connection() as alias:
        clear(alias)
    return "all measurements are deleted"


ACTIONS = {
    one.name: one
    for one in (
        Action("clear_cache", "Clear", "cache", _clear_cache),
        Action("invalidate", "Invalidate tag", "cache", _invalidate, asks="tag"),
        Action("retire", "Replace all connections", "pool", _retire),
        Action("clear_measurements", "Delete all measurements", "health", _clear_measurements),
    )
}


def act(request: HttpRequest, action: Action, target: str, text: str) -> str:
    """Do it, and log who did; returns what has been done. Raises Refused, and what a cache or the store raises."""
    with recorder.paused():
        done = action.do(target, text)
        LogEntry.objects.create(
            user_id=request.user.pk,  # type: ignore[misc]  # who holds a permission has an id
            content_type_id=ContentType.objects.get_for_model(Performance).pk,
            object_repr=clean(done, 200),
            action_flag=CHANGE,
            change_message=clean(f"{action.name}: {done}", 500),
        )
    return done


def offered(page: str, targets: list[str]) -> list[tuple[Action, str]]:
    """Return the actions of a page, each with its target."""
    return [(action, target) for target in targets for action in ACTIONS.values() if action.page == page]
