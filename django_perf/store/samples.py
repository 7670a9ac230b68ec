"""Store examples, find them again, and keep no more of them than somebody may want to look at."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.db.models import QuerySet, Sum

from ..metrics.aggregate import Key, hash_of
from ..metrics.samples import BY_LOT, SLOWEST
from ..metrics.samples import Sample as Example
from .models import Sample
from .series import chunked

KEEP_S = 7 * 86_400
MOST_BYTES = 50_000_000
_HOUR_S = 3_600
_AT_ONCE = 100
# Where too many bytes are kept, the oldest go: so many rows at a time.
_CHUNK = 500


def endpoint_hash(route: str, method: str) -> str:
    """Return what an endpoint's examples are found by."""
    return hash_of(("endpoint", route, method))


def insert(alias: str, examples: Iterable[Example]) -> None:
    """Insert the examples of one flush."""
    for chunk in chunked(examples, _AT_ONCE):
        Sample.objects.using(alias).bulk_create([_row(example) for example in chunk])


def _row(example: Example) -> Sample:
    doc = {"reason": example.key[0], **example.doc}
    return Sample(
        series=hash_of(example.key),
        endpoint=endpoint_hash(*example.endpoint),
        at=example.at,
        value=example.value,
        lot=example.lot,
        bytes=len(json.dumps(doc)),
        doc=doc,
    )


def of_series(alias: str, key: Key) -> QuerySet[Sample]:
    """Return the examples of (reason, *labels)."""
    return Sample.objects.using(alias).filter(series=hash_of(key))


def of_endpoint(alias: str, route: str, method: str) -> QuerySet[Sample]:
    """Return the examples of an endpoint, whatever they are examples of."""
    return Sample.objects.using(alias).filter(endpoint=endpoint_hash(route, method))


def trim(alias: str, now: float) -> int:
    """Delete what is old, what did not win in its hour, and what is too much; returns how many.

    Of an hour that runs everything is kept but what has lost already: more can only lose. Deletes by primary key, in
    chunks, so two processes at once do no harm.
    """
    rows = Sample.objects.using(alias)
    deleted = _delete(alias, rows.filter(at__lt=now - KEEP_S).values_list("id", flat=True))
    # The hour that runs and the one before: flushes are late by seconds, and an hour that was trimmed stays trimmed.
    since = (now // _HOUR_S - 1) * _HOUR_S
    deleted += _delete(alias, _losers(rows.filter(at__gte=since).values_list("id", "series", "at", "value", "lot")))
    while (rows.aggregate(bytes=Sum("bytes"))["bytes"] or 0) > MOST_BYTES:
        deleted += _delete(alias, rows.order_by("at").values_list("id", flat=True)[:_CHUNK])
    return deleted


def _losers(rows: Iterable[tuple[int, str, float, int, float]]) -> list[int]:
    """Return the ids of those that are neither among the slowest of their series and hour nor drawn by lot."""
    groups: dict[tuple[str, int], list[tuple[int, int, float]]] = {}
    for id_, series, at, value, lot in rows:
        groups.setdefault((series, int(at // _HOUR_S)), []).append((id_, value, lot))
    losers = []
    for group in groups.values():
        slowest = {id_ for id_, _, _ in sorted(group, key=lambda row: -row[1])[:SLOWEST]}
        drawn = {id_ for id_, _, _ in sorted(group, key=lambda row: -row[2])[:BY_LOT]}
        losers += [id_ for id_, _, _ in group if id_ not in slowest | drawn]
    return losers


def _delete(alias: str, ids: Iterable[int]) -> int:
    deleted = 0
    for chunk in chunked(list(ids), _CHUNK):
        deleted += Sample.objects.using(alias).filter(id__in=chunk).delete()[0]
    return deleted
