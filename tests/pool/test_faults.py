"""What visitors of a site notice while its database fails: the scenarios of faults.py, shortened.

The limits are those of the table that `python -m tests.pool.faults` prints, with room for a busy machine.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import OperationalError, connections

from django_perf.pool.postgresql.base import DatabaseWrapper
from tests.pool.cluster import OURS, THREADS, Cluster
from tests.pool.faults import SCENARIOS, WORKERS, Result, fork_storm, run_scenario, serving
from tests.proxy import Proxy

# A statement on a flow of which nobody knows that it is dead: noticed after 0.5 s, asked about, and cut.
LONGEST_HANG_S = 2.0
# That the server is silent is known after so long; until then every thread may hang.
KNOWN_S = 2.0
PATIENCE_S = 15
GRACEFUL_S = 5


@pytest.fixture(scope="module")
def cluster():
    """A server that may be restarted; it ends with this process."""
    return Cluster()


@pytest.fixture(scope="module")
def shared_site(cluster, tmp_path_factory):
    """A site that goes through one fault after the other; each has to leave it as good as new."""
    with serving(cluster, tmp_path_factory.mktemp("site"), "restart", OURS) as proxy_and_site:
        yield proxy_and_site


@pytest.fixture
def visit(cluster, shared_site):
    """Return a function that runs a scenario by name, on our engine."""
    return lambda name: _run(cluster, *shared_site, name)


@pytest.fixture
def visit_alone(cluster, tmp_path):
    """Return a function that runs a scenario on a site of its own."""

    def run(name: str) -> Result:
        with serving(cluster, tmp_path, name, OURS) as (proxy, site):
            return _run(cluster, proxy, site, name)

    return run


def _run(cluster, proxy, site, name: str) -> Result:
    result = run_scenario(cluster, proxy, site, name, SCENARIOS[name].short)
    assert not result.figures.lost, "an acknowledged write is not in the table"
    return result


def explained(result: Result) -> str:
    """Say what a failed assertion needs to be understood."""
    late = [(one.page, round(one.due - result.figures.fault.began, 3)) for one in result.figures.failed_later]
    return f"{dict(result.figures.kinds)} after the fault: {late}; {dict(result.errors)}"


def assert_others_do_not_notice(result: Result) -> None:
    """Pages without a database are as fast as ever, and those with one fail at once, when the fault is known."""
    figures = result.figures
    assert figures.median_ms(["plain"], after_s=KNOWN_S) < 50, explained(result)
    assert figures.median_ms(["read", "write"], after_s=KNOWN_S) < 100, explained(result)


def test_a_restart_fails_what_ran_at_that_moment_only(visit):
    result = visit("restart")
    # Where the server takes more than half a second to come back, only half of the threads may wait for it, and
    # after a second nobody: what a starved machine makes of a restart is the outage of the scenario `down`.
    if result.figures.fault.healed - result.figures.fault.began < 0.4:
        assert len(result.figures.failed) <= WORKERS, explained(result)
    assert result.figures.recovery_s < 0.5, explained(result)


def test_terminated_sessions_fail_what_ran_at_that_moment_only(visit):
    result = visit("terminate")
    assert not result.figures.failed_later, explained(result)
    assert len(result.figures.failed) <= WORKERS, explained(result)


def test_flows_that_a_firewall_forgot_while_idle_are_not_noticed(visit):
    result = visit("forget_idle")
    assert not result.figures.failed, explained(result)
    assert not result.figures.slow, explained(result)


def test_flows_that_are_forgotten_in_use_fail_once_each_and_are_found_soon(visit):
    result = visit("forget")
    # Used less than half a second ago: not worth a round trip, and the statement on it is lost.
    assert len(result.figures.failed) <= WORKERS * THREADS, explained(result)
    assert result.figures.recovery_s < 1, explained(result)
    assert result.figures.worst_s < LONGEST_HANG_S, explained(result)


def test_a_statement_that_is_lost_right_after_an_answer_is_found_soon(cluster, django_db_blocker):
    with Proxy(cluster.address) as proxy, django_db_blocker.unblock():
        settings = {**connections["default"].settings_dict, **cluster.settings(OURS, proxy.address)}
        answered, lost = Barrier(THREADS + 1), Barrier(THREADS + 1)
        with ThreadPoolExecutor(THREADS) as threads:
            hangs = [threads.submit(_hang_s, settings, answered, lost) for _ in range(THREADS)]
            answered.wait(PATIENCE_S)
            proxy.forget()
            lost.wait(PATIENCE_S)
            assert max(hang.result(PATIENCE_S) for hang in hangs) < LONGEST_HANG_S
        DatabaseWrapper(settings, "lost").close_pool()


def _hang_s(settings: dict, answered: Barrier, lost: Barrier) -> float:
    """Return how long a statement hangs whose flow was forgotten after the answer to the one before."""
    wrapper = DatabaseWrapper(settings, "lost")
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
        answered.wait(PATIENCE_S)
        lost.wait(PATIENCE_S)
        began = time.monotonic()
        with pytest.raises(OperationalError, match="knows nothing of it"):
            cursor.execute("SELECT 1")
    hung_s = time.monotonic() - began
    wrapper.close()
    return hung_s


def test_a_server_that_is_down_leaves_other_pages_alone(visit):
    result = visit("down")
    assert_others_do_not_notice(result)
    assert result.figures.recovery_s < 2, explained(result)


def test_a_server_that_is_silent_leaves_other_pages_alone(visit):
    result = visit("silent")
    assert_others_do_not_notice(result)
    assert result.figures.recovery_s < 2, explained(result)


def test_a_server_that_is_frozen_leaves_other_pages_alone(visit):
    result = visit("stopped")
    assert_others_do_not_notice(result)
    assert result.figures.recovery_s < 2, explained(result)


def test_a_second_of_silence_is_over_when_it_is_over(visit):
    result = visit("blink")
    assert result.figures.recovery_s < 2, explained(result)


def test_a_killed_worker_fails_its_own_requests_only(visit):
    result = visit("worker_kill")
    assert not result.figures.failed_later, explained(result)


def test_term_ends_a_site_whose_database_is_silent(visit_alone):
    assert visit_alone("term").notes["exit_s"] < GRACEFUL_S + 2


def test_a_query_before_the_fork_of_preload_shares_no_connection(visit_alone):
    result = visit_alone("preload")
    assert result.notes == {"shared": 0, "workers": WORKERS, "master_lives": True}
    assert not result.figures.failed, explained(result)


def test_forks_under_load_share_no_backend_and_leave_the_parents_alone(cluster):
    seen = fork_storm(cluster)
    own = [backend for backends in seen["children"].values() for backend in set(backends)]
    assert len(seen["children"]) == 200, seen["stderr"]
    assert seen["failed"] == seen["errors"] == []
    assert len(own) == len(set(own))
    assert not set(own) & set(seen["after"])
    assert set(seen["before"]) <= set(seen["after"])
    assert len(seen["after"]) <= THREADS, "a connection of the parent was replaced"
    assert seen["queries"][0] < seen["queries"][1]
