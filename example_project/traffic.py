"""Send mixed live traffic to the shop: `python -m example_project.traffic --url http://127.0.0.1:8000 --rate 60`.

The loop is open: requests fall due at the wanted rate whether or not earlier ones were answered, as visitors do. It
ends after --seconds, on SIGTERM or SIGINT, or when nobody answers, and prints one JSON line of totals.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

TIMEOUT_S = 30
# A request this late is left out and counted: sending the whole backlog at once would measure a burst.
MAX_LATENESS_S = 2.0
# So many failures in a row mean that the server is gone; a forgotten process must not knock for ever.
MAX_FAILURES_IN_A_ROW = 100
REMEMBERED_IDS = 200
# How much more the first is wanted than the second, and so on: half of all visits go to ten of 10,000 products, and a
# quarter to those behind the first hundred.
ZIPF = 1.25
# What browsers accept, over TLS and without, and what robots do.
ACCEPTED = {"gzip, deflate, br, zstd": 80, "gzip, deflate": 12, "identity": 8}
CATEGORIES = ("Audio", "Bikes", "Books", "Games", "Tools", "No such category")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send."""

    method: str
    path: str
    body: dict[str, Any] | None = None


@dataclass(slots=True)
class Visitors:
    """Choose what to ask for, knowing the highest product id and one category that exists."""

    chance: random.Random
    newest_id: int = 1
    category_id: int = 1
    created: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED_IDS))

    def popular(self, highest: int) -> int:
        """Return a number from 1 to `highest`, small ones far more often: a few pages get most of the visits."""
        reach = 1 - (highest + 1) ** (1 - ZIPF)
        return min(int((1 - self.chance.random() * reach) ** (1 / (1 - ZIPF))), highest)

    def list_page(self) -> Call:
        return Call("GET", f"/products?page={self.popular(30)}&per_page={self.chance.choice((20, 20, 50))}")

    def category_page(self) -> Call:
        category = self.chance.choice(CATEGORIES).replace(" ", "%20")
        return Call("GET", f"/products?category={category}&page={self.popular(5)}")

    def catalogue_page(self) -> Call:
        return Call("GET", f"/catalogue?page={self.popular(30)}")

    def keyset_page(self) -> Call:
        return Call("GET", "/products?cursor=&per_page=50")

    def categories(self) -> Call:
        return Call("GET", "/categories")

    def detail(self) -> Call:
        return Call("GET", f"/products/{self.popular(self.newest_id)}")

    def reviews(self) -> Call:
        return Call("GET", f"/products/{self.popular(self.newest_id)}/reviews")

    def unknown_product(self) -> Call:
        return Call("GET", f"/products/{10**9 + self.popular(50)}")

    def unknown_path(self) -> Call:
        return Call("GET", f"/no/such/page/{self.chance.randrange(10**6)}")

    def create(self) -> Call:
        body = {"name": f"Brand-new thing {self.chance.randrange(10**6)}", "price": "9.90"}
        return Call("POST", "/products", body | {"category_id": self.category_id})

    def patch(self) -> Call:
        price = f"{self.chance.randint(1, 999)}.50"
        return Call("PATCH", f"/products/{self.popular(self.newest_id)}", {"price": price})

    def delete(self) -> Call:
        """Delete what this process created, never what was there before."""
        return Call("DELETE", f"/products/{self.created.popleft()}") if self.created else self.create()

    def invalid(self) -> Call:
        return Call("POST", "/products", {"name": "", "price": -5})


# Staff change some four things a minute at 60 requests a second.
ORDINARY: dict[Callable[[Visitors], Call], float] = {
    Visitors.list_page: 26,
    Visitors.category_page: 10,
    Visitors.catalogue_page: 6,
    Visitors.keyset_page: 3,
    Visitors.categories: 6,
    Visitors.detail: 34,
    Visitors.reviews: 8,
    Visitors.unknown_product: 2,
    Visitors.unknown_path: 1,
    Visitors.create: 0.04,
    Visitors.patch: 0.06,
    Visitors.delete: 0.02,
    Visitors.invalid: 1,
}
# Path of a harmless probe, path to send, share of the traffic: some minutes at 60 a second are evidence for the advice.
PLANTED = (
    ("/slow?ms=0", "/slow?ms=1200", 0.4),
    ("/slow-sql?s=0", "/slow-sql?s=1.2", 0.2),
    ("/n-plus-one?n=0", "/n-plus-one", 1),
    ("/chatty?n=0", "/chatty", 0.5),
    ("/unbounded?below=0", "/unbounded", 0.5),
    ("/held-transaction?ms=0", "/held-transaction", 0.5),
    ("/leak", "/leak", 0.5),
    ("/error", "/error", 2),
    ("/big?kb=0", "/big?kb=200", 1),
    ("/cold-burst?ms=0", "/cold-burst", 12),
    ("/held-connection?ms=0", "/held-connection", 6),
    ("/uncompressed?kb=0", "/uncompressed", 4),
    ("/cold-keys?n=0", "/cold-keys", 1),
    ("/tiny-memory?n=0", "/tiny-memory", 1),
)


