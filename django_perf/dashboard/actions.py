"""Do what the pages offer to those who may manage: clear, invalidate, retire; each leaves a line in the admin's log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext, override, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

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

    `do` takes a target and a text, and returns what has been done in words, lazily: the log has them in English.
    `asks` names the text that it needs.
    """

    name: str
    label: str
    page: str
    do: Callable[[str, str], Promise]
    asks: str = ""


def _check_cache(alias: str) -> None:
    """Refuse a cache of another kind; ours needs an extra, so nothing of it is imported before one is there."""
    is_ours = alias in settings.CACHES and type(caches[alias]).__module__ == "django_perf.cache.multilevel"
    if not is_ours:
        raise Refused(gettext("there is no cache %(cache)r of django_perf") % {"cache": clean(alias)})


def _clear_cache(alias: str, text: str) -> Promise:
    _check_cache(alias)
    caches[alias].clear()
    return format_lazy(pgettext_lazy("django_perf", "cache {cache}: cleared"), cache=alias)


def _invalidate(alias: str, text: str) -> Promise:
    _check_cache(alias)
    from ..cache.invalidation import invalidate

    tag = text.strip()
    if not 0 < len(tag) <= _MOST_TAG:
        raise Refused(gettext("a tag has 1 to %(most)s characters") % {"most": _MOST_TAG})
    invalidate(tag, alias=alias)
    return format_lazy(
        pgettext_lazy("django_perf", "cache {cache}: tag {tag} invalidated"), cache=alias, tag=clean(tag)
    )


def _retire(alias: str, text: str) -> Promise:
    if alias not in settings.DATABASES:
        raise Refused(pgettext("django_perf", "there is no database %(database)r") % {"database": clean(alias)})
    give(store_alias(), "retire", alias)
    return format_lazy(_("pool {pool}: every process replaces its connections with its next flush"), pool=alias)


def _clear_measurements(target: str, text: str) -> Promise:
    with own_connection() as alias:
        clear(alias)
    return pgettext_lazy("django_perf", "all measurements are deleted")


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
        with override(None):
            logged = str(done)
        LogEntry.objects.create(
            user_id=request.user.pk,  # type: ignore[misc]  # who holds a permission has an id
            content_type_id=ContentType.objects.get_for_model(Performance).pk,
            object_repr=clean(logged, 200),
            action_flag=CHANGE,
            change_message=clean(f"{action.name}: {logged}", 500),
        )
    return str(done)


def offered(page: str, targets: list[str]) -> list[tuple[Action, str]]:
    """Return the actions of a page, each with its target."""
    return [(action, target) for target in targets for action in ACTIONS.values() if action.page == page]
