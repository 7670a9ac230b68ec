"""What does measuring add to a request? Ours, everything on and nothing sampled, beside its rivals.

Each configuration is a process of its own; rounds are interleaved, so a slow minute of the machine hits all alike.
Figures are medians over rounds: the ratio to bare Django of the same round, and the microseconds added to it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARE, OURS = "bare", "django_perf"
NAMES = (BARE, "bare again", "empty middleware", OURS, "django-prometheus", "OpenTelemetry", "django-silk")
# Address, title, requests per round, target ratio of ours if there is one.
View = tuple[str, str, int, float | None]
VIEWS: tuple[View, ...] = (
    ("/hello", "no query", 120, 1.08),
    ("/queries/3", "3 queries", 40, 1.03),
    ("/queries/50", "50 queries", 6, 1.04),
)
# Rival: our added time may be at most this part of theirs.
PARTS = {"django-prometheus": 8, "OpenTelemetry": 15, "django-silk": 100}
# Requests are fewer by this.
_SLOW = {"django-silk": 10, "django-debug-toolbar": 30}


@dataclass
class Server:
    """Drive one child process."""

    name: str
    process: subprocess.Popen[str]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def ask(self, address: str, count: int) -> None:
        """Have it serve `count` requests and note the seconds for one."""
        count = max(2, count // _SLOW.get(self.name, 1))
        self.seconds.setdefault(address, []).append(float(self._answer(f"{address} {count}")) / count)

    def recorded(self, address: str) -> int:
        """Have it serve one request and return how many of its statements it has recorded."""
        return int(self._answer(f"{address} ?"))

    def _answer(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended with {self.process.wait()}")
        return answer


@contextmanager
def started(name: str, folder: str) -> Iterator[Server]:
    """Start the child of one configuration; it ends with its standard input."""
    command = [sys.executable, "-m", "benchmarks.worker", name, folder]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"{name} did not start; run `{' '.join(command[1:])}` to see why")
        yield Server(name, process)
        assert process.stdin is not None
        process.stdin.close()


def measure(servers: list[Server], rounds: int, views: Sequence[View] = VIEWS) -> None:
    """Ask all in turn; the order turns too, so that nobody always follows the same neighbour."""
    for number in range(rounds + 1):
        turn = number % len(servers)
        for address, _, count, _ in views:
            for server in servers[turn:] + servers[:turn]:
                server.ask(address, count)
    for server in servers:
        for seconds in server.seconds.values():
            del seconds[0]  # the first round warms up


def report(servers: list[Server]) -> None:
    """Print a table per view."""
    by_name = {server.name: server for server in servers}
    for address, title, _, target in VIEWS:
        bare = by_name[BARE].seconds[address]
        added = {name: added_us(server.seconds[address], bare) for name, server in by_name.items()}
        print(f"\n{title}: bare {statistics.median(bare) * 1e6:.0f} us")
        for name, server in by_name.items():
            goal = f"   target <= {target}" if name == OURS else _part(name, added)
            print(f"  {name:18} {ratio(server.seconds[address], bare):7.3f} x   {added[name]:+9.1f} us{goal}")


def ratio(own: list[float], bare: list[float]) -> float:
    """Return the median of the ratios within each round."""
    return statistics.median(one / base for one, base in zip(own, bare, strict=True))


def added_us(own: list[float], bare: list[float]) -> float:
    """Return the median of the differences within each round, in microseconds."""
    return statistics.median(one - base for one, base in zip(own, bare, strict=True)) * 1e6


def _part(name: str, added: dict[str, float]) -> str:
    if name not in PARTS:
        return ""
    return f"   ours is 1/{added[name] / max(added[OURS], 0.1):.0f} of it, target 1/{PARTS[name]}"


def command_line(description: str | None, names: Sequence[str], rounds: int) -> argparse.ArgumentParser:
    """Return a parser of what all comparisons of configurations take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    return parser


def chosen(names: Sequence[str], only: Sequence[str] | None) -> list[str]:
    """Return the configurations that were asked for, and the two without which there is nothing to compare."""
    return [name for name in names if only is None or name in only or name in {BARE, OURS}]


def main() -> None:
    """Measure and print."""
    options = command_line(__doc__, NAMES, rounds=61).parse_args()
    names = chosen(NAMES, options.only)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = [stack.enter_context(started(name, folder)) for name in names]
        measure(servers, options.rounds)
    report(servers)


if __name__ == "__main__":
    main()
