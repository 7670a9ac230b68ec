"""Report compression: what it saves and costs by endpoint, and what becomes of responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext, gettext_noop, pgettext

from ..metrics.catalog import COMPRESSION
from ..store.reader import Snapshot, Sum
from .judgement import Judgement
from .report import Column, Report, Value
from .window import Window

CODINGS = ("dcz", "zstd", "br", "gzip")
_MEANINGS = {
    **dict.fromkeys(CODINGS, "compressed"),
    "small": "below MIN_SIZE",
    "not_smaller": "compressing gained nothing",
    "type": "a type outside of CONTENT_TYPES",
    "encoded": "had a Content-Encoding or Content-Range",
    "status": "a status without a whole body",
    "not_modified": "304: nothing was sent",
    "no_transform": "Cache-Control: no-transform",
    "asked_not_to": "the client sent Cache-Control: no-transform",
    "opted_out": "no_compress",
    "not_accepted": "the client accepts no coding that is offered",
    "cross_site": "another site asked with the visitor's cookies",
}
# Fewer responses say nothing yet, and less than this is not worth a look.
_FEW, _MUCH_BYTES = 100, 2**20
# On average. What fits into the first ten packets arrives as fast, compressed or not (RFC 6928).
_HEAVY_BYTES = 10_000
_DEAR_US = 5_000
# The time that a byte takes at 100 Mbit/s. zstd 3 takes some 2 ns for each byte that it saves of 32 KB, zlib 6 and
# brotli 5 some 11.
_DEAR_NS_PER_BYTE = 80
# Below that nobody feels it, whatever it saves.
_MUCH_US = 1_000_000
WASTED_COMPRESSION, UNCOMPRESSED, DEAR_COMPRESSION = "wasted_compression", "uncompressed", "dear_compression"
# What somebody has decided, and may not know to be much; "small", "encoded" and the like are as they should be.
_LEFT_ALONE = {
    "no_transform": gettext_noop("leave no-transform out of its Cache-Control if no proxy spoils it"),
    "opted_out": gettext_noop(
        "take no_compress off it: the length of what is compressed is padded, and tells no secret"
    ),
    "not_accepted": gettext_noop("see whether a proxy before this site takes Accept-Encoding away"),
}


@dataclass(slots=True)
class Outcome:
    """Add up the responses of all endpoints that ended alike."""

    name: str
    sum: Sum = field(default_factory=Sum)

    def bytes(self, side: str) -> int:
        """Return the bytes before ("in") or after ("out")."""
        return self.sum.counter(COMPRESSION, f"bytes_{side}")

    def is_compressed(self) -> bool:
        """Tell whether they left in a coding."""
        return self.name in CODINGS

    def ratio(self) -> float | None:
        """Return the part of the bytes that was sent, None where nothing was compressed."""
        before = self.bytes("in")
        return self.bytes("out") / before if before and self.is_compressed() else None

    def mean_us(self) -> float | None:
        """Return the CPU time of one response, None where nothing was compressed."""
        return self.sum.mean if self.sum.total else None


@dataclass(slots=True)
class Compressed:
    """Hold the responses of one endpoint, by what became of them."""

    route: str
    method: str
    outcomes: list[Outcome] = field(default_factory=list)

    def count(self) -> int:
        """Return how many responses there were."""
        return sum(one.sum.count for one in self.outcomes)

    def bytes(self, side: str) -> int:
        """Return the bytes before ("in") or after ("out")."""
        return sum(one.bytes(side) for one in self.outcomes)

    def saved(self) -> int:
        """Return the bytes that were not sent."""
        return self.bytes("in") - self.bytes("out")

    def share(self) -> float | None:
        """Return the part of the responses that was compressed."""
        count = self.count()
        return sum(one.sum.count for one in self.outcomes if one.is_compressed()) / count if count else None

    def ratio(self) -> float | None:
        """Return the part of the bytes that was sent."""
        before = self.bytes("in")
        return self.bytes("out") / before if before else None

    def cpu_us(self) -> int:
        """Return the CPU time of all of it."""
        return sum(one.sum.total for one in self.outcomes)

    def dearest_us(self) -> int:
        """Return the CPU time of the dearest response."""
        return max((one.sum.max for one in self.outcomes if one.sum.count), default=0)

    def most(self) -> str:
        """Return what became of most responses."""
        return max(self.outcomes, key=lambda one: one.sum.count).name

    def uncompressed(self) -> int:
        """Return the bytes of the responses that left as they were, though they could be compressed."""
        return sum(one.bytes("in") for one in self.outcomes if one.name == "type" or one.name in _LEFT_ALONE)

    def _is_heavy(self, name: str) -> bool:
        """Tell whether much, and in large pieces, left as it was for a reason."""
        own = (one for one in self.outcomes if one.name == name)
        return any(one.bytes("in") > max(_MUCH_BYTES, _HEAVY_BYTES * one.sum.count) for one in own)

    def judged(self) -> Judgement | None:
        """Return what is wrong and what to do, that which spares most; None when nothing."""
        counts = {one.name: one.sum.count for one in self.outcomes}
        whole = sum(counts.values())
        if whole < _FEW:
            return None
        if counts.get("not_smaller", 0) * 2 > whole:
            remedy = gettext("leave its type out of CONTENT_TYPES, or use no_compress")
            return Judgement(WASTED_COMPRESSION, pgettext("django_perf", "compressing gains nothing here"), remedy)
        return self._uncompressed() or self._dear()

    def _uncompressed(self) -> Judgement | None:
        """Tell of much that leaves as it is; what is encoded already is not meant."""
        if self._is_heavy("type") and (self.share() or 0) == 0:
            return Judgement(UNCOMPRESSED, "", gettext("its type is not in CONTENT_TYPES; if it is text, add it"))
        for name, remedy in _LEFT_ALONE.items():
            if self._is_heavy(name):
                return Judgement(UNCOMPRESSED, pgettext("django_perf", _MEANINGS[name]), gettext(remedy))
        return None

    def _dear(self) -> Judgement | None:
        dearest_us = self.dearest_us()
        # All of it takes no longer than each taking as long as the dearest; as a rule that spares to add it up.
        is_much = dearest_us * self.count() > _MUCH_US and self.cpu_us() > _MUCH_US
        if is_much and self.cpu_us() * 1_000 > _DEAR_NS_PER_BYTE * self.saved():
            evidence = gettext("compressing takes longer than sending what it saves")
            return Judgement(DEAR_COMPRESSION, evidence, gettext("use PROFILE fast, or no_compress"))
        if dearest_us > _DEAR_US:
            evidence = gettext("one response costs milliseconds to compress")
            return Judgement(DEAR_COMPRESSION, evidence, gettext("paginate it, or use PROFILE fast"))
        return None

    def advice(self) -> str:
        """Return what to do, "" when nothing."""
        found = self.judged()
        return found.text if found else ""


def endpoints(snapshot: Snapshot, window: Window) -> list[Compressed]:
    """Return one row per endpoint that answered in the window."""
    found: dict[tuple[str, str], Compressed] = {}
    for (route, method, outcome), sum_ in snapshot.sums(COMPRESSION, window.span).items():
        row = found.setdefault((route, method), Compressed(route, method))
        row.outcomes.append(Outcome(outcome, sum_))
    return list(found.values())


def outcomes(snapshot: Snapshot, window: Window) -> list[Outcome]:
    """Return one row per coding, and per reason to leave a response alone."""
    found: dict[str, Outcome] = {}
    for (_, _, outcome), sum_ in snapshot.sums(COMPRESSION, window.span).items():
        found.setdefault(outcome, Outcome(outcome)).sum.merge(sum_)
    return list(found.values())


def _totals(snapshot: Snapshot, window: Window, rows: Sequence[Compressed]) -> Mapping[str, Value]:
    return {
        "count": sum(row.count() for row in rows),
        "bytes_in": sum(row.bytes("in") for row in rows),
        "bytes_out": sum(row.bytes("out") for row in rows),
        "saved": sum(row.saved() for row in rows),
        "cpu_us": sum(row.cpu_us() for row in rows),
    }


COMPRESSIONS = Report[Compressed](
    name="compression",
    title="Compression by endpoint",
    order="saved",
    rows=endpoints,
    totals=_totals,
    keys=("route", "method"),
    columns=(
        Column("route", "Route", "text", lambda row: row.route),
        Column("method", "Method", "text", lambda row: row.method),
        Column("count", "Responses", "count", Compressed.count),
        Column("share", "Compressed", "ratio", Compressed.share),
        Column("most", "Mostly", "text", Compressed.most),
        Column("bytes_in", "Before", "bytes", lambda row: row.bytes("in")),
        Column("bytes_out", "Sent", "bytes", lambda row: row.bytes("out")),
        Column("saved", "Saved", "bytes", Compressed.saved),
        Column("ratio", "Of its size", "ratio", Compressed.ratio),
        Column("cpu_us", "CPU", "us", Compressed.cpu_us),
        Column("dearest_us", "Dearest", "us", Compressed.dearest_us, is_detail=True),
        Column("advice", "Advice", "text", Compressed.advice),
    ),
)

COMPRESSION_OUTCOMES = Report[Outcome](
    name="compression_outcomes",
    title="What became of responses",
    order="count",
    rows=outcomes,
    keys=("outcome",),
    columns=(
        Column("outcome", "Outcome", "text", lambda row: row.name),
        Column("meaning", "Meaning", "text", lambda row: _MEANINGS.get(row.name, "")),
        Column("count", "Responses", "count", lambda row: row.sum.count),
        Column("bytes_in", "Before", "bytes", lambda row: row.bytes("in")),
        Column("bytes_out", "Sent", "bytes", lambda row: row.bytes("out")),
        Column("ratio", "Of its size", "ratio", Outcome.ratio),
        Column("mean_us", "CPU each", "us", Outcome.mean_us),
        Column("cpu_us", "CPU", "us", lambda row: row.sum.total),
    ),
)
