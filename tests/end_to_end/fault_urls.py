"""Views whose answers are always the same, and that together touch every part of the measuring."""

from __future__ import annotations

import io

from django.db import DatabaseError, connection
from django.http import FileResponse
from django.urls import path

from django_perf import timed
from tests.requests import urls


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
]
