"""Mark a host as draining by a file in a private folder, which every process of the site looks at.

A file, because nothing else reaches all workers of one host alone: gunicorn closes its listeners before it signals the
workers, so what they answer after SIGTERM is never seen.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import UnsafeFolder

# A drain lasts seconds. One that somebody forgot must not keep a site down.
FORGOTTEN_S = 3_600.0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def default_folder() -> Path:
    """Return the folder of this user among the temporary files."""
    return Path(tempfile.gettempdir()) / f"django_perf-{os.geteuid()}"


@dataclass(frozen=True, slots=True)
class Drain:
    """One site on one host: `name` tells it from others of the same user."""

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """Return the file whose presence says it."""
        return self.folder / f"drain-{self.name}"

    def age(self) -> float | None:
        """Return the seconds since it was switched on, None where it is not; one system call.

        A file that is not ours alone counts for nothing: somebody else may have made the folder first. Of another
        user's file the owner tells, of a link to one of ours the second name.
        """
        try:
            found = self.path.lstat()
        except OSError:
            return None
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
        return time.time() - found.st_mtime if is_ours else None

    def is_on(self) -> bool:
        """Tell whether it was switched on within the last hour."""
        age = self.age()
        return age is not None and abs(age) <= FORGOTTEN_S

    def switch_on(self) -> None:
        """Begin to drain, or begin again. Raises UnsafeFolder, and OSError where there can be no such file."""
        with suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        with _private(self.folder) as folder:
            with suppress(FileNotFoundError):
                os.unlink(self.path.name, dir_fd=folder)
            os.close(os.open(self.path.name, _FILE, 0o600, dir_fd=folder))

    def switch_off(self) -> None:
        """Take requests again; errors as in switch_on()."""
        with suppress(FileNotFoundError), _private(self.folder) as folder:
            os.unlink(self.path.name, dir_fd=folder)


@contextmanager
def _private(folder: Path) -> Iterator[int]:
    """Give a descriptor of a folder that belongs to this user and is open to nobody else."""
    try:
        descriptor = os.open(folder, _FOLDER)
    except NotADirectoryError as error:  # also of a symbolic link
        raise UnsafeFolder(f"{str(folder)!r} is no folder, or a link; remove it, or set STATE_FOLDER") from error
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise UnsafeFolder(
                f"{str(folder)!r} belongs to user {found.st_uid} and has mode {mode:o}; it has to belong to "
                f"{os.geteuid()} with mode 700: remove it, or set STATE_FOLDER"
            )
        yield descriptor
    finally:
        os.close(descriptor)
