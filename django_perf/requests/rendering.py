"""Know when a template is being rendered: a stretch of the request's timeline, and a place where no query belongs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import perf_counter_ns
from typing import Any

from django.conf import settings as django_settings
from django.template.backends import django as django_backend

from ..metrics.guard import count_fault
from ..metrics.names import clean
from ..metrics.trace import PAUSED, current

_JINJA = "django.template.backends.jinja2.Jinja2"


def install() -> None:
    """Time the rendering of whole templates; Django has no signal for it. A second call does nothing."""
    backends: list[Any] = [django_backend.Template]
    if any(engine.get("BACKEND") == _JINJA for engine in django_settings.TEMPLATES):
        from django.template.backends.jinja2 import Template

        backends.append(Template)
    for backend in backends:
        if not hasattr(backend.render, "is_timed"):
            backend.render = _timed(backend.render)


def _timed(render: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(render)
    def timed(template: Any, *args: Any, **kwargs: Any) -> Any:
        trace = current.get()
        if trace is None or trace is PAUSED:
            return render(template, *args, **kwargs)
        outer, started_ns = trace.template, perf_counter_ns()
        try:
            trace.template = _name(template)
        except Exception as fault:
            count_fault("template", fault)
        try:
            return render(template, *args, **kwargs)
        finally:
            name, trace.template = trace.template, outer
            try:
                trace.add_span("template", name or "", started_ns, perf_counter_ns() - started_ns)
            except Exception as fault:
                count_fault("template", fault)

    timed.is_timed = True  # type: ignore[attr-defined]
    return timed


def _name(template: Any) -> str:
    return clean(str(template.template.name or "(no name)"))
