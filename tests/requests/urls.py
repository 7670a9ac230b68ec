"""Views that end in every way a request can."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from django.contrib.auth import get_user_model
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path


def fine(request):
    return HttpResponse("ok" * 50)


async def fine_async(request):
    return HttpResponse("ok")


def status(request, code):
    return HttpResponse("text", status=code)


def raises(request):
    raise LookupError("a secret that must not be stored")


def queries(request, count):
    for pk in range(count):
        get_user_model().objects.filter(pk=pk).exists()
    return HttpResponse("ok")


def user(request):
    return HttpResponse(str(request.user.is_staff))


def public(request):
    response = HttpResponse(str(request.user.is_staff))
    response.headers["Cache-Control"] = "public, max-age=60"
    return response


def stream(request, fails):
    def chunks():
        yield b"12345"
        get_user_model().objects.exists()
        if fails:
            raise LookupError
        yield "six"

    return StreamingHttpResponse(chunks())


async def stream_async(request):
    async def chunks():
        yield b"12345"
        yield b"678"

    return StreamingHttpResponse(chunks())


def file(request):
    with tempfile.NamedTemporaryFile(delete=False) as handle:
        handle.write(b"x" * 1_000)
    opened = Path(handle.name).open("rb")  # noqa: SIM115 - FileResponse closes it
    Path(handle.name).unlink()
    return FileResponse(opened)


def memory_file(request):
    return FileResponse(io.BytesIO(b"y" * 10))


urlpatterns = [
    path("", fine),
    path("fine/<int:number>", lambda request, number: fine(request)),
    path("fine-async", fine_async),
    path("status/<int:code>", status),
    path("raises", raises),
    path("queries/<int:count>", queries),
    path("user", user),
    path("public", public),
    path("stream", stream, {"fails": False}),
    path("broken-stream", stream, {"fails": True}),
    path("stream-async", stream_async),
    path("file", file),
    path("memory-file", memory_file),
]
