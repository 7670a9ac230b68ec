"""Plant the faults that a performance tool has to find; each answers 404 unless SHOP_FAULTS names it.

Every argument has a limit, so that a curious visitor can slow the demo down but not stop it.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.models import Value
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from django_perf.cache import MultiLevelCache
from example_project.shop.errors import error_response
from example_project.shop.models import Category, Product, Review

ALL = "all"
MEGABYTE = 2**20
# The leak has a floor and a ceiling: high enough to see on a chart, too low to take the machine down in 4 workers.
MAX_LEAKED_MB = 256
COLD_BURST_TTL_S = 2
COLD_KEYS_TTL_S = 60
# A database with a pool of one connection; the settings have it where `held-connection` is named.
SMALL_POOL = "small"
# The name of a cache for the figures: it is no alias, so that nothing else can use it.
TINY_MEMORY = {"KEY_PREFIX": "tiny", "OPTIONS": {"L1": {"max_entries": 100}}}

View = Callable[[HttpRequest], HttpResponse]
FAULTS: dict[str, View] = {}
leaked: deque[bytes] = deque(maxlen=MAX_LEAKED_MB)


def enabled_faults() -> frozenset[str]:
    """Return the names in SHOP_FAULTS."""
    return frozenset(getattr(settings, "SHOP_FAULTS", ()))


def planted(name: str) -> Callable[[View], View]:
    """Register a fault under its route and hide it unless it is switched on."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest) -> HttpResponse:
            if enabled_faults().isdisjoint((name, ALL)):
                raise Http404
            try:
                return view(request)
            except ValueError as error:
                return error_response(400, str(error))

        FAULTS[name] = guarded
        return guarded

    return decorate


def number(request: HttpRequest, name: str, default: float, maximum: float) -> float:
    """Return a parameter from 0 to `maximum`; anything else is a ValueError."""
    text = request.GET.get(name, str(default))
    try:
        value = float(text[:20])
    except ValueError:
        value = -1.0
    # A comparison with NaN is false, so NaN is refused with the rest.
    if not 0 <= value <= maximum:
        raise ValueError(f"{name} must be a number from 0 to {maximum}")
    return value


@planted("slow")
def slow(request: HttpRequest) -> HttpResponse:
    """Hold a worker thread for `?ms=` milliseconds."""
    ms = number(request, "ms", 1200, 10_000)
    time.sleep(ms / 1000)
    return JsonResponse({"slept_ms": ms})


@planted("slow-sql")
def slow_sql(request: HttpRequest) -> HttpResponse:
    """Let the database sleep for `?s=` seconds."""
    seconds = number(request, "s", 1.2, 60)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            # SQLite has no sleep of its own; the statement that is measured stays the same.
            connection.connection.create_function("pg_sleep", 1, time.sleep)
        cursor.execute("SELECT pg_sleep(%s)", [seconds])
    return JsonResponse({"slept_s": seconds})


@planted("n-plus-one")
def n_plus_one(request: HttpRequest) -> HttpResponse:
    """List `?n=` reviews and ask for the product of each one anew."""
    count = int(number(request, "n", 50, 500))
    reviews = Review.objects.order_by("id")[:count]
    return JsonResponse({"items": [{"product": review.product.name, "rating": review.rating} for review in reviews]})


@planted("chatty")
def chatty(request: HttpRequest) -> HttpResponse:
    """Send `?n=` queries, no more than four of which are alike."""
    count = int(number(request, "n", 40, 200))
    found = [Product.objects.annotate(**{f"n{n // 4}": Value(n)}).filter(id=n).first() for n in range(count)]
    return JsonResponse({"queries": len(found)})


@planted("unbounded")
def unbounded(request: HttpRequest) -> HttpResponse:
    """Fetch every product to count them; `?below=` is the largest id that is fetched."""
    below = number(request, "below", 2_000, 2**31)
    return JsonResponse({"products": len([product.name for product in Product.objects.filter(id__lte=below)])})


@planted("held-transaction")
def held_transaction(request: HttpRequest) -> HttpResponse:
    """Open a transaction and wait `?ms=` milliseconds for something else."""
    ms = number(request, "ms", 150, 2_000)
    with transaction.atomic():
        Category.objects.first()
        time.sleep(ms / 1000)
    return JsonResponse({"held_ms": ms})


@planted("leak")
def leak(request: HttpRequest) -> HttpResponse:
    """Keep a megabyte for good."""
    # Filled with something: pages of zeros would not count as resident memory.
    leaked.append(b"x" * MEGABYTE)
    return JsonResponse({"leaked_mb": len(leaked), "maximum_mb": MAX_LEAKED_MB})


@planted("error")
def error(request: HttpRequest) -> HttpResponse:
    """Raise."""
    raise RuntimeError("planted fault: this view always raises")


@planted("big")
def big(request: HttpRequest) -> HttpResponse:
    """Send `?kb=` kilobytes of JSON."""
    kilobytes = int(number(request, "kb", 512, 10_240))
    return JsonResponse({"items": [f"{line:07d} {'big ' * 252}"[:1017] for line in range(kilobytes)]})


@planted("cold-burst")
def cold_burst(request: HttpRequest) -> HttpResponse:
    """Compute for `?ms=` milliseconds whenever the entry is cold, in every request that finds it so."""
    ms = number(request, "ms", 200, 2_000)
    # No lock and a short TTL: when the entry runs out, all requests in flight compute the same value at once.
    is_cold = cache.get("cold-burst") is None
    if is_cold:
        time.sleep(ms / 1000)
        cache.set("cold-burst", 1, COLD_BURST_TTL_S)
    return JsonResponse({"computed": is_cold})


@planted("held-connection")
def held_connection(request: HttpRequest) -> HttpResponse:
    """Ask the database, and keep the connection for `?ms=` milliseconds of something else."""
    ms = number(request, "ms", 100, 2_000)
    alias = SMALL_POOL if SMALL_POOL in connections else DEFAULT_DB_ALIAS
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
    time.sleep(ms / 1000)
    return JsonResponse({"held_ms": ms})


@planted("uncompressed")
def uncompressed(request: HttpRequest) -> HttpResponse:
    """Send `?kb=` kilobytes of JSON and forbid to compress them."""
    kilobytes = int(number(request, "kb", 200, 10_240))
    items = [f"{line:07d} {'big ' * 252}"[:1017] for line in range(kilobytes)]
    return JsonResponse({"items": items}, headers={"Cache-Control": "no-transform"})


@planted("cold-keys")
def cold_keys(request: HttpRequest) -> HttpResponse:
    """Cache `?n=` values under keys that nobody will ask for again."""
    keys = [f"visit:{secrets.token_hex(8)}" for _ in range(int(number(request, "n", 50, 500)))]
    for key in keys:
        if cache.get(key) is None:
            cache.set(key, 1, COLD_KEYS_TTL_S)
    return JsonResponse({"cached": len(keys)})


@planted("tiny-memory")
def tiny_memory(request: HttpRequest) -> HttpResponse:
    """Read `?n=` of 150 values through a memory that has room for 100."""
    tiny, missed = MultiLevelCache("", TINY_MEMORY), 0
    for _ in range(int(number(request, "n", 100, 500))):
        key = f"page:{random.randrange(150)}"
        if tiny.get(key) is None:
            missed += 1
            tiny.set(key, 1, COLD_KEYS_TTL_S)
    return JsonResponse({"missed": missed})
