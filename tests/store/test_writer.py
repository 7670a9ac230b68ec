"""One flush is one row per minute, whatever happens on the way."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_perf.metrics.batch import VERSION, unpack
from django_perf.metrics.recorder import recorder
from django_perf.store import writer
from django_perf.store.models import Delta
from django_perf.store.writer import own_connection, write

from .data import DAY, MIDNIGHT, batch, compact_at, drained, everywhere, read, requests, stored

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])


def test_a_flush_that_holds_two_minutes_is_two_rows(alias):
    write(batch({MIDNIGHT + 1: requests(4), MIDNIGHT: requests(3)}, id="once", taken=7.5, levels={"threads": 2.0}))
    rows = Delta.objects.using(alias).order_by("minute")
    assert [(row.minute, row.flush_id, row.version) for row in rows] == [
        (MIDNIGHT, "once", VERSION),
        (MIDNIGHT + 1, "once", VERSION),
    ]
    assert [[one.histogram.count for one in unpack(bytes(row.payload)).values()] for row in rows] == [[3], [4]]
    assert {(row.host, row.pid, row.taken, row.is_final, row.levels["threads"]) for row in rows} == {
        ("web", 1, 7.5, False, 2.0)
    }


def test_a_flush_takes_one_insert(alias):
    with CaptureQueriesContext(connections[alias]) as captured:
        write(batch({MIDNIGHT: requests(3), MIDNIGHT + 1: requests(3)}))
    assert [one["sql"].split()[0] for one in captured if not one["sql"].startswith(("BEGIN", "COMMIT"))] == ["INSERT"]


def test_an_idle_process_says_that_it_lives(alias):
    write(batch({}, taken=MIDNIGHT * 60.0 + 59))
    delta = Delta.objects.using(alias).get()
    assert (delta.minute, unpack(bytes(delta.payload))) == (MIDNIGHT, {})


def test_a_flush_sent_twice_counts_once(alias):
    flush = batch({MIDNIGHT: requests(3), MIDNIGHT + 1: requests(4)})
    write(flush)
    write(flush)
    assert Delta.objects.using(alias).count() == 2
    compact_at(alias, MIDNIGHT + DAY)
    assert stored(alias) == everywhere(7)


def test_a_flush_sent_again_after_it_was_compacted_counts_once(alias):
    flush = batch({MIDNIGHT: requests(3)})
    write(flush)
    compact_at(alias, MIDNIGHT + DAY)
    write(flush)
    assert read(alias, MIDNIGHT, MIDNIGHT + DAY) == 3
    compact_at(alias, MIDNIGHT + DAY)
    assert stored(alias) == everywhere(3)


def test_a_conflict_that_is_no_repetition_is_an_error(alias, monkeypatch):
    flush = batch({MIDNIGHT: requests(3)})
    monkeypatch.setattr(writer, "_rows", lambda given: [Delta(flush_id=None, minute=1, version=1)])
    with pytest.raises(IntegrityError):
        write(flush)


def test_a_flush_is_written_whole_or_not_at_all(alias, monkeypatch):
    connection = connections[alias]

    def refuse():
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "_commit", refuse)
        with pytest.raises(OperationalError):
            write(batch({MIDNIGHT: requests(3), MIDNIGHT + 1: requests(4)}))
    assert not Delta.objects.using(alias).exists()


def is_as_it_should(alias):
    """Tell whether the connection to a server is closed; one to a file stays open, for it costs no server anything."""
    return (connections[alias].connection is None) == (connections[alias].vendor == "postgresql")


def test_the_connection_to_a_server_is_closed_after_a_flush(alias):
    write(batch({MIDNIGHT: requests(3)}))
    assert is_as_it_should(alias)


def test_the_connection_to_a_server_is_closed_after_a_flush_that_failed(alias, monkeypatch):
    connections[alias].ensure_connection()
    monkeypatch.setattr(writer, "_rows", lambda given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(batch({MIDNIGHT: requests(3)}))
    assert is_as_it_should(alias)


def test_the_store_does_not_measure_itself(alias):
    recorder.enabled = True
    write(batch({MIDNIGHT: requests(3)}))
    assert recorder.drain() == {}


def test_what_the_host_does_on_the_store_database_is_measured(alias):
    recorder.enabled = True
    with own_connection():
        pass
    with transaction.atomic(using=alias):
        Delta.objects.using(alias).count()
    assert {key[0] for key in drained(recorder)} == {"endpoint_query"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_level_that_json_cannot_hold_costs_itself_only(alias, value):
    write(batch({MIDNIGHT: requests(3)}, levels={"saturation": value, "threads": 2.0}))
    assert Delta.objects.using(alias).get().levels == {"threads": 2.0}
