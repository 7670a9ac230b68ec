"""Say where in the code a thread is, in few words."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from functools import lru_cache
from pathlib import Path
from threading import Thread
from types import CodeType, FrameType, TracebackType

_MOST_FRAMES = 100
_OWN = f"{Path(__file__).parents[1]}/"
_LIBRARIES = (_OWN, *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
# What runs on behalf of others: nobody looks there for the cause of a statement.
_MACHINERY = ("/django/db/", "/django/core/", "/django/utils/", "/django/template/", "/django/shortcuts.py")
# Outside of it are only middleware and server: they wait for the answer, and have asked for nothing.
_OUTER = "/django/core/handlers/"
_MOST_KNOWN = 20_000
_ANONYMOUS = re.compile(r"\.<locals>\.<\w+>")

# An instruction of the program, or the line of a template: two of them are compared without looking for a line.
Site = tuple[CodeType, int] | str

# Whose code it is.
_NOBODYS, _LIBRARYS, _PROJECTS, _HANDLERS = range(4)
# By id, which is nobody else's as long as the object is kept here: a code object takes a microsecond to be hashed.
_known: dict[int, tuple[CodeType, int]] = {}
_places: dict[tuple[int, int], tuple[CodeType, str]] = {}


@lru_cache(maxsize=4_096)
def is_project(filename: str) -> bool:
    """Tell whether a file belongs to the project, not to us, an installed package or the standard library."""
    return not filename.startswith((*_LIBRARIES, "<")) and "site-packages" not in filename


def _learn(code: CodeType) -> tuple[CodeType, int]:
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    known = _known[id(code)] = code, _belongs(code.co_filename)
    return known


def _belongs(name: str) -> int:
    if is_project(name):
        return _PROJECTS
    if _OUTER in name:
        return _HANDLERS
    is_machinery = name.startswith(_OWN) or any(part in name for part in _MACHINERY)
    return _LIBRARYS if "site-packages" in name and not is_machinery else _NOBODYS


def find_caller(frame: FrameType | None) -> tuple[FrameType | None, int]:
    """Return the innermost frame of the project's code from `frame` outwards, and how many frames it is away.

    Else that of an app that is installed; None if there is neither. Ends where Django calls the view: a middleware
    outside of it has not asked for what the view does.
    """
    library, at = None, 0
    for depth in range(_MOST_FRAMES):
        if frame is None:
            break
        code = frame.f_code
        _, belongs = _known.get(id(code)) or _learn(code)
        if belongs == _PROJECTS:
            return frame, depth
        if belongs == _HANDLERS:
            break
        if belongs == _LIBRARYS and library is None:
            library, at = frame, depth
        frame = frame.f_back
    return library, at


def find_site(frame: FrameType | None) -> Site | None:
    """Return where the project's code called what `frame` runs, None if nowhere."""
    found, _ = find_caller(frame)
    return None if found is None else (found.f_code, found.f_lasti)


def site_id(site: Site | None) -> tuple[int, int] | str | None:
    """Return what stands for a site in a dict, as long as the site is kept."""
    return (id(site[0]), site[1]) if isinstance(site, tuple) else site


def place_of(site: Site | None) -> str:
    """Return a site as "folder/file.py:12 in function", "" for none."""
    if not isinstance(site, tuple):
        return site or ""
    code, instruction = site
    at = id(code), instruction
    known = _places.get(at)
    if known is None or known[0] is not code:
        if len(_places) >= _MOST_KNOWN:
            _places.clear()
        known = _places[at] = code, _place(code, line_of(code, instruction))
    return known[1]


def line_of(code: CodeType, instruction: int) -> int:
    """Return the line of an instruction."""
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    return next(lines, None) or code.co_firstlineno


def raised_at(trace: TracebackType | None) -> str:
    """Return the innermost place in the project's code that a traceback passes; "" if none."""
    found = ""
    for _ in range(10 * _MOST_FRAMES):
        if trace is None:
            break
        if is_project(trace.tb_frame.f_code.co_filename):
            found = _place(trace.tb_frame.f_code, trace.tb_lineno)
        trace = trace.tb_next
    return found


def current_place(thread: Thread) -> str:
    """Return the place of the innermost frame of the project's code that `thread` is in; "" if none."""
    frame = sys._current_frames().get(thread.ident or 0)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return ""
        if is_project(frame.f_code.co_filename):
            return short_file(frame.f_code.co_filename) + f":{frame.f_lineno}"
        frame = frame.f_back
    return ""


def short_file(path: str) -> str:
    """Return the last two parts of a path."""
    return "/".join(path.split("/")[-2:])


def _place(code: CodeType, line: int) -> str:
    # Of a comprehension or a lambda the function around it says more.
    name = _ANONYMOUS.sub("", code.co_qualname).replace(".<locals>", "")
    return f"{short_file(code.co_filename)}:{line} in {name}"


def stack_of(thread: Thread) -> str:
    """Return the stack that `thread` is in now, outermost frame first; a line that says so when it has ended."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame, _MOST_FRAMES)) if frame else "  (the thread has ended)\n"
