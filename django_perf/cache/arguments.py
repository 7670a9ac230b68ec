"""Name the arguments of a call, so that equal calls have equal names and different ones never do."""

from __future__ import annotations

import datetime
import enum
import inspect
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from django.db.models import Model

# repr() of these says all, and says it differently for different types.
_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    Decimal,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
)
_LONGEST = 120


class Unstable(TypeError):
    """An argument that does not say what it is: two equal calls could not be recognised."""


class Arguments:
    """Bind the arguments of one function, and make the keys of its calls. Thread-safe."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
        self._nameless = _nameless(function)
        self._signature = inspect.signature(function)

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments by name, defaults included. Raises TypeError as the call would."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Return the key of a call. Raises Unstable, which names the argument."""
        if self._nameless:
            raise Unstable(f"{self._nameless}; give cache_result a key= that names the call")
        parts = []
        for name, value in self.bound(args, kwargs).items():
            try:
                parts.append(f"{name}={identity(value)}")
            except Unstable as error:
                raise Unstable(
                    f"{self.name}: argument {name!r} is a {error}, which has no identity that lasts; "
                    f"give cache_result a key= that names the call"
                ) from None
        text = ",".join(parts)
        if len(text) > _LONGEST:
            text = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{self.name}:{text}"


def _nameless(function: Callable[..., Any]) -> str:
    """Return why the name of a function does not say all that it depends on besides its arguments; "" if it does."""
    if not hasattr(function, "__qualname__"):
        return "an object that is called has no name that lasts"
    if function.__name__ == "<lambda>":
        return f"{function.__module__}: all lambdas of a place have one name"
    code = getattr(inspect.unwrap(function), "__code__", None)
    around = [name for name in getattr(code, "co_freevars", ()) if name != "__class__"]
    return f"{function.__qualname__} depends on {around[0]!r} of the function around it" if around else ""


def identity(value: Any) -> str:
    """Return a text that only an equal value has. Raises Unstable with the name of the type that has none."""
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, Model):
        return _identity_of_row(value)
    if isinstance(value, enum.Enum):
        return f"{kind.__module__}.{kind.__qualname__}.{value.name}"
    if kind in (list, tuple):
        return f"{kind.__name__}({','.join(map(identity, value))})"
    if kind in (set, frozenset):
        return f"{kind.__name__}({','.join(sorted(map(identity, value)))})"
    if kind is dict:
        return f"dict({','.join(sorted(f'{identity(k)}:{identity(v)}' for k, v in value.items()))})"
    if isinstance(value, str):  # marked as safe, for one: the same text
        return repr(str.__str__(value))
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    raise Unstable(f"{kind.__module__}.{kind.__qualname__}")


def _identity_of_row(row: Model) -> str:
    if row.pk is None:
        raise Unstable(f"{row._meta.label} that is not saved")
    return f"{row._meta.label}({identity(row.pk)})"
