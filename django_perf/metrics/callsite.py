"""Say where in the code a thread is, in few words."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from functools import lru_cache
from pathlib import Path
from threading import Thread
from types import FrameType

_MOST_FRAMES = 100
_OWN = str(Path(__file__).parents[1])
_LIBRARIES = (_OWN, *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


@lru_cache(maxsize=4_096)
def is_project(filename: str) -> bool:
    """Tell whether a file belongs to the project, not to us, an installed package or the standard library."""
    return not filename.startswith((*_LIBRARIES, "<")) and "site-packages" not in filename


def current_place(thread: Thread) -> str:
    """Return "folder/file.py:line" of the innermost frame of the project's code that `thread` is in; "" if none."""
    frame = sys._current_frames().get(thread.ident or 0)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return ""
        if is_project(frame.f_code.co_filename):
            return _place(frame)
        frame = frame.f_back
    return ""


def _place(frame: FrameType) -> str:
    return f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno}"


def stack_of(thread: Thread) -> str:
    """Return the stack that `thread` is in now, outermost frame first; a line that says so when it has ended."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame, _MOST_FRAMES)) if frame else "  (the thread has ended)\n"
