"""Fetch rollups from PostgreSQL as COPY sends them.

A result holds bytes as hexadecimal text, twice as many, which psycopg2 reads back: for the megabytes of a page that
takes three times as long. Every other database, and every other driver, is asked with an ordinary query.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from ..exceptions import DamagedPayload

Row = tuple[int, bytes]

# PostgreSQL, "COPY", binary format: 11 bytes of signature, flags, and the length of an extension, which is 0. Each row
# begins with the number of its columns, -1 behind the last, and each value with its length.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COLUMNS = struct.Struct("!h")
_HEAD = struct.Struct("!iii")


def fetch(rows: QuerySet[Any]) -> Iterator[Row]:
    """Yield (bucket, data) of rollups. Raises Django's DatabaseError."""
    wanted = rows.values_list("bucket", "data")
    connection = connections[rows.db]
    with connection.cursor() as cursor:
        raw = cursor.cursor
        if not hasattr(raw, "copy_expert"):
            # No .iterator(): on PostgreSQL its cursor has the server copy all rows once more before the first.
            yield from ((bucket, bytes(data)) for bucket, data in wanted)
            return
        query = raw.mogrify(*wanted.query.get_compiler(rows.db).as_sql())
        received = BytesIO()
        with connection.wrap_database_errors:
            raw.copy_expert(b"COPY (%b) TO STDOUT (FORMAT binary)" % query, received)
    yield from _parsed(received)


def _parsed(received: BytesIO) -> Iterator[Row]:
    received.seek(0)
    read = received.read
    if read(len(_SIGNATURE)) != _SIGNATURE:
        raise DamagedPayload("no rows in PostgreSQL's binary format")
    while _COLUMNS.unpack(read(_COLUMNS.size))[0] >= 0:
        _, bucket, length = _HEAD.unpack(read(_HEAD.size))
        yield bucket, read(length)
