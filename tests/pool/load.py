"""Send requests at times that are fixed in advance, however the site answers, and tell what became of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from threading import Thread

PAGES = ("plain", "read", "write")
CLIENT_TIMEOUT_S = 15.0
SLOW_S = 1.0


@dataclass(slots=True)
class Request:
    """One request: `due` by the schedule, `began` and `ended` in fact (monotonic); `fault` is "" when it succeeded."""

    page: str
    token: str
    due: float
    began: float = 0.0
    ended: float = 0.0
    fault: str = ""
    body: str = ""

    @property
    def latency_s(self) -> float:
        """Return the seconds since the request was due, which a late start does not shorten."""
        return self.ended - self.due


@dataclass
class Load:
    """Send `rate` requests per second for `seconds`, a third to each page; `requests` grows as they are due.

    Every request has a connection of its own, and none waits for another: a hanging site gets the same load. In the
    seconds of `lull` (from, to) there is no request.
    """

    address: tuple[str, int]
    rate: float
    seconds: float
    lull: tuple[float, float] = (0.0, 0.0)
    requests: list[Request] = field(default_factory=list)

    def start(self) -> None:
        """Begin, in a thread."""
        self.began = time.monotonic()
        self._thread = Thread(target=lambda: asyncio.run(self._send_all()), name="load")
        self._thread.start()

    def sleep_until(self, second: float) -> None:
        """Wait for a second of the schedule."""
        time.sleep(max(0.0, self.began + second - time.monotonic()))

    def join(self) -> None:
        """Wait until every request has its answer, or has given up."""
        self._thread.join()

    async def _send_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(round(self.rate * self.seconds)):
                second = number / self.rate
                if self.lull[0] <= second < self.lull[1]:
                    continue
                due = self.began + second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                request = Request(PAGES[number % len(PAGES)], uuid.uuid4().hex, due)
                self.requests.append(request)
                tasks.create_task(self._send(request))

    async def _send(self, request: Request) -> None:
        request.began = time.monotonic()
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                answer = await self._get(f"/{request.page}/?token={request.token}")
            request.fault, request.body = _read(answer)
        except TimeoutError:
            request.fault = "timeout"
        except ConnectionRefusedError:
            request.fault = "refused"
        except OSError:
            request.fault = "reset"
        finally:
            request.ended = time.monotonic()

    async def _get(self, path: str) -> bytes:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return await reader.read()
        finally:
            writer.close()


def _read(answer: bytes) -> tuple[str, str]:
    """Return what is wrong with an answer, "" for nothing, and its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return "empty", ""
    status = head.split(b" ", 2)[1].decode()
    return "" if status == "200" else status, body.decode()


@dataclass(frozen=True, slots=True)
class Fault:
    """When a fault began, when it was complete, and when it was over (monotonic)."""

    began: float
    struck: float
    healed: float


@dataclass(frozen=True)
class Figures:
    """What became of the requests of one run."""

    requests: list[Request]
    fault: Fault
    stored: frozenset[str]

    @property
    def failed(self) -> list[Request]:
        """Return the failed ones."""
        return [one for one in self.requests if one.fault]

    @property
    def kinds(self) -> Counter[str]:
        """Return how many failed in which way."""
        return Counter(one.fault for one in self.failed)

    @property
    def in_flight(self) -> list[Request]:
        """Return those that were running when the fault struck."""
        return [one for one in self.requests if one.began < self.fault.struck and one.ended > self.fault.began]

    @property
    def failed_later(self) -> list[Request]:
        """Return the failed ones that were sent after the fault had struck."""
        return [one for one in self.failed if one.began >= self.fault.struck]

    @property
    def slow(self) -> list[Request]:
        """Return those that succeeded late."""
        return [one for one in self.requests if not one.fault and one.latency_s > SLOW_S]

    @property
    def recovery_s(self) -> float:
        """Return when after the end of the fault the last request came that failed or was slow, 0.0 for none."""
        late = [one.due for one in (*self.failed, *self.slow) if one.due > self.fault.healed]
        return max(late) - self.fault.healed if late else 0.0

    @property
    def worst_s(self) -> float:
        """Return the longest latency."""
        return max(one.latency_s for one in self.requests)

    @property
    def lost(self) -> set[str]:
        """Return the tokens that were acknowledged and are not in the table."""
        return {one.token for one in self.requests if one.page == "write" and not one.fault} - self.stored

    def median_ms(self, pages: Iterable[str], after_s: float = 0.0) -> float | None:
        """Return the median latency on `pages` during the fault, or what is left of it `after_s`; None for none."""
        pages, fault = set(pages), self.fault
        during = [one for one in self.requests if fault.began + after_s <= one.due < fault.healed]
        latencies = [one.latency_s for one in during if one.page in pages]
        return 1e3 * median(latencies) if latencies else None
