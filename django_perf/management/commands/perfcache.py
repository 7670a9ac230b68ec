"""Look at the caches from a shell, and steer them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...cache.invalidation import invalidate
from ...cache.multilevel import MultiLevelCache
from ...cache.warming import warm, warmers
from ...exceptions import CacheUnavailable

_SWEEP = 1_000


class Command(BaseCommand):
    """One action on one cache; figures over time are those of `perfstats cache`."""

    help = "Show, clear, invalidate, warm or sweep a MultiLevelCache, or create its table."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions and their arguments."""
        parser.add_argument("--cache", default="default", help="An alias of CACHES.")
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        actions.add_parser("stats", help="Levels, their state, entries and bytes.")
        actions.add_parser("clear", help="Forget all entries of this cache, and of no other one.")
        forget = actions.add_parser("invalidate", help="Forget what has these tags or matches these patterns.")
        forget.add_argument("target", nargs="+", help="A tag, or a pattern of keys with * ? [.")
        warming = actions.add_parser("warm", help="Make the calls of the registered warmers.")
        warming.add_argument("--top", type=int, default=100, help="Calls of each warmer, the most wanted first.")
        warming.add_argument("--concurrency", type=int, default=4, help="Threads.")
        warming.add_argument("--rate", type=float, default=None, help="Calls a second at most.")
        actions.add_parser("createtable", help="Create the table of level 3, where it is missing.")
        actions.add_parser("sweep", help="Delete expired rows of the table.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the action."""
        cache = self._cache(options["cache"])
        try:
            getattr(self, f"_{options['action']}")(cache, options)
        except CacheUnavailable as error:
            raise CommandError(str(error)) from error

    @staticmethod
    def _cache(alias: str) -> MultiLevelCache:
        if alias not in settings.CACHES:
            raise CommandError(f"there is no cache {alias!r} in CACHES; there are {', '.join(settings.CACHES)}")
        cache = caches[alias]
        if not isinstance(cache, MultiLevelCache):
            raise CommandError(f"CACHES[{alias!r}] is a {type(cache).__name__}, not a MultiLevelCache")
        return cache

    def _stats(self, cache: MultiLevelCache, options: dict[str, Any]) -> None:
        levels = cache.levels
        cache.get("django_perf:probe")
        if levels.memory is not None:
            self.stdout.write(f"L1 memory: up to {levels.memory.max_entries} entries, {levels.memory.max_bytes} bytes")
        shared = levels.shared
        if shared is not None and shared.redis is not None:
            mode = levels.backplane.mode if levels.backplane is not None else "no memory to keep coherent"
            self.stdout.write(f"L2 Redis: {shared.redis.breaker.state}, coherence {mode}")
        if shared is not None and shared.table is not None:
            rows, size = shared.table.call(shared.table.level.size)
            self.stdout.write(f"L3 table: {shared.table.breaker.state}, about {rows} rows, {size} bytes")

    def _clear(self, cache: MultiLevelCache, options: dict[str, Any]) -> None:
        cache.clear()
        self.stdout.write("cleared")

    def _invalidate(self, cache: MultiLevelCache, options: dict[str, Any]) -> None:
        for target in options["target"]:
            if set(target) & set("*?["):
                self.stdout.write(f"{target}: {cache.delete_pattern(target)} keys forgotten")
            else:
                invalidate(target, alias=options["cache"])
                self.stdout.write(f"{target}: tag invalidated")

    def _warm(self, cache: MultiLevelCache, options: dict[str, Any]) -> None:
        if not warmers():
            raise CommandError("no warmer is registered: decorate a function with django_perf.cache.warmer")
        result = warm(options["top"], options["concurrency"], options["rate"])
        for error in result.errors:
            self.stderr.write(error)
        self.stdout.write(f"{result.done} entries warmed, {result.failed} failed, in {result.seconds:.1f} s")
        if result.failed:
            raise CommandError(f"{result.failed} calls failed")

    def _createtable(self, cache: MultiLevelCache, options: dict[str, Any]) -> None:
        self._table(cache).create_table()
        self.stdout.write("the table is there")

    def _sweep(self, cache: MultiLevelCache, options: dict[str, Any]) -> None:
        table, swept = self._table(cache), 0
        while count := table.sweep(_SWEEP):
            swept += count
        self.stdout.write(f"{swept} expired rows deleted")

    @staticmethod
    def _table(cache: MultiLevelCache) -> Any:
        shared = cache.levels.shared
        if shared is None or shared.table is None:
            raise CommandError("this cache has no level 3: give it OPTIONS['L3'] = {'table': ..., 'alias': ...}")
        return shared.table.level
