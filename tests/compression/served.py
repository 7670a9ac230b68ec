"""A site that gunicorn serves to a real browser: every coding, whole and in pieces, and pages for a dictionary.

`python -m tests.compression.served <command>` runs a management command of it. SERVED_FOLDER holds its database.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from django.conf import settings

if not settings.configured:
    settings.configure(
        SECRET_KEY="served",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="tests.compression.served",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_perf"],
        MIDDLEWARE=["django_perf.middleware.TimingMiddleware", "django_perf.middleware.CompressionMiddleware"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(os.environ["SERVED_FOLDER"]) / "db.sqlite3",
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DJANGO_PERF={"COMPRESSION": {"MAX_PADDING": 256, "DICTIONARIES": True}},
    )

import django

django.setup()

from django.core.management import execute_from_command_line  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402

from django_perf.compression import compress  # noqa: E402

LINES = 300
_ROW = """<tr class="row">
<td class="number">{number}-{row}</td>
<td class="description">The same in all of them.</td>
</tr>
"""


def text(start: int) -> str:
    """Return the lines that the browser has to end up with."""
    return "".join(f"line {number}: ünïcode, and more of it\n" for number in range(start, start + LINES))


def whole(request, coding, start):
    """Answer in one piece."""
    return compress(encodings=[coding])(lambda request: HttpResponse(text(start)))(request)


def pieces(request, coding, start):
    """Answer line by line."""
    lines = text(start).splitlines(keepends=True)
    return compress(encodings=[coding])(lambda request: StreamingHttpResponse(iter(lines)))(request)


def events(request, coding):
    """Send three events with pauses between them."""

    def messages():
        for number in range(3):
            yield f"data: {number}\n\n"
            time.sleep(0.3)

    view = compress(encodings=[coding])(
        lambda request: StreamingHttpResponse(messages(), content_type="text/event-stream")
    )
    return view(request)


def page(request, number):
    """Answer with a page of which most is the same for all numbers; what the visitor says of himself is in it."""
    rows = "".join(_ROW.format(number=number, row=row) for row in range(100))
    style = "".join(f".common-{index} {{ margin: {index}px; }}\n" for index in range(100))
    visitor = f"<p>{request.GET.get('name', '')} {request.COOKIES.get('name', '')}</p>\n"
    head = f"<!doctype html>\n<html lang=en>\n<title>Page</title>\n<style>\n{style}</style>\n"
    return HttpResponse(f"{head}{visitor}<table>\n{rows}</table>\n")


urlpatterns = [
    path("whole/<coding>/<int:start>", whole),
    path("pieces/<coding>/<int:start>", pieces),
    path("events/<coding>", events),
    path("page/<int:number>", page),
    path("perf/", include("django_perf.urls")),
]


def __getattr__(name: str) -> object:
    """Make the application when gunicorn asks for it: to a test that imports this, it would look like serving."""
    if name == "application":
        return get_wsgi_application()
    raise AttributeError(name)


if __name__ == "__main__":
    execute_from_command_line(sys.argv)
