"""No stranger can fill the memory: what is different each time shares a few series, and every count stays exact."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

URLS, OTHERS = 200_000, 100_000
MOST_BYTES = 16 * 2**20


@pytest.fixture(scope="module")
def flooded():
    """What each flood left behind, measured in a process of its own: pytest's memory has a life of its own."""
    command = [sys.executable, "-m", "tests.end_to_end.cardinality", f"--urls={URLS}", f"--others={OTHERS}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("flood", ["urls", "methods", "headers", "statements"])
def test_a_flood_of_different_values_takes_at_most_16_mb(flooded, flood):
    assert flooded[flood]["grown"] <= MOST_BYTES


@pytest.mark.parametrize(("flood", "sent"), [("urls", URLS), ("methods", OTHERS), ("headers", OTHERS)])
def test_requests_and_errors_are_exact_in_two_series(flooded, flood, sent):
    found = flooded[flood]
    assert (found["count"], found["errors"], found["series"]) == (sent, sent // 20, 2)


def test_bytes_of_different_lengths_are_exact(flooded):
    assert flooded["headers"]["bytes_in"] == sum(range(OTHERS))


def test_statements_and_their_failures_are_exact_in_a_bounded_number_of_series(flooded):
    found = flooded["statements"]
    assert (found["count"], found["errors"]) == (2 * OTHERS, 2 * OTHERS // 10)
    assert found["series"] <= 2 * (2_000 + 1)
