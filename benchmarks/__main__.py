"""Run all benchmarks, or those of one noun: python -m benchmarks [noun] [options of the benchmark]."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HELPERS = {"worker", "recorded", "pool_load", "pool_proxy", "pool_site", "pool_worker"}
NOUNS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem not in HELPERS)


def main() -> None:
    """Run the nouns that the command line names, with the rest of it as their own arguments."""
    noun = sys.argv.pop(1) if sys.argv[1:2] and not sys.argv[1].startswith("-") else None
    if noun is not None and noun not in NOUNS:
        sys.exit(f"no benchmark {noun!r}; there are {', '.join(NOUNS)}")
    wanted = NOUNS if noun is None else [noun]
    for noun in wanted:
        print(f"\n== {noun}", flush=True)
        runpy.run_module(f"benchmarks.{noun}", run_name="__main__")


if __name__ == "__main__":
    main()
