"""Put together whether this process is ready, and if not, why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from ..conf import Settings, get_settings
from ..metrics.recorder import recorder
from ..metrics.worker import gunicorn_threads
from .dependencies import Migrations, ask_cache, ask_database, databases
from .drain import Drain, default_folder
from .overload import OVER_S, Overload
from .probe import LATE, Probe

_NAME_LENGTH = 16


@dataclass(frozen=True, slots=True)
class State:
    """Say what is wrong, by what was looked at: "" where nothing is."""

    troubles: dict[str, str]

    @property
    def is_ready(self) -> bool:
        """Tell whether nothing is wrong."""
        return not any(self.troubles.values())

    @property
    def hangs(self) -> bool:
        """Tell whether something does not answer."""
        return LATE in self.troubles.values()


class Readiness:
    """Look at everything that a request needs. Thread-safe; what was found is kept for a second."""

    def __init__(self) -> None:
        self._probes: dict[str, Probe] = {}
        self._migrations = Migrations()
        self._overload = Overload(recorder.busy_seconds)

    def state(self) -> State:
        """Return how things are, within a second, whatever hangs."""
        settings = _settings()
        if drain_of(settings).is_on():
            return State({"draining": "switched on by perfdrain"})
        probes = [(name, self._probe(name, ask)) for name, ask in self._questions().items()]
        # All of them at once: several that hang take no longer than one.
        asked = [(name, probe, probe.begin()) for name, probe in probes]
        troubles = {name: probe.trouble(run) for name, probe, run in asked}
        return State({"draining": "", **troubles, **self._saturation(settings)})

    def _questions(self) -> dict[str, Callable[[], str]]:
        questions: dict[str, Callable[[], str]] = {
            f"database {alias}": partial(ask_database, alias) for alias in databases()
        }
        if questions and not self._migrations.are_applied:
            questions["migrations"] = self._migrations.ask
        return questions | {"cache": ask_cache}

    def _probe(self, name: str, ask: Callable[[], str]) -> Probe:
        # setdefault() is atomic: two first requests at once share one probe.
        return self._probes.get(name) or self._probes.setdefault(name, Probe(ask))

    def _saturation(self, settings: Settings) -> dict[str, str]:
        limit = settings.ready_saturation
        if limit is None:
            return {}
        share = self._overload.saturation(settings.worker_slots or gunicorn_threads() or 1)
        is_red = share is not None and share >= limit
        return {"saturation": f"{share:.0%} of the slots were busy for {OVER_S:.0f} s" if is_red else ""}


def drain_of(settings: Settings) -> Drain:
    """Return what says that this site drains on this host; the secret key tells sites of one user apart."""
    folder = default_folder() if settings.state_folder is None else Path(settings.state_folder)
    root = getattr(django_settings, "ROOT_URLCONF", "")
    digest = salted_hmac("django_perf.drain", root, algorithm="sha256").hexdigest()
    return Drain(folder, digest[:_NAME_LENGTH])


def _settings() -> Settings:
    """Return the settings, or, where they are wrong, the defaults: a site serves with wrong settings of ours."""
    try:
        return get_settings()
    except ImproperlyConfigured:
        return Settings()


readiness = Readiness()
