"""Say how hard each coding works, by profile; the figures behind the levels are in docs/compression.md."""

from __future__ import annotations

from typing import NamedTuple


class Levels(NamedTuple):
    """The level of each coder. `zlib_ng` and `isal` stand for gzip where they are installed; -1: not used."""

    zlib: int
    zlib_ng: int
    isal: int
    br: int
    zstd: int


PROFILES = {
    "fast": Levels(zlib=1, zlib_ng=2, isal=2, br=1, zstd=1),
    # Level 5 of zlib-ng makes the bytes of zlib's 6 at less than half its time; 5 and 3 are the knees of br and zstd.
    "balanced": Levels(zlib=4, zlib_ng=5, isal=-1, br=5, zstd=3),
    "small": Levels(zlib=6, zlib_ng=6, isal=-1, br=6, zstd=6),
}
# Nobody waits for it: what is kept and sent many times.
BACKGROUND = Levels(zlib=9, zlib_ng=9, isal=-1, br=11, zstd=19)
