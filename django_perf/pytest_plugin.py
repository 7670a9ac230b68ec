"""Offer the test helpers as pytest fixtures.

Pytest loads this by itself and before any settings, so nothing of Django is imported before a test asks for one.
"""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def assert_max_queries() -> Any:
    """Return django_perf.testing.assert_max_queries."""
    from .testing import assert_max_queries

    return assert_max_queries


@pytest.fixture
def assert_no_n_plus_one() -> Any:
    """Return django_perf.testing.assert_no_n_plus_one."""
    from .testing import assert_no_n_plus_one

    return assert_no_n_plus_one