class Totals:
    """Count what was sent and how it was answered; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failures_in_a_row = 0

    def answered(self, status: int) -> None:
        """Count an answer by its class, such as 2xx."""
        # Critical section: the counts and the row of failures change together.
        with self._lock:
            self._counts[f"{status // 100}xx"] += 1
            self._failures_in_a_row = 0

    def failed(self) -> bool:
        """Count a request without an answer; return True when it is time to give up."""
        with self._lock:
            self._counts["failed"] += 1
            self._failures_in_a_row += 1
            return self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW

    def skipped(self) -> None:
        """Count a request that fell due while all threads were busy."""
        with self._lock:
            self._counts["skipped"] += 1

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return the totals as they are printed; `sent` includes those that failed."""
        with self._lock:
            counts = dict(self._counts)
        skipped, failed = counts.pop("skipped", 0), counts.pop("failed", 0)
        sent = sum(counts.values()) + failed
        statuses = dict(sorted(counts.items()))
        return {"sent": sent, "status": statuses, "failed": failed, "skipped": skipped, "seconds": round(seconds, 1)}


class Traffic:
    """Send calls from several threads until told to stop."""

    def __init__(self, client: httpx.Client, visitors: Visitors) -> None:
        self.stop = threading.Event()
        self.totals = Totals()
        self._client = client
        self._visitors = visitors
        self._choosing = threading.Lock()

    def send(self, call: Call, accepted: str = "gzip") -> httpx.Response | None:
        """Send one call and count it; None when there was no answer."""
        headers = {"Accept-Encoding": accepted}
        try:
            response = self._client.request(call.method, call.path, json=call.body, headers=headers)
        except httpx.HTTPError:
            if self.totals.failed():
                self.stop.set()
            return None
        self.totals.answered(response.status_code)
        return response

    def weights(self) -> dict[Callable[[Visitors], Call], float]:
        """Look at the shop and return what to send, by weight: the ordinary calls and the faults switched on."""
        self._visitors.newest_id = self.first_id("/products?per_page=1")
        self._visitors.category_id = self.first_id("/categories")
        faults = [(path, share) for probe, path, share in PLANTED if self.is_planted(probe)]
        return ORDINARY | {(lambda _visitors, path=path: Call("GET", path)): share for path, share in faults}

    def first_id(self, path: str) -> int:
        """Return the id of the first item in a list; 1 when there is none."""
        response = self.send(Call("GET", path))
        items = response.json()["items"] if response is not None and response.is_success else []
        return items[0]["id"] if items else 1

    def is_planted(self, probe: str) -> bool:
        """Return whether the shop answers for a fault; switched off it is 404."""
        response = self.send(Call("GET", probe))
        return response is not None and response.status_code != httpx.codes.NOT_FOUND

    def run(self, threads: int, rate: float) -> None:
        """Send `rate` calls a second until `stop` is set."""
        weights = self.weights()
        due = due_times(time.monotonic(), rate, self._visitors.chance)
        workers = [threading.Thread(target=self.work, args=(due, weights)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def work(self, due: Iterator[float], weights: dict[Callable[[Visitors], Call], float]) -> None:
        """Take the next due time and call, wait for it, send; the body of each thread."""
        while not self.stop.is_set():
            # Critical section: a generator and a random source serve one thread at a time.
            with self._choosing:
                moment = next(due)
                [choose] = self._visitors.chance.choices(list(weights), list(weights.values()))
                call = choose(self._visitors)
                [accepted] = self._visitors.chance.choices(list(ACCEPTED), list(ACCEPTED.values()))
            wait = moment - time.monotonic()
            if wait < -MAX_LATENESS_S:
                self.totals.skipped()
            elif not self.stop.wait(max(wait, 0)):
                self.remember(self.send(call, accepted if call.method == "GET" else "gzip"))

    def remember(self, response: httpx.Response | None) -> None:
        """Keep the id of a product just created, to look at and to delete later."""
        if response is not None and response.status_code == httpx.codes.CREATED:
            self._visitors.created.append(response.json()["id"])


def due_times(start: float, rate: float, chance: random.Random) -> Iterator[float]:
    """Yield the moments at which requests fall due: a Poisson process of `rate` a second."""
    moment = start
    while True:
        moment += chance.expovariate(rate)
        yield moment


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, each within its limits."""
    parser = argparse.ArgumentParser(prog="example_project.traffic", description="Send mixed live traffic to the shop.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the shop")
    parser.add_argument("--threads", type=int, default=4, help="requests in flight at most, 1 to 64")
    parser.add_argument("--rate", type=float, default=60, help="requests a second, up to 1000")
    parser.add_argument("--seconds", type=float, help="stop by itself after this time")
    options = parser.parse_args(arguments)
    if not (1 <= options.threads <= 64 and 0 < options.rate <= 1000):
        parser.error("--threads must be from 1 to 64 and --rate above 0 and at most 1000")
    if options.seconds is not None and not 0 < options.seconds <= threading.TIMEOUT_MAX:
        parser.error("--seconds must be above 0")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the end and print the totals."""
    options = parse_arguments(arguments)
    started = time.monotonic()
    # trust_env: a proxy from the environment has no business between two processes of one machine.
    with httpx.Client(base_url=options.url, timeout=TIMEOUT_S, trust_env=False) as client:
        traffic = Traffic(client, Visitors(random.Random()))
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: traffic.stop.set())
        if options.seconds:
            timer = threading.Timer(options.seconds, traffic.stop.set)
            timer.daemon = True
            timer.start()
        traffic.run(options.threads, options.rate)
    print(json.dumps(traffic.totals.summary(time.monotonic() - started)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
