"""Run the tests of Django's GZipMiddleware and of two rivals on ours: python -m tests.compression.rival_suites.

The tests come from sdists: of the Django that is installed, and of the rivals at a fixed version. Our class takes the
place of theirs. What fails has to be in DIFFERENCES, with the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import django

from tests.django_suite import fetch as fetch_django

ROOT = Path(__file__).parents[2]
NOISE = "our padding is keyed: whoever asks again for the same page learns nothing from averages"
NONE = "Django builds the chain and passes no None; this check of MiddlewareMixin ended a deprecation"
GRAMMAR = "a weight outside the grammar is a refusal (RFC 9110, section 12.4.2); their comment: questionable"
VARY = "Vary also where identity was chosen: else a cache gives it to everybody (RFC 9110, section 12.5.5)"
WILDCARD = "a wildcard is any coding that is not named (RFC 9110, section 12.5.3)"
ADAPTIVE = "the first bytes hold the first piece, no empty one; what then comes fast is put together"
BYTES = "br of other bytes: padded between its data and its end"
TYPE = "not in our CONTENT_TYPES: rare or not for browsers; a site that sends it adds it"
_TYPES = """application/eot application/font application/opentype application/otf application/truetype application/ttf
application/x-httpd-cgi application/x-opentype application/x-otf application/x-perl application/x-protobuf
application/x-ttf multipart/bag multipart/mixed"""
_WILDCARDS = "* _*_ *;q=0.1 *;q=0.5 *;q=0.9 *;q=1 gzip,_* gzip,_br,_* gzip;q=0.5,_*"
_KINDS = ("identity", "streaming_identity", "streaming_empty_identity", "streaming_blanks_identity")
DIFFERENCES: dict[str, dict[str, str]] = {
    "Django": {"test_random_bytes": NOISE, "test_passing_explicit_none": NONE},
    "django-compression-middleware": {"test_content_encoding_parsing": GRAMMAR},
    "django-http-compression": {
        **{f"test_{form}{kind}": VARY for form in ("", "async_") for kind in _KINDS},
        **{f"test_{form}streaming_{name}": ADAPTIVE for form in ("", "async_") for name in ("gzip", "brotli", "zstd")},
        **{f"test_best_coding[{header}]": WILDCARD for header in _WILDCARDS.split()},
        **{f"test_content_type_re[{name}]": TYPE for name in _TYPES.split()},
        **dict.fromkeys(("test_brotli", "test_async_brotli"), BYTES),
        **dict.fromkeys(("test_streaming_empty_brotli", "test_streaming_blanks_brotli"), BYTES),
    },
}

_DJANGO_LABELS = """middleware.tests.GZipMiddlewareTest middleware.tests.ETagGZipMiddlewareTest decorators.test_gzip
deprecation.test_middleware_mixin.MiddlewareMixinTests.test_passing_explicit_none
deprecation.test_middleware_mixin.MiddlewareMixinTests.test_coroutine"""
_DJANGO_SETTINGS = """
from test_sqlite import *

