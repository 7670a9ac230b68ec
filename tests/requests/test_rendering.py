"""Templates on the timeline of a request, of whatever engine."""

from __future__ import annotations

import pytest
from django.template import engines
from django.template.backends import django as backend

from django_perf.metrics.recorder import recorder
from django_perf.metrics.trace import Trace, current
from django_perf.requests import rendering


@pytest.fixture
def trace():
    own = Trace(0)
    token = current.set(own)
    yield own
    current.reset(token)


def render(source="x{{ y }}", **context):
    return engines["django"].from_string(source).render(context)


def test_a_template_is_a_span_and_its_output_is_the_same(trace):
    assert render(y=1) == "x1"
    ((kind, name, _, elapsed_ns, _),) = trace.spans
    assert (kind, name) == ("template", "(no name)")
    assert elapsed_ns > 0


def test_while_it_is_rendered_its_name_is_known(trace):
    seen = []
    render("{{ look }}", look=lambda: seen.append(trace.template))
    assert seen == ["(no name)"]
    assert trace.template is None


def test_a_template_that_raises_is_a_span_too_and_raises(trace):
    with pytest.raises(ZeroDivisionError):
        render("{{ fail }}", fail=lambda: 1 / 0)
    assert len(trace.spans) == 1
    assert trace.template is None


def test_outside_a_request_and_in_our_own_work_nothing_is_noted():
    assert render(y=1) == "x1"
    with recorder.paused():
        render()
        assert current.get().spans is None


def test_installing_twice_wraps_once():
    before = backend.Template.render
    rendering.install()
    assert backend.Template.render is before
    assert not hasattr(before.__wrapped__, "is_timed")


def test_a_name_that_cannot_be_told_costs_no_page(trace, monkeypatch):
    recorder.enabled = True
    monkeypatch.setattr(rendering, "clean", lambda text: 1 / 0)
    assert render(y=1) == "x1"
    assert ("loss", "error", "template: ZeroDivisionError") in next(iter(recorder.drain().values()))
