"""Run a Redis server of one's own, to be stopped, started and frozen; it ends with this process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import redis

from tests import server_process, services

PATIENCE_S = 10.0


class RedisServer:
    """A Redis server without persistence. To be made and started by the main thread (server_process)."""

    def __init__(self, *options: str) -> None:
        program = services._system_redis() or services._wheel_redis()
        if program is None:
            raise services.ServiceNotFound(services.REDIS_REMEDIES)
        self._folder = server_process.private_folder()
        self._program, self._options = services._unpack(program, self._folder), options
        server_process.hand_over(self._folder)
        self.address = ("127.0.0.1", server_process.free_port())
        self.start()

    def start(self) -> None:
        """Start empty, and return when it answers."""
        host, port = self.address
        own = ["--bind", host, "--port", str(port), "--save", "", "--appendonly", "no", *self._options]
        self._process = server_process.spawn([self._program, *own], self._folder, signal.SIGTERM)
        server_process.wait(self._process, self._folder, partial(services._redis_is_ready, port))
        self.client = redis.Redis(host=host, port=port, socket_timeout=PATIENCE_S)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait(PATIENCE_S)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Have no server for the length of a block; the next one is empty."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the process for the length of a block, as a host that hangs."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good."""
        self.client.close()
        self.kill()

    def url(self, address: tuple[str, int] | None = None, database: int = 0) -> str:
        """Return where it is, or what stands for it at another address."""
        host, port = address or self.address
        return f"redis://{host}:{port}/{database}"