DJANGO_PERF = {"COMPRESSION": {"MIN_SIZE": 200}}
"""
_SITE = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="suite",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF="tests.urls",
    MIDDLEWARE=["django_http_compression.middleware.HttpCompressionMiddleware"],
    DJANGO_PERF={"COMPRESSION": {"MIN_SIZE": %d}},
)
django.setup()
"""
_INI = "[pytest]\naddopts = -p no:django -p no:randomly -p no:cacheprovider -p no:xdist -rfE\n"
# The tests make requests and responses of their own, with no more than the rival reads.
_DCM_MIDDLEWARE = """
from django.http import HttpRequest

from django_perf.compression.middleware import CompressionMiddleware as Ours
from django_perf.compression.negotiation import choose
from django_perf.conf import ENCODINGS


class CompressionMiddleware(Ours):
    def process_response(self, request, response):
        whole = HttpRequest()
        whole.META = request.META
        self.compressor.process(whole, response)
        return response


def compressor(header):
    coding = choose(header, ENCODINGS)
    return None if coding == "identity" else coding, None, None
"""
_ZSTANDARD = """
try:
    from compression import zstd
except ImportError:
    from backports import zstd


class ZstdDecompressor:
    decompress = staticmethod(zstd.decompress)
"""
_DHC_MIDDLEWARE = """
from django_perf.compression.middleware import CompressionMiddleware
from django_perf.compression.negotiation import choose
from django_perf.compression.rules import is_text
from django_perf.conf import CONTENT_TYPES, ENCODINGS


class Types:
    def match(self, content_type):
        return is_text(content_type, CONTENT_TYPES)


class HttpCompressionMiddleware(CompressionMiddleware):
    max_random_bytes = 99
    content_type_re = Types()


def best_coding(header):
    return choose(header, ENCODINGS)
"""
_PARAMETRIZE = """
def parametrize(names, rows):
    def decorate(function):
        function.rows = names.split(","), rows
        return function
    return decorate


class ParametrizedTestCase:
    def __init_subclass__(cls):
        super().__init_subclass__()
        for name, function in list(vars(cls).items()):
            if hasattr(function, "rows"):
                delattr(cls, name)
                names, rows = function.rows
                for row in rows:
                    def test(self, function=function, row=dict(zip(names, row))):
                        function(self, **row)
                    setattr(cls, f"{name}[{str(row[0])[:60].replace(' ', '_')}]", test)
"""
_DHC_VIEWS = """
import os

from django.http import HttpResponse, StreamingHttpResponse

HEAD = "<!doctype html>\\n<html>\\n<head><title>Hello</title></head>\\n<body>\\n"
basic_html = HEAD + "<p>Hello, world</p>\\n" * 14 + "</body></html>\\n"
LINES = basic_html.splitlines(keepends=True)


def index(request):
    return HttpResponse(basic_html)


async def async_index(request):
    return HttpResponse(basic_html)


def short(request):
    return HttpResponse("short")


def encoded(request):
    return HttpResponse(basic_html, headers={"Content-Encoding": "supercompression"})


def etag(request):
    return HttpResponse(basic_html, headers={"ETag": '"12345"'})


def random(request):
    return HttpResponse(os.urandom(100))


def binary(request):
    return HttpResponse(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(500), content_type="image/png")


def streaming(pieces):
    return lambda request: StreamingHttpResponse(iter(pieces))


def async_streaming(pieces):
    async def later():
        for piece in pieces:
            yield piece

    async def view(request):
        return StreamingHttpResponse(later())

    return view
"""
_DHC_URLS = """
from django.urls import path

from . import views

KINDS = {"": views.LINES, "empty/": [], "blanks/": ["", ""]}
urlpatterns = [
    path("", views.index),
    path("async/", views.async_index),
    *(path(f"{name}/", getattr(views, name)) for name in ("short", "encoded", "etag", "random", "binary")),
    *(path(f"streaming/{name}", views.streaming(pieces)) for name, pieces in KINDS.items()),
    *(path(f"async/streaming/{name}", views.async_streaming(pieces)) for name, pieces in KINDS.items()),
]
"""


def fetch(name: str, version: str, folder: Path) -> Path:
    """Return the unpacked sdist."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run(
        [*command, "--dest", str(folder), f"{name}=={version}"], check=True, stderr=subprocess.DEVNULL, timeout=600
    )
    pattern = name.replace("-", "[-_]") + f"-{version}"
    (archive,) = folder.glob(f"{pattern}.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return next(path for path in folder.glob(pattern) if path.is_dir())


def change(path: Path, *changes: tuple[str, str]) -> None:
    """Replace by regular expressions; each has to be found, else the suite is another one."""
    text = path.read_text()
    for old, new in changes:
        text, count = re.subn(old, new, text, flags=re.DOTALL)
        assert count, (path, old)
    path.write_text(text)


def run(command: list[str], folder: Path, paths: list[Path]) -> str:
    """Run a suite and return what it says."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "RUNNING_DJANGOS_TEST_SUITE": "true"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    return result.stdout


def run_django(folder: Path) -> tuple[int, set[str]]:
    """Run what Django tests of GZipMiddleware and gzip_page; returns how many tests there are, and what failed."""
    tests = fetch_django(folder)
    ours = "from django_perf.compression.middleware import CompressionMiddleware as GZipMiddleware"
    stock = "from django.middleware.gzip import GZipMiddleware"
    change(tests / "middleware" / "tests.py", (stock, ours))
    change(
        tests / "deprecation" / "test_middleware_mixin.py",
        (stock, ours),
        (r"middlewares = \[.*?\]", "middlewares = [GZipMiddleware]"),
    )
    change(
        tests / "decorators" / "test_gzip.py",
        (
            "from django.views.decorators.gzip import gzip_page",
            "from django_perf.compression import compress as gzip_page",
        ),
    )
    (tests / "suite_compression.py").write_text(_DJANGO_SETTINGS)
    command = ["runtests.py", "--settings=suite_compression", "--noinput", "--parallel=1"]
    output = run([*command, *_DJANGO_LABELS.split()], tests, [ROOT, tests.parent])
    ran = re.search(r"^Ran (\d+) tests?", output, re.MULTILINE)
    assert ran, output
    return int(ran[1]), set(re.findall(r"^(?:FAIL|ERROR): (\w+)", output, re.MULTILINE))


