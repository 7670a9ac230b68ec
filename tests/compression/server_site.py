"""A small site for a real server: python -m gunicorn tests.compression.server_site:application."""

from __future__ import annotations

import time
from pathlib import Path

from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="site",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["django_perf.compression.middleware.CompressionMiddleware"],
        DATABASES={},
    )

from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path

PAGE = "".join(f"<li>Product {number}: grün, {number * 7 % 101} €</li>\n" for number in range(400)).encode()


def page(request):
    return HttpResponse(PAGE, headers={"ETag": '"page"'})


def stream(request):
    return StreamingHttpResponse(PAGE[start : start + 700] for start in range(0, len(PAGE), 700))


def slow(request):
    def pieces():
        yield b"first"
        time.sleep(20)
        yield b"second"

    return StreamingHttpResponse(pieces())


def broken(request):
    def pieces():
        yield PAGE
        raise LookupError

    return StreamingHttpResponse(pieces())


def file(request):
    return FileResponse(Path(__file__).open("rb"), content_type="text/x-python")


urlpatterns = [path(view.__name__, view) for view in (page, stream, slow, broken, file)]


def __getattr__(name):
    """Make the application when gunicorn asks for it: to a test that imports this, it would look like serving."""
    if name == "application":
        return get_wsgi_application()
    raise AttributeError(name)
