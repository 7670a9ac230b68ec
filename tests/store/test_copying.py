"""Rows come the same however they are fetched."""

from __future__ import annotations

from io import BytesIO

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models import Q

from django_perf.exceptions import DamagedPayload
from django_perf.store.copying import _parsed, fetch
from django_perf.store.models import Rollup

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])

PAYLOADS = [b"", b"\0", b"\xff\xff", b"PGCOPY\n\xff\r\n\0", b"%s %(a)s\\N\t\n", bytes(range(256)) * 400]


@pytest.fixture
def rows(alias):
    """Rollups with bytes of every sort."""
    Rollup.objects.using(alias).bulk_create(
        Rollup(tier=0, kind=2, bucket=29_000_000 + number, shard=number % 3, data=data)
        for number, data in enumerate(PAYLOADS)
    )
    return Rollup.objects.using(alias)


def test_each_row_comes_with_its_bucket_and_its_bytes(rows):
    assert sorted(fetch(rows.filter(kind=2))) == [(29_000_000 + n, data) for n, data in enumerate(PAYLOADS)]


def test_only_what_is_asked_for_comes(rows):
    assert list(fetch(rows.filter(Q(kind=2) & Q(tier=0, bucket__in=[29_000_001, 29_000_002], shard__in=[1])))) == [
        (29_000_001, b"\0")
    ]
    assert list(fetch(rows.filter(kind=3))) == []


def test_postgresql_sends_the_bytes_as_they_are_and_not_as_text(rows, alias):
    with connections[alias].execute_wrapper(refuse):
        if alias == "default":
            assert len(list(fetch(rows.filter(kind=2)))) == len(PAYLOADS)
        else:
            with pytest.raises(AssertionError, match="an ordinary query"):
                list(fetch(rows.filter(kind=2)))


def refuse(*execution):
    raise AssertionError("an ordinary query")


@pytest.mark.parametrize("received", [b"", b"PGCOPY", b"something else that is long enough"])
def test_what_is_no_copy_is_refused(received):
    with pytest.raises(DamagedPayload, match="binary format"):
        list(_parsed(BytesIO(received)))


def test_an_error_is_one_of_django(rows, alias):
    broken = rows.filter(kind=2).extra(where=["no_such_column = 1"])
    with pytest.raises(DatabaseError, match="no_such_column"), transaction.atomic(alias):
        list(fetch(broken))
