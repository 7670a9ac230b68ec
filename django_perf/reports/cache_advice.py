"""Judge a cache by what was measured: arithmetic, and sentences in the language of the reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.translation import gettext, gettext_noop, pgettext

from .judgement import Judgement
from .sentence import figure

LEVEL_AWAY, WEAK_COHERENCE, FOREIGN_VALUES = "level_away", "weak_coherence", "foreign_values"
LOW_HIT_RATE, STAMPEDE, WAITING_READERS = "low_hit_rate", "stampede", "waiting_readers"
SMALL_MEMORY, BIG_VALUES, BUSY_KEYS, STORE_REFUSED = "small_memory", "big_values", "busy_keys", "store_refused"

# Fewer of something say nothing yet.
_FEW, _MANY = 100, 1_000
_LOW, _HIGH = 0.5, 0.8
# Of the values that were read from below, so many may come too late for memory.
_REFUSED = 0.1
# Of the reads. One of Redis takes some 80 us, one of memory 1: 5 of 100 that go there cost four times as much as the
# other 95 together.
_WORTH = 0.05
# Of what is stored, and so many at least: two threads that miss at the same time by chance are no stampede.
_RACED, _FEW_RACES = 0.1, 10


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold the figures of one cache over a window, all processes together, and its levels and states now.

    `reads` and `l1` count keys, `from_below` those that memory had not and another level had, `ghost_hits` those that
    memory would have had with twice the room, `waited` the readers that somebody else computed a value for. `open`
    names the levels that a process leaves alone; `fallen_back` is the coherence that took the place of a better one, ""
    when none did.
    """

    processes: int = 0
    reads: int = 0
    l1: int = 0
    from_below: int = 0
    evicted: int = 0
    ghost_hits: int = 0
    waited: int = 0
    refused: int = 0
    too_big: int = 0
    foreign: int = 0
    store_refused: int = 0
    bytes: int = 0
    max_entries: int = 0
    max_bytes: int = 0
    open: dict[str, int] = field(default_factory=dict)
    fallen_back: str = ""


@dataclass(frozen=True, slots=True)
class KeysUsage:
    """Hold the figures of one pattern of keys; `again` are writes of what another thread had computed meanwhile."""

    hits: int
    reads: int
    sets: int
    again: int = 0


_FALLEN_BACK = {
    "pubsub": (
        gettext_noop("Redis refuses CLIENT TRACKING, so the processes tell each other of writes (pubsub)"),
        gettext_noop("let its ACL allow the user +client|tracking"),
    ),
    "ttl": (
        gettext_noop(
            "Redis refuses CLIENT TRACKING and SUBSCRIBE, so nobody tells of writes (ttl), and memory lags by seconds"
        ),
        gettext_noop("let its ACL allow the user +client|tracking, or +subscribe +publish and the channels &*"),
    ),
}


def judged(usage: Usage) -> list[Judgement]:
    """Return what is wrong with a cache, the most urgent first; nothing when all is well."""
    return [*_outages(usage), *_coherence(usage), *_hits(usage), *_room(usage), *_waste(usage)]


def _outages(usage: Usage) -> Iterator[Judgement]:
    for level, count in usage.open.items():
        yield Judgement(
            LEVEL_AWAY,
            gettext("Level %(level)s does not answer %(count)s of %(all)s processes, and they do without it")
            % {"level": level, "count": count, "all": usage.processes},
            gettext("the log names the error; it is asked again in the background"),
        )


def _coherence(usage: Usage) -> Iterator[Judgement]:
    if usage.fallen_back in _FALLEN_BACK:  # a cache that has been closed since has none at all
        yield Judgement(WEAK_COHERENCE, *map(gettext, _FALLEN_BACK[usage.fallen_back]))
    if usage.foreign:
        yield Judgement(
            FOREIGN_VALUES,
            gettext("%(count)s values were sealed by nobody we know") % {"count": figure(usage.foreign)},
            gettext(
                "SECRET_KEY differs between the workers (SECRET_KEY_FALLBACKS holds the old one while it changes), "
                "or somebody else writes under this KEY_PREFIX"
            ),
        )


