"""Name the two ways a demo ends early."""

from __future__ import annotations


class DemoError(Exception):
    """Something the demo needs did not work; the message says what and shows the log."""


class DemoStopped(Exception):
    """The user asked for the end before the show began."""
