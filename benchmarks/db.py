"""What does measuring SQL add to a query? Ours, everything on and nothing sampled, beside its rivals, on SQLite.

Two processes that do the same differ by 1.5 %, whatever they measure, by where their memory happens to lie. So each
configuration is started afresh in several groups: rounds are interleaved within a group, its figure is the median over
them of the ratio to bare Django of the same round and of the microseconds added to it, and what is printed is the
median over groups, beside the ratios between which half of them lie.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version

from benchmarks.requests import BARE, OURS, Server, View, added_us, chosen, command_line, measure, ratio, started
from django_perf.db.shapes import Shapes

AGAIN = "bare again"
NAMES = (BARE, AGAIN, OURS, "django-prometheus", "OpenTelemetry", "django-silk", "django-debug-toolbar")
PACKAGES = ("Django", "django-prometheus", "opentelemetry-sdk", "django-silk", "django-debug-toolbar")
NO_QUERY, DISTINCT, ALIKE = "/hello", "/distinct/50", "/queries/50"
QUERIES = 50
# To tell 3 x from 4 x takes fewer processes than to tell 1.03 x from 1.04 x; these take part in each third group.
_SLOW = {"django-silk", "django-debug-toolbar"}
_EACH_SLOW = 3
# Address, title, requests per round, target ratio of ours.
VIEWS: tuple[View, ...] = (
    (NO_QUERY, "no query", 120, None),
    (DISTINCT, "50 distinct queries", 12, 1.04),
    (ALIKE, "50 queries alike, an N+1", 12, 1.04),
    ("/transaction", "a transaction of 1 read and 1 write", 80, None),
    ("/rows", "1 query of 1,000 rows", 20, None),
)
# The most microseconds that ours may add to a query.
TARGETS_US = {DISTINCT: 3.0}
FIRST_SIGHTS, HITS, LONG_TARGET_MS = 200, 20_000, 1.0


# --- requests -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figure:
    """Say what one configuration adds to one view; in one group, or in the middle of all."""

    ratio: float
    added_us: float
    query_us: float


# What a group has measured: by configuration, by address.
Group = dict[str, dict[str, Figure]]


def members(names: Sequence[str], number: int) -> list[str]:
    """Return the configurations that take part in a group."""
    return [name for name in names if name not in _SLOW or number % _EACH_SLOW == 0]


def run_group(names: Sequence[str], rounds: int) -> tuple[Group, dict[str, float]]:
    """Measure each configuration in a process of its own; return its figures, and bare Django's microseconds."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = [stack.enter_context(started(name, folder)) for name in names]
        for server in servers:
            check(server)
        measure(servers, rounds, VIEWS)
    bare = servers[0].seconds
    figures = {server.name: figures_of(server.seconds, bare) for server in servers}
    return figures, {address: statistics.median(seconds) * 1e6 for address, seconds in bare.items()}


def check(server: Server) -> None:
    """End the run if a configuration does not record all queries of a request: it would be compared for nothing."""
    for address in (DISTINCT, ALIKE):
        found, expected = server.recorded(address), 0 if server.name in {BARE, AGAIN} else QUERIES
        if found != expected:
            sys.exit(f"{server.name} recorded {found} statements of {address}, not {expected}")


def figures_of(own: dict[str, list[float]], bare: dict[str, list[float]]) -> dict[str, Figure]:
    """Return the figures of one configuration by address, from the seconds of its rounds."""
    added = {address: added_us(seconds, bare[address]) for address, seconds in own.items()}
    return {
        address: Figure(ratio(seconds, bare[address]), added[address], (added[address] - added[NO_QUERY]) / QUERIES)
        for address, seconds in own.items()
    }


def report(groups: Sequence[Group], bare: Sequence[dict[str, float]]) -> None:
    """Print a table per view."""
    for address, title, _, target in VIEWS:
        print(f"\n{title}: bare {statistics.median(one[address] for one in bare):.0f} us")
        for name in groups[0]:
            if name != BARE:
                figures = [group[name][address] for group in groups if name in group]
                print(f"  {name:20} {describe(name, address, figures, target)}")


