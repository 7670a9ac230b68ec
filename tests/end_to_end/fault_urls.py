"""Views whose answers are always the same, and that together touch every part of the measuring."""

from __future__ import annotations

import io

from django.db import DatabaseError, connection
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
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
