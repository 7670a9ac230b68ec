"""Start a server process that ends with this one, also after `kill -9` (on Linux).

Call from the main thread: Linux sends the parent-death signal when the starting thread ends, not when the process does.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

START_S = 60
GRACE_S = 60
FOLDER_PREFIX = "django-perf-service-"
PR_SET_PDEATHSIG = 1


def private_folder() -> Path:
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    # A bare descriptor, because nobody closes it: the lock says that the folder has an owner, until the process ends.
    fcntl.flock(os.open(folder / "lock", os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
    return folder


def _remove_leftovers() -> None:
    """Delete folders of killed runs; a minute's grace covers a run that has made its folder but not yet locked it."""
    for lock_path in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/lock"):
        try:
            with lock_path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - lock_path.stat().st_mtime > GRACE_S:
                    shutil.rmtree(lock_path.parent, ignore_errors=True)
        except OSError:
            continue


def account() -> dict[str, object]:
    """PostgreSQL refuses to run as root, and no server of a test needs to."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def hand_over(folder: Path) -> None:
    """Give the folder to the account that runs the server."""
    owner = account()
    for path in [folder, *folder.rglob("*")] if owner else []:
        os.chown(path, owner["user"], owner["group"], follow_symlinks=False)


def environment() -> dict[str, str]:
    """Nothing of the caller's PG* variables or locale may leak into a server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def run_to_end(command: list[str | Path], folder: Path) -> None:
    """Run a preparing command as the server's account; raises RuntimeError with its output when it fails."""
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment(), **account()
    )
    if answer.returncode:
        raise RuntimeError(f"{command!r} failed with {answer.returncode}: {answer.stdout}{answer.stderr}")


def spawn(command: list[str | Path], folder: Path, end: signal.Signals) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own: Ctrl-C is for pytest, which still has tables to drop."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent(os.getpid(), end),
            **account(),
        )
    atexit.register(_stop, process, folder, end, os.getpid())
    return process


def _end_with_parent(parent: int, end: signal.Signals) -> Callable[[], None] | None:
    """Ask the kernel for `end` when the parent dies. macOS has no such call: there atexit alone ends the server."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(end))
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return prepare


def _stop(process: subprocess.Popen[bytes], folder: Path, end: signal.Signals, owner: int) -> None:
    if os.getpid() != owner:  # a forked child runs its parent's exit handlers
        return
    process.send_signal(end)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def wait(process: subprocess.Popen[bytes], folder: Path, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            log = (folder / "log").read_text(errors="replace")
            raise RuntimeError(f"{process.args!r} is not ready (exit code {process.returncode}): {log[-2000:]}")
        time.sleep(0.01)
