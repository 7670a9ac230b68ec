"""Number the series of the store, and bound them for the whole cluster."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from ..metrics.aggregate import Aggregate, Key, Table, hash_of, merge_table
from ..metrics.cardinality import Cardinality
from ..metrics.catalog import KINDS
from .models import Series
from .tiers import DAY, HOUR

_AT_ONCE = 500

Item = TypeVar("Item")


def key_of(series: Series) -> Key:
    """Return the key that a row stands for."""
    return (series.kind, *json.loads(series.labels))


def numbered(alias: str, table: Table, minute: int) -> dict[int, dict[int, Aggregate]]:
    """Return the aggregates of `table` by kind number and series id; make rows for new series.

    Names above the cluster's caps are merged into (other): every count is kept. last_seen is refreshed once an hour.
    """
    hashes = {hash_of(key): key for key in table}
    known = _find(alias, hashes)
    unknown = {hashes[hash_]: table[hashes[hash_]] for hash_ in hashes if hash_ not in known}
    if unknown:
        admitted = _capped(alias, unknown, minute)
        known |= _made(alias, admitted, minute)
        table = {key: value for key, value in table.items() if key not in unknown}
        merge_table(table, admitted)
    _refresh(alias, known.values(), minute)
    by_id: dict[int, dict[int, Aggregate]] = defaultdict(dict)
    for key, aggregate in table.items():
        by_id[KINDS[key[0]].number][known[hash_of(key)][0]] = aggregate
    return by_id


def _capped(alias: str, table: Table, minute: int) -> Table:
    """Admit first what was seen within a day: so dead names make room, and the names of a deploy find some."""
    rules = Cardinality()
    recent = Series.objects.using(alias).filter(last_seen__gte=minute - DAY).order_by("id")
    for row in recent.iterator(chunk_size=2_000):
        rules.admit(key_of(row))
    result: Table = {}
    for key, aggregate in table.items():
        merge_table(result, {rules.admit(key): aggregate})
    return result


def _made(alias: str, table: Table, minute: int) -> dict[str, tuple[int, int]]:
    rows = [_row(key, minute) for key in table]
    Series.objects.using(alias).bulk_create(rows, batch_size=_AT_ONCE, ignore_conflicts=True)
    return _find(alias, [row.key_hash for row in rows])


def _refresh(alias: str, seen: Iterable[tuple[int, int]], minute: int) -> None:
    stale = [id_ for id_, last_seen in seen if last_seen < minute - HOUR]
    for chunk in chunked(stale, _AT_ONCE):
        Series.objects.using(alias).filter(id__in=chunk).update(last_seen=minute)


def _find(alias: str, hashes: Iterable[str]) -> dict[str, tuple[int, int]]:
    found = {}
    for chunk in chunked(hashes, _AT_ONCE):
        rows = Series.objects.using(alias).filter(key_hash__in=chunk).values_list("key_hash", "id", "last_seen")
        found.update({hash_: (id_, last_seen) for hash_, id_, last_seen in rows})
    return found


def _row(key: Key, minute: int) -> Series:
    labels = json.dumps(key[1:], ensure_ascii=False)
    return Series(key_hash=hash_of(key), kind=key[0], labels=labels, first_seen=minute, last_seen=minute)


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut `items` into lists of at most `size`; SQLite takes 999 parameters a statement."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
