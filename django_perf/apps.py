"""Wire the parts together: the composition root."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import got_request_exception, setting_changed
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from django.utils.translation import pgettext_lazy

if TYPE_CHECKING:
    from .conf import Settings


class PerfConfig(AppConfig):
    """Install the instruments and give the flusher its sink. Starts no thread and opens no connection."""

    name = "django_perf"
    verbose_name = pgettext_lazy("django_perf", "Performance")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Wire everything, or, with wrong settings, nothing: the checks say what is wrong, and the site serves."""
        from . import checks, conf

        checks.register()
        setting_changed.connect(conf.forget_settings, dispatch_uid="django_perf.settings")
        try:
            settings = conf.get_settings()
        except ImproperlyConfigured:
            return
        if settings.enabled:
            self._install(settings)

    def _install(self, settings: Settings) -> None:
        from .alerts.watchman import Watchman
        from .compression import tally
        from .db import instrument
        from .metrics.catalog import PROCESS
        from .metrics.flusher import Flusher
        from .metrics.recorder import recorder
        from .process.sampler import Sampler
        from .requests import rendering
        from .requests.folding import fold
        from .requests.measure import note_exception
        from .store import alias, housekeeping, orders, writer

        alias.install()
        connection_created.connect(instrument.install, dispatch_uid="django_perf.db")
        rendering.install()
        got_request_exception.connect(note_exception, dispatch_uid="django_perf.exceptions")
        post_migrate.connect(alias.migrate_own_file, sender=self, dispatch_uid="django_perf.store")
        recorder.source(tally.read)
        recorder.expand, recorder.enabled = fold, settings.record_commands
        Sampler(recorder.busy_seconds, settings.worker_slots).publish(recorder)
        chore = housekeeping.Housekeeper(then=Watchman())
        sink = partial(writer.write, behind=orders.Follower({"retire": _retire}))
        self.flusher = Flusher(recorder, sink, interval=settings.flush_interval, chore=chore)
        recorder.gauge(PROCESS, "fold_us", recorder.fold_us)
        recorder.gauge(PROCESS, "flush_ms", lambda: self.flusher.took_ms)
        recorder.gauge(PROCESS, "housekeeping_ms", chore.took_ms)


def _retire(alias: str) -> None:
    """Have the pools of an alias close what they have, as it comes back; without psycopg2 there are none."""
    engine = sys.modules.get("django_perf.pool.postgresql.base")
    if engine is not None:
        engine.DatabaseWrapper.evict_pools(alias)
