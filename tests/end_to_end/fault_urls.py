"""Views whose answers are always the same, and that together touch every part of the measuring."""

from __future__ import annotations

import io
from contextlib import suppress

from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connection, transaction
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.urls import path

from django_perf import timed
from tests.compression.coding import PAGE
from tests.requests import urls

# The last one is so small that it waits for the end.
PIECES = (PAGE[:9_000], PAGE[9_000:], b"<p>grey</p>")


def blocks(request):
    with timed("outer"), timed("inner"):
        return urls.fine(request)


def failing_query(request):
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT nothing FROM nowhere")
        except DatabaseError as error:
            return urls.HttpResponse(type(error).__name__)


def loops(request):
    """Do all with the database that is worth a closer look."""
    for number in range(20):
        ContentType.objects.filter(pk=number).count()
    ContentType.objects.filter(pk=0).count()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.006)")
        cursor.execute("SELECT generate_series(1, 1100)")
        cursor.executemany("SELECT %s", [(1,), (2,)])
        cursor.callproc("lower", ["X"])
        cursor.fetchall()
    with transaction.atomic(), connection.chunked_cursor() as cursor, suppress(DatabaseError):
        cursor.execute("SELECT 1 / (3 - x) FROM generate_series(1, 5) AS t(x)")
        cursor.fetchmany(9)
    engines["django"].from_string("{% for kind in kinds %}{{ kind.pk }}{% endfor %}").render(
        {"kinds": ContentType.objects.filter(pk=0)}
    )
    return urls.fine(request)


def file(request):
    return FileResponse(io.BytesIO(b"x" * 1_000), filename="x.bin")


def page(request):
    return HttpResponse(PAGE)


def kept(request):
    """Its compressed body is kept in the cache of variants."""
    return HttpResponse(PAGE, headers={"ETag": '"1"', "Cache-Control": "public, max-age=60"})


async def page_async(request):
    return HttpResponse(PAGE)


def pieces(request, fails):
    def chunks():
        yield from PIECES
        if fails:
            raise LookupError

    return StreamingHttpResponse(chunks())


async def pieces_async(request):
    async def chunks():
        for piece in PIECES:
            yield piece

    return StreamingHttpResponse(chunks())


urlpatterns = [
    path("", urls.fine),
    path("raises", urls.raises),
    path("status/<int:code>", urls.status),
    path("queries/<int:count>", urls.queries),
    path("failing-query", failing_query),
    path("loops", loops),
    path("user", urls.user),
    path("blocks", blocks),
    path("stream", urls.stream, {"fails": False}),
    path("broken-stream", urls.stream, {"fails": True}),
    path("file", file),
    path("async", urls.fine_async),
    path("stream-async", urls.stream_async),
    path("page", page),
    path("kept", kept),
    path("page-async", page_async),
    path("pieces", pieces, {"fails": False}),
    path("broken-pieces", pieces, {"fails": True}),
    path("pieces-async", pieces_async),
]