def run_pytest(project: Path, *modules: str) -> tuple[int, set[str]]:
    """Run modules of a rival; returns the same."""
    (project / "suite.ini").write_text(_INI)
    command = ["-m", "pytest", "-q", "-c", "suite.ini", "--rootdir=.", "--tb=short"]
    output = run([*command, *(f"tests/{module}" for module in modules)], project, [project, ROOT])
    counts = re.findall(r"(\d+) (?:passed|failed|errors?)", output.strip().splitlines()[-1])
    assert counts, output
    if "--verbose" in sys.argv:
        print(output)
    failed = re.findall(r"^(?:FAILED|ERROR) \S+?::\w+::(.+?)(?: - .*)?$", output, re.MULTILINE)
    return sum(map(int, counts)), set(failed)


def run_compression_middleware(folder: Path) -> tuple[int, set[str]]:
    """Run all tests of django-compression-middleware."""
    project = fetch("django-compression-middleware", "0.5.0", folder)
    package = project / "compression_middleware"
    (package / "middleware.py").write_text(_DCM_MIDDLEWARE)
    (package / "decorators.py").write_text("from django_perf.compression import compress as compress_page\n")
    (project / "zstandard.py").write_text(_ZSTANDARD)
    (project / "tests" / "__init__.py").write_text(_SITE % 500)
    change(project / "tests" / "test_middleware.py", (r"FakeResponse\((\s*)content=", r"HttpResponse(\1content="))
    return run_pytest(project, "test_middleware.py", "test_interactions.py", "test_decorator.py")


def run_http_compression(folder: Path) -> tuple[int, set[str]]:
    """Run the middleware's tests of django-http-compression, whose sdist lacks the site that they ask."""
    project = fetch("django-http-compression", "1.4.0", folder)
    package, tests = project / "django_http_compression", project / "tests"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "middleware.py").write_text(_DHC_MIDDLEWARE)
    (project / "unittest_parametrize.py").write_text(_PARAMETRIZE)
    (tests / "__init__.py").write_text(_SITE % 50)
    (tests / "views.py").write_text(_DHC_VIEWS)
    (tests / "urls.py").write_text(_DHC_URLS)
    # The header of random length is theirs alone; each test would end there.
    change(
        tests / "test_middleware.py",
        (r'\n +assert 0 <= len\(response.headers\["x-noise"\]\) <= 132', ""),
        (r'response.headers\["vary"\] ==', 'response.headers["vary"].lower() =='),
    )
    return run_pytest(project, "test_middleware.py")


SUITES: dict[str, Callable[[Path], tuple[int, set[str]]]] = {
    "Django": run_django,
    "django-compression-middleware": run_compression_middleware,
    "django-http-compression": run_http_compression,
}


def main() -> None:
    """Run all, print what differs and why, and exit 1 when something else does."""
    is_wrong = False
    for name, suite in SUITES.items():
        with tempfile.TemporaryDirectory() as temporary:
            count, failed = suite(Path(temporary))
        known = DIFFERENCES[name]
        version = f" {django.get_version()}" if name == "Django" else ""
        print(f"{name}{version}: {count} tests, {count - len(failed)} pass, {len(failed)} differ", flush=True)
        reasons: dict[str, list[str]] = {}
        for test in sorted(failed):
            reasons.setdefault(known.get(test, "UNKNOWN"), []).append(test)
        for reason, tests in reasons.items():
            print(f"  {reason}:\n    {', '.join(tests)}")
        gone = known.keys() - failed
        if gone:
            print(f"  no longer different: {', '.join(sorted(gone))}")
        is_wrong = is_wrong or not failed <= known.keys()
    sys.exit(is_wrong)


if __name__ == "__main__":
    main()
