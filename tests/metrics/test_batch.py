"""Payloads of this version and of its neighbours."""

from __future__ import annotations

import pytest

from django_perf.exceptions import UnknownPayload
from django_perf.metrics.aggregate import new_aggregate
from django_perf.metrics.batch import VERSION, pack, unpack


def payload(version):
    key = ("block", "import")
    aggregate = new_aggregate(key)
    aggregate.add_all([5], [1])
    return bytes((version,)) + pack({key: aggregate})[1:]


@pytest.mark.parametrize("version", [2, VERSION])
def test_a_worker_that_is_not_replaced_yet_is_read_too(version):
    (aggregate,) = unpack(payload(version)).values()
    assert (aggregate.histogram.count, aggregate.counters) == (1, [1])


@pytest.mark.parametrize("version", [1, VERSION + 1])
def test_another_layout_is_refused_with_the_versions_that_can_be_read(version):
    with pytest.raises(UnknownPayload, match=f"payload version 0{version}, this code reads 2 to {VERSION}"):
        unpack(payload(version))
