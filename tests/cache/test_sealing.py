"""What was not sealed here, under this key, is a miss; it is never unpickled, and nothing about it raises."""

from __future__ import annotations

import os
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.cache.sealing import PLAIN, TOMBSTONE, Meta, Sealer, format_named, grace_ms, tag_digest

KEY = b"shop:1:product:17"
SECRETS = [b"secret", b"older"]
EPOCHS = {tag_digest("products"): b"\x00\x01\x02\x03\x04\x05\x06\x07", tag_digest("ä"): b"\xff" * 8}


def sealer(secrets=SECRETS, form="pickle"):
    return Sealer(secrets, format_named(form))


class Canary:
    """Say so when it is unpickled."""

    hatched = 0

    def __reduce__(self):
        return hatch, ()


def hatch():
    Canary.hatched += 1


VALUES = [
    None,
    0,
    -1,
    2**63 - 1,
    2**63,
    -(2**63),
    2**200,
    True,
    "",
    "text",
    "\ud800",
    b"",
    b"\x81",
    1.5,
    [1, {"a": (2,)}],
]


@pytest.mark.parametrize("meta", [PLAIN, Meta(3600, 0.25, EPOCHS), Meta(1)], ids=["plain", "full", "grace"])
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_is_sealed_can_be_opened_under_its_key_alone(value, meta):
    blob = sealer().seal(KEY, value, meta)
    opened = sealer().open(KEY, blob)
    assert (opened.value, type(opened.value)) == (value, type(value))
    assert opened.meta == meta
    if blob[:1] == b"\x81":
        assert grace_ms(blob) == meta.grace * 1_000
        assert sealer().open(KEY + b"0", blob) is None
        assert sealer([b"another"]).open(KEY, blob) is None


@pytest.mark.parametrize("form", ["pickle", "json"])
def test_each_format_carries_what_it_can_and_refuses_the_others_bodies(form):
    other = {"pickle": "json", "json": "pickle"}[form]
    blob = sealer(form=form).seal(KEY, {"a": [1]})
    assert sealer(form=form).open(KEY, blob).value == {"a": [1]}
    assert sealer(form=other).open(KEY, blob) is None


def test_an_older_secret_still_opens_and_no_longer_seals():
    old = Sealer([b"older"], format_named("pickle"))
    assert sealer().open(KEY, old.seal(KEY, "value")).value == "value"
    assert old.open(KEY, sealer().seal(KEY, "value")) is None


def test_key_and_value_cannot_be_cut_at_another_place():
    whole = sealer().seal(b"ab", b"c")
    head, rest = whole[:5], whole[21:]
    assert sealer().open(b"a", whole) is None
    assert sealer().open(b"ab" + head, whole[:21] + rest) is None


FOREIGN = [
    b"",
    TOMBSTONE,
    b"\x81",
    b"\x81" * 21,
    b"007",
    b"+1",
    b"1_000",
    b" 1",
    b"1\n",
    b"-",
    b"-0",
    b"1e5",
    "١٢".encode(),
    b"9" * 30,
    pickle.dumps(Canary()),
    b"\x81" + pickle.dumps(Canary()),
    os.urandom(64),
]


@pytest.mark.parametrize("blob", FOREIGN, ids=range(len(FOREIGN)))
def test_what_others_wrote_is_nothing(blob):
    assert sealer().open(KEY, blob) is None


def mutated(source, blob, others):
    """Return what a broken disk, a short write or an attacker makes of a blob."""
    kind, place = source.randrange(5), source.randrange(len(blob))
    if kind == 0:
        return blob[:place] + bytes([blob[place] ^ 1 << source.randrange(8)]) + blob[place + 1 :]
    if kind == 1:
        return blob[:place]
    if kind == 2:
        return blob + source.randbytes(source.randrange(1, 9))
    if kind == 3:
        return blob[:21] + source.choice(others)[21:]
    return blob[:place] + source.randbytes(1) + blob[place:]


def test_of_a_hundred_thousand_mutations_none_is_executed_and_none_raises():
    source, opener = random.Random(20261120), sealer()
    blobs = [
        opener.seal(KEY, value, meta) for value in (Canary(), [Canary()], {"a": 1}, "text") for meta in (PLAIN, Meta(1))
    ]
    Canary.hatched = 0
    opened = 0
    for _ in range(100_000):
        blob = source.choice(blobs)
        changed = mutated(source, blob, blobs)
        if changed not in blobs:
            opened += opener.open(KEY, changed) is not None
    assert (opened, Canary.hatched) == (0, 0)


@given(st.binary(max_size=200))
def test_any_bytes_are_nothing_or_a_number(blob):
    opened = sealer().open(KEY, blob)
    assert opened is None or b"%d" % opened.value == blob
