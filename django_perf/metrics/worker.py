"""Find out what sort of process this is: a worker of a server, or a management command."""

from __future__ import annotations

import sys
import threading
from pathlib import PurePath

_SERVING_COMMANDS = ("runserver", "testserver")


def is_command() -> bool:
    """Tell whether the process runs a management command that serves no requests."""
    program = PurePath(sys.argv[0] if sys.argv else "")
    is_django = program.name in ("manage.py", "django-admin") or program.parts[-2:] == ("django", "__main__.py")
    return is_django and not (len(sys.argv) > 1 and sys.argv[1].startswith(_SERVING_COMMANDS))


def gunicorn_threads() -> int | None:
    """Return the threads of the gunicorn worker that this process is, or None.

    gunicorn tells the application nothing, but its worker is a local of the main thread's outermost frames.
    """
    if "gunicorn" not in sys.modules:
        return None
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        worker = frame.f_locals.get("self")
        threads = getattr(getattr(worker, "cfg", None), "threads", None)
        if isinstance(threads, int) and hasattr(worker, "wsgi"):
            return threads
        frame = frame.f_back
    return None
