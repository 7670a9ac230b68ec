"""Judge compression: heavy endpoints that leave as they are, and time that is spent for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext

from ...reports.compression import DEAR_COMPRESSION, UNCOMPRESSED, WASTED_COMPRESSION, Compressed
from ...reports.compression import endpoints as compressed
from ...reports.sentence import figure
from ...reports.text import text_of
from ...reports.window import Window
from ...store.reader import Snapshot
from ..advice import LOW, MEDIUM, Advice
from .reading import by_scope

NAMES = (UNCOMPRESSED, WASTED_COMPRESSION, DEAR_COMPRESSION)
# Of all bytes that the site sends, or of the time of the endpoint: below that it is a detail.
_MUCH = 0.1


def compression(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find endpoints that are compressed too little or too dearly."""
    for row in snapshot.once(compressed, window):
        found = row.judged()
        if found is not None:
            is_saving = found.rule == UNCOMPRESSED
            share = (_share_of_bytes if is_saving else _share_of_time)(snapshot, window, row)
            said = (_sent if is_saving else _spent)(row, share)
            evidence = f"{said}: {found.evidence}" if found.evidence else said
            cost_ms = 0.0 if is_saving else row.cpu_us() / 1_000
            severity = MEDIUM if share >= _MUCH else LOW
            yield Advice(severity, found.rule, evidence, found.remedy, "compression", cost_ms=cost_ms)


def _share_of_bytes(snapshot: Snapshot, window: Window, row: Compressed) -> float:
    whole = sum(one.bytes("out") for one in snapshot.once(compressed, window))
    return row.uncompressed() / whole if whole else 0.0


def _share_of_time(snapshot: Snapshot, window: Window, row: Compressed) -> float:
    asked = snapshot.once(by_scope, window).get((row.route, row.method))
    return row.cpu_us() / asked.sum.total if asked is not None and asked.sum.total else 0.0


def _sent(row: Compressed, share: float) -> str:
    text = gettext(
        "%(endpoint)s sends %(bytes)s uncompressed, %(share)s of all bytes that are sent, in %(responses)s responses"
    )
    return text % {
        "endpoint": f"{row.method} {row.route}",
        "bytes": text_of(row.uncompressed(), "bytes"),
        "share": f"{share:.0%}",
        "responses": figure(row.count()),
    }


def _spent(row: Compressed, share: float) -> str:
    text = gettext(
        "%(endpoint)s compresses for %(ms)s ms (%(share)s of its time) and saves %(saved)s of %(bytes)s in "
        "%(responses)s responses"
    )
    return text % {
        "endpoint": f"{row.method} {row.route}",
        "ms": figure(row.cpu_us() / 1_000, ",.0f"),
        "share": f"{share:.0%}",
        "saved": text_of(row.saved(), "bytes"),
        "bytes": text_of(row.bytes("in"), "bytes"),
        "responses": figure(row.count()),
    }
