"""Which eviction policy keeps what is asked for again? Hit ratios of the memory level on public access traces.

DJANGO_PERF_CACHE_TRACES names the folder of the traces: those of the Caffeine simulator, xz of one int32 per request or
gzip of one integer per line, and unchanged. Beside our policies, as they ship: the rule of Django's LocMemCache (least
recently used, but a third leaves at once), and the optimum, which knows the future (Belady).
"""

from __future__ import annotations

import gzip
import heapq
import lzma
import os
import statistics
from array import array
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from django_perf.cache.memory import MISSING, Memory

SIZES = {
    "web12": (250, 1000, 2500),
    "orm-busy": (250, 1000, 4000),
    "sprite": (250, 500, 1000),
    "multi2": (500, 1000, 2000),
}
MOST_REQUESTS = 1_000_000
MEAN_TARGET, WORST_TARGET = 2.5, -1.0
# What LocMemCache divides by when it is full.
CULL_FREQUENCY = 3

Keys = list[str]


def read(path: Path) -> Keys:
    """Return the keys that a trace asks for, in its order."""
    numbers = array("i")
    with lzma.open(path) if path.suffix == ".xz" else gzip.open(path) as file:
        content = file.read()
    if path.suffix == ".xz":
        numbers.frombytes(content)
    else:
        numbers.extend(int(line) for line in content.splitlines() if line.strip() and b"*" not in line)
    # One string per key, as a real key is hashed once per request and not once per comparison.
    names = {number: f"key:{number}" for number in set(numbers)}
    return [names[number] for number in numbers[:MOST_REQUESTS]]


def ours(policy: str) -> Callable[[Keys, int], int]:
    """Return a count of the hits of our memory under a policy."""

    def hits(keys: Keys, size: int) -> int:
        memory = Memory(size, 2**40, policy, clock=lambda: 0.0)
        get, put, count = memory.get, memory.put, 0
        for key in keys:
            if get(key, 0.0) is MISSING:
                put(key, "", None)
            else:
                count += 1
        return count

    return hits


def locmem(keys: Keys, size: int) -> int:
    """Count the hits under LocMemCache's rule."""
    held: OrderedDict[str, None] = OrderedDict()
    count = 0
    for key in keys:
        if key in held:
            count += 1
        elif len(held) >= size:
            for _ in range(len(held) // CULL_FREQUENCY):
                held.popitem(last=False)
        held[key] = None
        held.move_to_end(key)
    return count


def optimum(keys: Keys, size: int) -> int:
    """Count the hits of whoever drops what is asked for last of all (Belady), and has to take in whatever comes."""
    nexts = following(keys)
    held: dict[str, int] = {}
    latest: list[tuple[int, str]] = []
    count = 0
    for key, following_use in zip(keys, nexts, strict=True):
        if key in held:
            count += 1
        elif len(held) >= size:
            drop_latest(held, latest)
        held[key] = following_use
        heapq.heappush(latest, (-following_use, key))
    return count


def following(keys: Keys) -> list[int]:
    """Return for every request when its key is asked for next."""
    seen: dict[str, int] = {}
    nexts = [0] * len(keys)
    for index in range(len(keys) - 1, -1, -1):
        nexts[index] = seen.get(keys[index], len(keys))
        seen[keys[index]] = index
    return nexts


def drop_latest(held: dict[str, int], latest: list[tuple[int, str]]) -> None:
    """Drop the key that is asked for last; entries of the heap that a later request has overtaken are skipped."""
    while True:
        use, key = heapq.heappop(latest)
        if held.get(key) == -use:
            del held[key]
            return


RIVALS: dict[str, Callable[[Keys, int], int]] = {
    "s3fifo": ours("s3fifo"),
    "lru": ours("lru"),
    "lfu": ours("lfu"),
    "locmem": locmem,
    "optimum": optimum,
}


def measure(folder: Path) -> list[dict[str, float]]:
    """Print the hit ratios in percent, a line per trace and size, and return them."""
    print(f"{'trace':<10}{'size':>6}", *(f"{name:>8}" for name in RIVALS), f"{'s3-lru':>8}")
    cells = []
    for trace, sizes in SIZES.items():
        (path,) = folder.glob(f"{trace}.trace.*")
        keys = read(path)
        for size in sizes:
            cells.append({name: 100 * count(keys, size) / len(keys) for name, count in RIVALS.items()})
            print(line(trace, str(size), cells[-1]), flush=True)
    return cells


def line(trace: str, size: str, ratios: dict[str, float]) -> str:
    """Return one line of the table."""
    return " ".join(
        [
            f"{trace:<10}{size:>6}",
            *(f"{ratios[name]:8.1f}" for name in RIVALS),
            f"{ratios['s3fifo'] - ratios['lru']:+8.1f}",
        ]
    )


def main() -> None:
    """Measure and print."""
    folder = os.environ.get("DJANGO_PERF_CACHE_TRACES")
    if not folder:
        # No error: the other benchmarks are to run where there are no traces.
        print("not measured: DJANGO_PERF_CACHE_TRACES has to name the folder of the traces")
        return
    cells = measure(Path(folder))
    mean = {name: statistics.fmean(cell[name] for cell in cells) for name in RIVALS}
    worst = min(cell["s3fifo"] - cell["lru"] for cell in cells)
    print(line("mean", "", mean))
    gain = mean["s3fifo"] - mean["lru"]
    print(f"s3fifo above lru: mean {gain:+.1f} points (target >= {MEAN_TARGET:+.1f})", end=", ")
    print(f"worst cell {worst:+.1f} (target >= {WORST_TARGET:+.1f})")


if __name__ == "__main__":
    main()
