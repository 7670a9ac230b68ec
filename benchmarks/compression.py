"""What does compressing cost, and how much does it save? Ours beside Django's GZipMiddleware and two others.

Thread CPU time of the middleware around a view that does nothing, on pages of the admin, JSON and CSS. Rounds are
interleaved; figures are medians of microseconds over bare, ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import string
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from time import thread_time_ns

import django
from django.conf import settings

ROUNDS = 21
WORDS = (
    "red",
    "blue",
    "light",
    "solid",
    "wooden",
    "electric",
    "bike",
    "lamp",
    "chair",
    "radio",
    "table",
    "for",
    "with",
)
ALL = "gzip, deflate, br, zstd"
FROM = {
    "django-compression-middleware": ("compression_middleware.middleware", "CompressionMiddleware"),
    "django-http-compression": ("django_http_compression.middleware", "HttpCompressionMiddleware"),
}


def configure() -> None:
    """Set Django up, with an admin to draw pages of."""
    settings.configure(
        SECRET_KEY="benchmark",
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django_perf",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        STATIC_URL="static/",
        USE_TZ=True,
    )
    django.setup()


def urlpatterns_of_admin() -> list[object]:
    """Return the routes of the admin."""
    from django.contrib import admin
    from django.urls import path

    return [path("admin/", admin.site.urls)]


@cache
def admin_pages() -> dict[str, list[bytes]]:
    """Return pages of the admin, as several users see them: lists, and forms."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    globals()["urlpatterns"] = urlpatterns_of_admin()
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    chance = Random(1)
    names = ["".join(chance.choices(string.ascii_lowercase, k=9)) for _ in range(600)]
    User.objects.bulk_create(
        [User(username=name, email=f"{name}@example.com", first_name=name[:4], last_name=name[4:]) for name in names]
    )
    pages: dict[str, list[bytes]] = {"list": [], "form": []}
    for number in range(6):
        user = User.objects.create_superuser(f"root{number}", f"root{number}@example.com", "x")
        client = Client()
        client.force_login(user)
        pages["list"].append(client.get(f"/admin/auth/user/?p={number % 5 + 1}").content)
        pages["form"].append(client.get(f"/admin/auth/user/{number + 1}/change/").content)
    return pages


def products(count: int) -> bytes:
    """Return the JSON of an API."""
    chance = Random(count)
    items = [
        {
            "id": number,
            "name": " ".join(chance.choices(WORDS, k=3)),
            "description": " ".join(chance.choices(WORDS, k=14)),
            "price": str(Decimal(chance.randint(100, 99_999)) / 100),
            "category_id": chance.randint(1, 9),
            "created_at": f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T10:{chance.randint(10, 59)}:00Z",
        }
        for number in range(count)
    ]
    return json.dumps({"items": items}).encode()


def css() -> bytes:
    """Return the style sheets of the admin, in one."""
    folder = Path(django.__file__).parent / "contrib" / "admin" / "static" / "admin" / "css"
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.css")))


