"""Start, watch and stop the demo's child processes, each in its own process group."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from example_project.demo.errors import DemoError, DemoStopped

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.05
GRACE_S = 30
LOG_LINES = 25


class StopRequest:
    """Note that the user wants the end: Ctrl-C, SIGTERM, or the terminal closed.

    A flag to be polled: the handler of a signal runs between any two steps of the main thread, where an exception
    would skip the cleaning up and a lock could already be held.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> StopRequest:
        self._previous = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def wait(self, seconds: float) -> bool:
        """Sleep up to `seconds`; return whether the end was asked for."""
        deadline = time.monotonic() + seconds
        while not self.received and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return self.received


@dataclass(frozen=True, slots=True)
class Child:
    """A running child with the files that hold what it said."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    def check(self) -> None:
        """Raise DemoError when the child is gone though nobody stopped it."""
        if self.process.poll() is not None:
            raise self.failure()

    def failure(self) -> DemoError:
        """Return the error that shows how the child ended."""
        return self.complaint(f"ended with status {self.process.returncode}")

    def complaint(self, fault: str) -> DemoError:
        """Return an error that names the child, its fault and the end of its log."""
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        return DemoError(f"{self.name} {fault}; its last words:\n{tail}")

    def stop(self) -> None:
        """End the child in good order; DemoError when it had died before or fails on its way out."""
        self.check()
        self.end()
        # A child that is still importing has no handler yet and dies of the signal itself, as it was told to.
        if self.process.returncode not in (0, -signal.SIGTERM):
            raise self.failure()

    def end(self) -> None:
        """Ask the child to end and wait for it; one that does not is killed with its whole group and reported."""
        self.process.terminate()
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired as error:
            # The group is the child's own, so this reaches its workers and nothing that we did not start.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise DemoError(f"{self.name} did not end within {GRACE_S} s of SIGTERM and was killed") from error


@dataclass(frozen=True, slots=True)
class Launcher:
    """Start children with one environment; their output goes to files in `folder`."""

    folder: Path
    environment: Mapping[str, str]
    stop: StopRequest

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a child and return at once."""
        output, log = self.folder / f"{name}.out", self.folder / f"{name}.log"
        with output.open("wb") as out, log.open("wb") as err:
            # A session of its own: Ctrl-C in the terminal is for the demo alone, which ends the others in order.
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return Child(name, process, output, log)

    def run(self, name: str, command: Sequence[str]) -> str:
        """Run a child to its end and return its output; a status other than 0 is a DemoError."""
        child = self.start(name, command)
        while child.process.poll() is None:
            if self.stop.wait(POLL_S):
                child.end()
                raise DemoStopped
        if child.process.returncode != 0:
            raise child.failure()
        return child.output.read_text(errors="replace")
