"""Notice by one look at memory that this process was forked off another one, whatever forked it."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Protocol

# madvise(2), Linux 4.14: a child finds the page full of zeros. OpenSSL notices forks in the same way.
_WIPE_ON_FORK = 18


class Mark(Protocol):
    """Something whose first byte is 0 in a process that has not been marked."""

    def __getitem__(self, index: int, /) -> int:
        """Return the byte."""

    def __setitem__(self, index: int, value: int, /) -> None:
        """Mark the process."""


class _ByPid:
    """Ask for the pid each time, a system call: where the kernel wipes nothing."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, index: int) -> int:
        return os.getpid() == self._pid

    def __setitem__(self, index: int, value: int) -> None:
        self._pid = os.getpid()


def new_mark() -> Mark:
    """Return a mark that is set in this process and in none of its children."""
    mark: Mark = _ByPid()
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(_WIPE_ON_FORK)
            mark = page
        except OSError:  # a kernel before 4.14
            page.close()
    mark[0] = 1
    return mark