def describe(name: str, address: str, figures: Sequence[Figure], target: float | None) -> str:
    """Return one row of a table: the medians of the groups, where half of the ratios lie, the targets if it is ours."""
    ratios, quarter = sorted(one.ratio for one in figures), len(figures) // 4
    middle, query_us = statistics.median(ratios), statistics.median(one.query_us for one in figures)
    row = f"{middle:7.3f} x ({ratios[quarter]:6.3f} to {ratios[-1 - quarter]:6.3f})"
    row += f"   {statistics.median(one.added_us for one in figures):+9.1f} us"
    if address in {DISTINCT, ALIKE}:
        row += f"   {query_us:+8.2f} us a query"
    if name != OURS or target is None:
        return row
    goals = [(middle, target, "x"), (query_us, TARGETS_US.get(address), "us a query")]
    return row + "".join(at_most(value, goal, unit) for value, goal, unit in goals if goal is not None)


def at_most(value: float, target: float, unit: str) -> str:
    """Say how a figure stands to an upper target."""
    return f"   target <= {target:g} {unit}{'' if value <= target else ' MISSED'}"


# --- fingerprints -------------------------------------------------------------------------------------------------

TYPICAL = (
    'SELECT "shop_order"."id", "shop_order"."number", "shop_order"."customer_id", "shop_order"."placed_at", '
    '"shop_order"."status", "shop_order"."total", "shop_customer"."id", "shop_customer"."name", '
    '"shop_customer"."email", "shop_customer"."country" FROM "shop_order" INNER JOIN "shop_customer" ON '
    '("shop_order"."customer_id" = "shop_customer"."id") WHERE ("shop_customer"."country" = %s AND '
    '"shop_order"."placed_at" >= %s AND NOT ("shop_order"."status" IN (%s, %s, %s))) '
    'ORDER BY "shop_order"."placed_at" DESC, "shop_order"."id" ASC LIMIT 25'
)
_SELECT, _INSERT = 'SELECT "shop_order"."id" FROM "shop_order" WHERE "id" IN ({})', 'INSERT INTO "shop_note" VALUES {}'
LONG = {
    "a list of parameters": _SELECT.format(", ".join(["%s"] * 75_000)),
    "a list of numbers": _SELECT.format(", ".join(str(100_000 + number) for number in range(37_500))),
    "rows of texts": _INSERT.format(", ".join(["(%s, 'It''s a note of 20', NULL)"] * 8_800)),
    "nothing to leave out": " UNION ALL ".join([TYPICAL] * 548),
}


def fresh(sql: str) -> str:
    """Return an equal text whose hash nobody has asked for: the ORM makes a new one for each query."""
    return "".join([sql[:1], sql[1:]])


def seconds_each(texts: Sequence[str], find: Callable[[str], object]) -> float:
    """Return the seconds for one call."""
    started_at = time.perf_counter()
    for text in texts:
        find(text)
    return (time.perf_counter() - started_at) / len(texts)


def first_sight_us(sql: str) -> float:
    """Return the median microseconds to find the shape of a text that is not known yet."""
    sights: Iterable[Shapes] = (Shapes("default", "postgresql") for _ in range(FIRST_SIGHTS))
    return statistics.median(seconds_each([fresh(sql)], shapes.find) for shapes in sights) * 1e6


def hit_us(sql: str) -> float:
    """Return the microseconds to find the shape of a text that is known, hashing it included."""
    shapes = Shapes("default", "postgresql")
    shapes.find(sql)
    known = shapes.known.__getitem__  # as the cursor looks it up
    return statistics.median(seconds_each([fresh(sql) for _ in range(HITS)], known) for _ in range(9)) * 1e6


def fingerprints() -> None:
    """Print what it takes to reduce a statement to its shape, by PostgreSQL's rules: they are the longest."""
    print("\nfingerprint of a statement")
    print(f"  first sight, {len(TYPICAL)} characters: {first_sight_us(TYPICAL):.0f} us")
    print(f"  known, {len(TYPICAL)} characters: {hit_us(TYPICAL):.2f} us")
    for title, sql in LONG.items():
        milliseconds = first_sight_us(sql) / 1e3
        size = f"first sight, {len(sql) / 1e3:.0f} kB, {title}"
        print(f"  {size}: {milliseconds:.2f} ms{at_most(milliseconds, LONG_TARGET_MS, 'ms')}")


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__, NAMES, rounds=7)
    parser.add_argument("--groups", type=int, default=15)
    options = parser.parse_args()
    names = chosen(NAMES, options.only)
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"medians of {options.groups} groups of fresh processes, each of {options.rounds} rounds")
    runs = [run_group(members(names, number), options.rounds) for number in range(options.groups)]
    report([figures for figures, _ in runs], [bare for _, bare in runs])
    fingerprints()


if __name__ == "__main__":
    main()
