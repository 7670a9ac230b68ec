"""What the demo prints, on a terminal and into a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from example_project.demo.screen import Screen

WIDE = "x" * 300


def screen(terminal):
    out = io.StringIO()
    return Screen(Console(file=out, force_terminal=terminal, width=100, height=40, color_system=None)), out


def test_the_panel_names_address_dashboard_and_login():
    shown, out = screen(terminal=False)
    shown.announce("http://127.0.0.1:8000", "demo / demo")
    for text in (
        "http://127.0.0.1:8000/products",
        "http://127.0.0.1:8000/admin/django_perf/performance/",
        "demo / demo",
    ):
        assert text in out.getvalue()


@pytest.mark.parametrize(("terminal", "length"), [(True, 100), (False, 300)])
def test_wide_figures_are_cut_on_a_terminal_and_whole_in_a_file(terminal, length):
    shown, out = screen(terminal)
    shown.conclude(f"{WIDE}\nsecond line")
    assert out.getvalue() == f"{'x' * length}\nsecond line\n"


def test_figures_are_redrawn_on_a_terminal_and_erased_at_the_end():
    shown, out = screen(terminal=True)
    with shown:
        shown.show("first figures")
        shown.show("second figures")
    assert shown.is_live
    assert out.getvalue().index("first figures") < out.getvalue().index("second figures")
    assert out.getvalue().endswith("\x1b[2K")


def test_nothing_is_redrawn_in_a_file():
    shown, out = screen(terminal=False)
    with shown:
        assert not shown.is_live
    shown.say("[bold]not markup[/bold]")
    assert out.getvalue() == "[bold]not markup[/bold]\n"
