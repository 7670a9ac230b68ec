"""Forget what a change makes wrong: by tag, by model instance, by pattern of keys."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.db.models import Model
from django.db.models.signals import post_delete, post_init, post_save, pre_save

from .computing import TAG_TTL_S, new_epoch
from .decorators import multilevel
from .pending import in_transaction, on_commit

# Where an instance keeps the state it was loaded in, and its names in states that may come back by a rollback.
_SNAPSHOT, _EARLIER = "_django_perf_state", "_django_perf_names"
_GLOB = set("*?[")

Names = Callable[[Any], Iterable["str | Tag"]]
_entities: dict[type[Model], tuple[Names, str]] = {}


class Tag(str):
    """The name of a tag among keys: register_entity(Product, lambda p: [f"product:{p.pk}", Tag("products")])."""

    __slots__ = ()


def invalidate(*targets: str | Model, alias: str = "default", using: str | None = None) -> None:
    """Forget what has a tag, what shows a registered model instance, or what matches a pattern of keys.

    Text with `*`, `?` or `[` is a pattern of the keys as they were given to the cache; other text is a tag. In a
    transaction this waits for its commit, on the database `using`; until then this thread reads past the cache what it
    has touched. Raises LookupError for an instance of a model that is not registered.
    """
    for target in targets:
        if isinstance(target, Model):
            _forget_instance(target, using or target._state.db)
        elif _GLOB & set(target):
            on_commit((), partial(_forget_pattern, target, alias), using, f"{alias}:key:{target}")
        else:
            _forget_names([Tag(target)], alias, using)


def register_entity(model: type[Model], names: Names, alias: str = "default") -> None:
    """Forget keys and tags whenever an instance of a model is saved or deleted.

    `names` returns keys, and tags as Tag("..."), of an instance; it is called with the instance as it is now and as it
    was when it was loaded, so that the list that an instance leaves is forgotten too. `bulk_create`, `bulk_update` and
    `QuerySet.update` send no signals: call invalidate() there.
    """
    _entities[model] = names, alias
    receivers = ((post_init, _remember), (pre_save, _complete), (post_save, _changed), (post_delete, _changed))
    for signal, receiver in receivers:
        signal.connect(receiver, model, dispatch_uid=f"django_perf.cache.{model._meta.label}")


def _remember(instance: Model, **kwargs: Any) -> None:
    instance.__dict__[_SNAPSHOT] = dict(instance.__dict__)


def _complete(instance: Model, using: str | None = None, **kwargs: Any) -> None:
    """Look up what a field held that was not loaded with the instance, and is about to be overwritten."""
    before = instance.__dict__.get(_SNAPSHOT)
    if before is None or before.get(instance._meta.pk.attname) is None or instance._state.adding:
        return
    unknown = [
        field.attname
        for field in instance._meta.concrete_fields
        if field.attname in instance.__dict__ and field.attname not in before
    ]
    if unknown:
        rows = type(instance)._base_manager.using(using).filter(pk=before[instance._meta.pk.attname])
        before.update(rows.values(*unknown).first() or {})


def _changed(instance: Model, using: str | None = None, **kwargs: Any) -> None:
    found = _forget_instance(instance, using)
    for name in (_SNAPSHOT, _EARLIER):
        instance.__dict__.pop(name, None)
    _remember(instance)
    if in_transaction(using):
        # Which may be rolled back, and the row is where it was before.
        instance.__dict__[_EARLIER] = found


def _forget_instance(instance: Model, using: str | None) -> set[str]:
    """Forget what shows an instance; returns its names."""
    entity = next((_entities[one] for one in type(instance).__mro__ if one in _entities), None)
    if entity is None:
        raise LookupError(
            f"{type(instance).__name__} is not registered: call register_entity({type(instance).__name__}, ...)"
        )
    names, alias = entity
    found = {*names(instance), *instance.__dict__.get(_EARLIER, ())}
    before = instance.__dict__.get(_SNAPSHOT)
    if before is not None and before.get(instance._meta.pk.attname) is not None:
        old = copy.copy(instance)
        old.__dict__.update(before)
        # Relations that were followed since belong to the new state.
        old._state = copy.copy(instance._state)
        old._state.fields_cache = {}
        found.update(names(old))
    _forget_names(found, alias, using)
    return found


def _forget_names(names: Iterable[str], alias: str, using: str | None) -> None:
    tags = sorted({str(name) for name in names if isinstance(name, Tag)})
    keys = sorted({name for name in names if not isinstance(name, Tag)})
    touched = [*(f"{alias}:tag:{tag}" for tag in tags), *(f"{alias}:key:{key}" for key in keys)]
    on_commit(touched, partial(_forget, tags, keys, alias), using)


def _forget(tags: list[str], keys: list[str], alias: str) -> None:
    cache = multilevel(alias)
    if cache is None:
        return
    if tags:
        # Another epoch: what was stored under the old one, or is being computed under it, is no longer found.
        epochs = {cache.levels.keys.tag(tag): new_epoch() for tag in tags}
        cache.levels.write_many(epochs, TAG_TTL_S)
        cache.levels.tally.count("tags_invalidated", len(tags))
    if keys:
        cache.delete_many(keys)


def _forget_pattern(pattern: str, alias: str) -> None:
    cache = multilevel(alias)
    if cache is not None:
        cache.delete_pattern(pattern)
