"""Make any function of django_perf raise or hang, wherever references to it are kept.

What is exchanged is the function's code, not a name in a module: a signal's receiver, a callback in a closure and
`from x import f` in another module all run the stand-in.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any

# Of compression what a response passes through; not decoding of requests, dictionaries, and views.
COMPRESSION = (
    "compression.middleware",
    "compression.compressor",
    "compression.rules",
    "compression.negotiation",
    "compression.codecs",
    "compression.padding",
    "compression.streaming",
    "compression.variants",
    "compression.tally",
)
PACKAGES = ("requests", "metrics", "db", "process", "store.writer", *COMPRESSION)
# What no request ever calls: they serve readers, or read settings.
READERS = ("db.health", "db.plans", "db.inspection", "metrics.alert_rules", "metrics.limits")
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}

# Called straight by Django, the server or the host's code: there is nobody above them to catch, they are the guard.
BY_DJANGO = "called by Django; the guard is inside"
BY_HOST = "called by the host's code, as a block or decorator; the guard is inside"
EXEMPT = {
    "requests.middleware:TimingMiddleware.__call__": BY_DJANGO,
    "requests.middleware:TimingMiddleware._acall": BY_DJANGO,
    "requests.middleware:TimingMiddleware._fail": "holds the guard for requests that fail",
    "requests.measure:note_exception": BY_DJANGO,
    "requests.measure:ignore_request": "called by django_perf's own pages only",
    "requests.streaming:_on_close.<locals>.close_and_finish": "called by the server; the guard is inside",
    "metrics.guard:count_fault": "the net itself",
    "metrics.timed:timed.__init__": BY_HOST,
    "metrics.timed:timed.__enter__": BY_HOST,
    "metrics.timed:timed.__exit__": BY_HOST,
    "metrics.timed:timed.__call__": BY_HOST,
    "metrics.timed:timed.__call__.<locals>.measured": BY_HOST,
    "metrics.timed:timed._recreate_cm": BY_HOST,
    "requests.rendering:_timed.<locals>.timed": BY_DJANGO,
    **{f"db.cursor:Executing.{name}": BY_DJANGO for name in ("execute", "executemany", "callproc")},
    **{f"db.cursor:Fetching.{name}": BY_DJANGO for name in ("fetchone", "fetchmany", "fetchall", "close")},
    "db.cursor:Executing._note": "holds the guard for statements",
    "db.cursor:Executing._note_failed": "holds the guard for statements that fail",
    "db.cursor:Fetching._note_fetch_failed": "holds the guard for fetches that fail",
    "db.cursor:Fetching._note_fetched": "adds a number, and nothing that could fail",
    "db.cursor:Executing._finish": "holds the guard for the end of a statement",
    **{f"db.transactions:TransactionTimer.{name}": BY_DJANGO for name in ("set_autocommit", "commit", "rollback")},
    "db.transactions:TransactionTimer._timed": BY_DJANGO,
    "db.transactions:TransactionTimer._note": "holds the guard for transactions",
    "db.instrument:install": BY_DJANGO,
    "compression.middleware:CompressionMiddleware.__call__": BY_DJANGO,
    "compression.middleware:CompressionMiddleware._acall": BY_DJANGO,
    "compression.middleware:CompressionMiddleware._processed": "holds the guard",
    "compression.middleware:CompressionMiddleware._refused": "decoding of requests",
    "compression.compressor:_note_stream": "holds the guard for the end of a stream",
}
# They run when a part of a stream is sent already, which cannot be taken back: it breaks off, and the client sees that.
BREAKS_OFF = {
    *(f"compression.streaming:Pump.{name}" for name in ("feed", "end", "ask", "_counted")),
    *(f"compression.codecs:_{name}Stream.write" for name in ("Gzip", "Brotli", "Zstd")),
    *(f"compression.codecs:_{name}Stream.flush" for name in ("Gzip", "Brotli", "Zstd")),
    *(f"compression.codecs:_{name}Stream.end" for name in ("Gzip", "Brotli", "Zstd")),
    "compression.codecs:_GzipStream._with_head",
    "compression.codecs:_BrotliStream._metadata",
    "compression.padding:metadata_block",
    "compression.padding:skippable_frame",
}


class Fault(Exception):
    """What a stand-in raises."""


@dataclass(frozen=True)
class Target:
    """One function of django_perf; `path` leads to a function that is defined inside it, by positions in co_consts."""

    name: str
    function: FunctionType
    path: tuple[int, ...] = ()

    @cached_property
    def code(self) -> CodeType:
        """Return the code that is exchanged."""
        code = self.function.__code__
        for position in self.path:
            code = code.co_consts[position]
        return code


def find_targets() -> list[Target]:
    """Return every function and method that this folder of the project has to survive, inner functions too."""
    found = [target for module in _modules() for target in _targets(module)]
    unknown = (EXEMPT.keys() | BREAKS_OFF) - {target.name for target in found}
    assert not unknown, f"named here, but not there any more: {sorted(unknown)}"
    return [target for target in found if target.name not in EXEMPT]


def _modules() -> Iterator[ModuleType]:
    for name in PACKAGES:
        module = importlib.import_module(f"django_perf.{name}")
        yield module
        for one in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
            if not one.name.removeprefix("django_perf.").startswith(READERS):
                yield importlib.import_module(one.name)


def _targets(module: ModuleType) -> Iterator[Target]:
    prefix = module.__name__.removeprefix("django_perf.")
    for function in _functions(vars(module).values(), module):
        name = f"{prefix}:{function.__qualname__}"
        yield Target(name, function)
        yield from _inner(name, function, function.__code__, ())


def _functions(values: Any, module: ModuleType) -> Iterator[FunctionType]:
    for value in values:
        if inspect.isclass(value) and value.__module__ == module.__name__:
            yield from _functions(vars(value).values(), module)
            continue
        function = _unwrapped(value)
        # Methods that dataclasses generate have no file.
        if isinstance(function, FunctionType) and function.__code__.co_filename == module.__file__:
            yield function


def _unwrapped(value: Any) -> Any:
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    return inspect.unwrap(value) if callable(value) else value


def _inner(name: str, function: FunctionType, code: CodeType, path: tuple[int, ...]) -> Iterator[Target]:
    for position, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType) and constant.co_name not in COMPREHENSIONS:
            inner_name, inner_path = f"{name}.<locals>.{constant.co_name}", (*path, position)
            yield Target(inner_name, function, inner_path)
            yield from _inner(inner_name, function, constant, inner_path)


_actions: dict[str, Callable[..., Any]] = {}


def act(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do what the stand-in of `name` is to do; called by its code."""
    return _actions[name](*args, **kwargs)