def _hits(usage: Usage) -> Iterator[Judgement]:
    hits = usage.l1 + usage.from_below
    # What only lacks room is told as such.
    if usage.reads > _MANY and hits + usage.ghost_hits < _LOW * usage.reads:
        yield Judgement(
            LOW_HIT_RATE,
            gettext("Only %(hits)s of %(reads)s reads hit (%(share)s)")
            % {"hits": figure(hits), "reads": figure(usage.reads), "share": f"{hits / usage.reads:.0%}"},
            gettext(
                "see which patterns of keys miss: longer TTLs, fewer things in the key, or no cache at all for them"
            ),
        )


def _room(usage: Usage) -> Iterator[Judgement]:
    if usage.ghost_hits > max(_FEW, _WORTH * usage.reads):
        yield _small_memory(usage)
    if usage.too_big > _FEW:
        yield Judgement(
            BIG_VALUES,
            gettext("%(count)s times a value was larger than a quarter of L1's max_bytes and not kept in memory")
            % {"count": figure(usage.too_big)},
            gettext("raise max_bytes, or name the keys in l1_exclude"),
        )


def _small_memory(usage: Usage) -> Judgement:
    evidence = gettext(
        "Memory evicts %(evicted)s entries and answers only %(share)s of the reads; "
        "with twice the room it would have had %(more)s more"
    )
    share = usage.l1 / usage.reads if usage.reads else 0.0
    figures = {"evicted": figure(usage.evicted), "share": f"{share:.0%}", "more": figure(usage.ghost_hits)}
    is_full = usage.bytes > _HIGH * usage.max_bytes
    limit, now = ("max_bytes", usage.max_bytes) if is_full else ("max_entries", usage.max_entries)
    remedy = pgettext("django_perf", "raise L1's %(limit)s, now %(now)s")
    return Judgement(
        SMALL_MEMORY, evidence % figures, remedy % {"limit": limit, "now": figure(now // max(1, usage.processes))}
    )


def _waste(usage: Usage) -> Iterator[Judgement]:
    if usage.refused > max(_FEW, _REFUSED * usage.from_below):
        yield Judgement(
            BUSY_KEYS,
            gettext("%(count)s values changed while memory was filled with them") % {"count": figure(usage.refused)},
            gettext("name the keys that are written all the time in l1_exclude"),
        )
    if usage.store_refused > _FEW:
        yield Judgement(
            STORE_REFUSED,
            gettext(
                "%(count)s computed values were not stored, because they were invalidated meanwhile or no "
                "level took them"
            )
            % {"count": figure(usage.store_refused)},
            gettext("invalidate less, or compute faster"),
        )
    if usage.waited > max(_FEW, _WORTH * usage.reads):
        yield Judgement(
            WAITING_READERS,
            gettext("%(waited)s of %(reads)s reads waited for a value that somebody else computed")
            % {"waited": figure(usage.waited), "reads": figure(usage.reads)},
            gettext("give it `stale`, so that the old one is served meanwhile, or a `warmer`"),
        )


def judged_keys(usage: KeysUsage) -> Judgement | None:
    """Return what is wrong with the keys of one pattern, the most urgent; None when nothing."""
    if usage.again > max(_FEW_RACES, _RACED * usage.sets):
        return Judgement(
            STAMPEDE,
            gettext("%(again)s of %(sets)s values were computed though another thread was at it already")
            % {"again": figure(usage.again), "sets": figure(usage.sets)},
            gettext("use cache_result() or get_or_set(): of many that miss at the same time, one computes"),
        )
    if usage.reads > _MANY and usage.hits < _LOW * usage.reads and usage.sets > usage.hits:
        return Judgement(
            LOW_HIT_RATE,
            gettext("Only %(hits)s of %(reads)s reads hit, and more is stored than found")
            % {"hits": figure(usage.hits), "reads": figure(usage.reads)},
            gettext("it is not worth caching"),
        )
    return None