def sized(body: bytes, size: int) -> bytes:
    """Cut a body to a size, or take it again until it is there."""
    return (body * (size // len(body) + 1))[:size]


class Contestant:
    """A middleware around a view that answers with one body; `packed` is what it makes of it."""

    def __init__(self, name: str, make: Callable[[Callable[..., object]], Callable[..., object]], accept: str) -> None:
        from django.http import HttpResponse
        from django.test import RequestFactory

        self.name = name
        self.request = RequestFactory().get("/", headers={"accept-encoding": accept})
        self.body, self.content_type = b"", "text/html"
        self.times: list[float] = []
        self.call = make(lambda request: HttpResponse(self.body, content_type=self.content_type))

    def measure(self, count: int) -> None:
        """Add the CPU microseconds of one call to the times."""
        began = thread_time_ns()
        for _ in range(count):
            self.call(self.request)
        self.times.append((thread_time_ns() - began) / count / 1e3)

    def size(self) -> int:
        """Return the bytes of the answer."""
        return len(self.call(self.request).content)  # type: ignore[attr-defined]


def ours(**options: object) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Return our middleware with these options."""
    from django_perf.conf import Compression
    from django_perf.middleware import CompressionMiddleware

    return lambda view: CompressionMiddleware(view, Compression(**options))  # type: ignore[arg-type]


def rivals() -> dict[str, Callable[[Callable[..., object]], Callable[..., object]]]:
    """Return the others that are installed."""
    from django.middleware.gzip import GZipMiddleware

    found: dict[str, Callable[..., Callable[..., object]]] = {"Django GZip": GZipMiddleware}
    for name, (module, cls) in FROM.items():
        try:
            found[f"{name} {version(name)}"] = getattr(importlib.import_module(module), cls)
        except PackageNotFoundError:
            print(f"{name} is not installed: left out")
    return found


def compare(title: str, body: bytes, content_type: str, contestants: Iterable[Contestant], rounds: int) -> None:
    """Measure all in turn, and print CPU time over bare and bytes, as ratios to Django's GZipMiddleware."""
    everyone = list(contestants)
    count = max(3, min(400, 8_000_000 // (len(body) + 2_000)))
    for one in everyone:
        one.body, one.content_type, one.times = body, content_type, []
        one.measure(3)
        one.times.clear()
    for number in range(rounds):
        for one in everyone[:: 1 if number % 2 else -1]:
            one.measure(count)
    bare, rival = everyone[0], next(one for one in everyone if one.name == "Django GZip")
    least = rival.size()
    print(f"\n{title}, {len(body)} bytes")
    for one in everyone[1:]:
        added = [time - base for time, base in zip(one.times, bare.times, strict=True)]
        ratio = statistics.median(
            mine / theirs
            for mine, theirs in zip(
                added, (time - base for time, base in zip(rival.times, bare.times, strict=True)), strict=True
            )
        )
        size = one.size()
        print(
            f"  {one.name:38} {statistics.median(added):9.1f} us {ratio:7.3f}   {size:7} B {size / least:6.3f}",
            flush=True,
        )


def contestants(accept: str = ALL) -> list[Contestant]:
    """Return everybody: a bare view, ours in several ways, the rivals."""
    found = [Contestant("bare", lambda view: view, accept), Contestant("ours, zstd", ours(), accept)]
    if accept == ALL:
        found += [
            Contestant("ours, br", ours(), "br"),
            Contestant("ours, gzip", ours(), "gzip"),
            Contestant("ours, gzip, fast", ours(profile="fast"), "gzip"),
            Contestant("ours, gzip, small", ours(profile="small"), "gzip"),
        ]
    return found + [Contestant(name, make, accept) for name, make in rivals().items()]


def whole(rounds: int) -> None:
    """Bodies in one piece, of 32 and 200 KB and as they are."""
    pages, api, style = admin_pages(), products(900), css()
    print("targets to Django GZip: zstd 0.35 at 32 KB, 0.27 at 200 KB, 1.10 of its bytes; gzip 0.55; fast 0.20")
    for title, body, content_type in (
        ("admin list, 32 KB", sized(pages["list"][0], 32_768), "text/html"),
        ("JSON, 32 KB", api[:32_768], "application/json"),
        ("CSS, 32 KB", style[:32_768], "text/css"),
        ("admin lists, 200 KB", sized(b"".join(pages["list"]), 200_000), "text/html"),
        ("JSON, 200 KB", api[:200_000], "application/json"),
        ("JSON, 2 KB", api[:2_000], "application/json"),
    ):
        compare(title, body, content_type, contestants(), rounds)


def untouched(rounds: int) -> None:
    """Responses that are left alone, in microseconds over no middleware."""
    print("target: 10 us over no middleware")
    for title, content_type, size in (("PNG, 32 KB", "image/png", 32_768), ("JSON, 200 B", "application/json", 200)):
        compare(title, sized(b"\x89PNG-bytes", size), content_type, contestants(), rounds)
    compare(
        "JSON, 32 KB, client of identity", products(150)[:32_768], "application/json", contestants("identity"), rounds
    )


def dictionary(rounds: int) -> None:
    """Pages of the admin with a dictionary of what five of them have in common, beside br at 5."""
    from django_perf.compression.building import build
    from django_perf.compression.codecs import codec_of
    from django_perf.compression.dictionary import Dcz
    from django_perf.compression.profiles import PROFILES

    print("targets: 0.65 of the bytes and 0.2 of the CPU time of br at level 5")
    for title, pages in (*admin_pages().items(), ("the shop's HTML", shop_pages())):
        content = build(pages[:5])
        by_dictionary, br = Dcz(PROFILES["balanced"], bytes(32), content), codec_of("br", "balanced")
        codecs: dict[str, Callable[[bytes], bytes]] = {
            "dcz": lambda body, codec=by_dictionary: codec.encode(body, lambda data: 0),  # type: ignore[misc]
            "br": lambda body, codec=br: codec.encode(body, lambda data: 0),  # type: ignore[misc]
        }
        times: dict[str, list[float]] = {name: [] for name in codecs}
        for _ in range(rounds):
            for name, encode in codecs.items():
                began = thread_time_ns()
                for _ in range(20):
                    encode(pages[5])
                times[name].append((thread_time_ns() - began) / 20 / 1e3)
        sizes = {name: len(encode(pages[5])) for name, encode in codecs.items()}
        ratio = statistics.median(a / b for a, b in zip(times["dcz"], times["br"], strict=True))
        print(f"\n{title}, {len(pages[5])} bytes, dictionary of {len(content)}")
        for name in codecs:
            print(f"  {name:10} {statistics.median(times[name]):9.1f} us {sizes[name]:7} B")
        print(f"  ratio      {ratio:9.3f}    {sizes['dcz'] / sizes['br']:7.3f}")


def shop_pages() -> list[bytes]:
    """Return six pages of the shop's catalogue."""
    from django.template import Context, Engine

    folder = Path(__file__).parents[1] / "example_project" / "shop" / "templates"
    text = (folder / "shop" / "catalogue.html").read_text().replace('{% url "shop:catalogue" %}', "/catalogue")
    text = text.replace('{% url "shop:product" product.id %}', "/products/{{ product.id }}")
    template, chance = Engine().from_string(text), Random(2)
    categories = [{"name": name} for name in ("Audio", "Bikes", "Books", "Games", "Tools")]

    def page(number: int) -> bytes:
        shown = [
            {
                "id": 20 * number + index,
                "name": " ".join(chance.choices(WORDS, k=3)),
                "category_name": chance.choice(categories)["name"],
                "price": f"{chance.randint(100, 99_999) / 100:.2f}",
            }
            for index in range(20)
        ]
        about = {"total": 10_000, "page": number, "pages": 500}
        context = {"title": "All products", "categories": categories, "products": shown, "page": about}
        return template.render(Context({**context, "before": number - 1, "after": number + 1, "query": ""})).encode()

    return [page(number) for number in range(2, 8)]


def streams(rounds: int) -> None:
    """Pieces of 40 bytes: bytes in all, when the first can be read, beside never and always flushing."""
    from django_perf.compression.codecs import codec_of
    from django_perf.compression.streaming import Pump, compressed

    print("target: 1.05 of the bytes of never flushing; the first piece can be read at once")
    source = products(500)[:60_000]
    pieces = [source[at : at + 40] for at in range(0, len(source), 40)]
    for coding in ("zstd", "br", "gzip"):
        codec = codec_of(coding, "balanced")
        sent = list(compressed(iter(pieces), Pump(codec.stream(0), is_live=False), lambda pump: None))
        never, always = codec.stream(0), codec.stream(0)
        size_never = len(b"".join([*map(never.write, pieces), never.end()]))
        size_always = sum(len(always.write(piece) + always.flush()) for piece in pieces) + len(always.end())
        size = sum(map(len, sent))
        print(
            f"  {coding:5} ours {size} B, {size / size_never:.3f} of never, {size / size_always:.3f} of always; "
            f"first output {len(sent[0])} B after the first piece"
        )


PARTS = {"whole": whole, "untouched": untouched, "dictionary": dictionary, "streams": streams}


def main() -> None:
    """Run the parts that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    configure()
    installed = {name: _version(name) for name in ("Django", "backports.zstd", "brotli", "zlib-ng", "isal")}
    print(", ".join(f"{name} {number}" for name, number in installed.items()), f"Python {sys.version.split()[0]}")
    for name in options.parts or PARTS:
        print(f"\n{name}")
        PARTS[name](options.rounds)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


if __name__ == "__main__":
    main()