@contextmanager
def raising(target: Target) -> Iterator[list[None]]:
    """Make every call of `target` raise Fault; the list grows by one with each."""
    calls: list[None] = []

    def fail(*args: Any, **kwargs: Any) -> None:
        calls.append(None)
        raise Fault(target.name)

    with _replaced(target, fail):
        yield calls


@contextmanager
def hanging(target: Target, seconds: float) -> Iterator[list[None]]:
    """Make every call of `target` sleep first; not for inner functions, whose cells only their maker knows."""
    calls: list[None] = []
    original = _copy(target.function)

    def hang(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        time.sleep(seconds)
        return original(*args, **kwargs)

    with _replaced(target, hang):
        yield calls


def _copy(function: FunctionType) -> FunctionType:
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


@contextmanager
def _replaced(target: Target, action: Callable[..., Any]) -> Iterator[None]:
    original = target.function.__code__
    _actions[target.name] = action
    _exchange(target.function, _with(original, target.path, _stand_in(target)))
    try:
        yield
    finally:
        _exchange(target.function, original)


def _exchange(function: FunctionType, code: CodeType) -> None:
    with warnings.catch_warnings():
        # Python 3.13 warns when a generator's code makes way for a function's; the stand-in means to raise at once.
        warnings.simplefilter("ignore", DeprecationWarning)
        function.__code__ = code


def _with(code: CodeType, path: tuple[int, ...], new: CodeType) -> CodeType:
    """Return `code` with `new` at `path`."""
    if not path:
        return new
    constants = list(code.co_consts)
    constants[path[0]] = _with(constants[path[0]], path[1:], new)
    return code.replace(co_consts=tuple(constants))


def _stand_in(target: Target) -> CodeType:
    """Compile a function that calls act(); it must have the free variables of the one that it replaces."""
    free = target.code.co_freevars
    source = f"""
def make({", ".join(free)}):
    {"async " if target.code.co_flags & inspect.CO_COROUTINE else ""}def stand_in(*args, **kwargs):
        {"; ".join(free) or "pass"}
        from tests.end_to_end.faults import act
        return act({target.name!r}, args, kwargs)
    return stand_in
"""
    names: dict[str, Any] = {}
    exec(source, names)
    return names["make"](*free).__code__
