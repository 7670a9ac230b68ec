"""Read the options of a cache into one frozen object, and say what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .backplane import MODES
from .eviction import POLICIES

# The bound of staleness where nobody tells of writes.
TTL_BOUND_S = 5.0
# A key, its prefix and its lease have to fit into the table's 512 bytes.
_LONGEST_PREFIX = 100
_L1 = {"max_entries": 1_000, "max_bytes": 32 * 2**20, "timeout": 60.0, "policy": "s3fifo"}
_L3 = {"table": "django_perf_cache", "alias": "default"}
_KNOWN = {"L1", "L2", "L3", "coherence", "fail_safe", "serializer", "l1_exclude", "MAX_ENTRIES", "CULL_FREQUENCY"}
_SERIALIZERS = ("pickle", "json", "msgpack")


@dataclass(frozen=True)
class Options:
    """Hold the options of one cache; `l1`, `l2`, `l3` are None where that level is off."""

    prefix: str
    l1: Mapping[str, Any] | None
    l2: Mapping[str, Any] | None
    l3: Mapping[str, Any] | None
    coherence: str = "tracking"
    fail_safe: float = 3600.0
    serializer: str = "pickle"
    l1_exclude: tuple[str, ...] = ()
    # How long an entry may lie in memory where nobody tells of writes.
    ttl_bound: float = field(default=TTL_BOUND_S)


def read_options(location: Any, params: Mapping[str, Any]) -> Options:
    """Return the options of an alias of CACHES. Raises ValueError that lists all faults."""
    found = list(problems(location, params))
    if found:
        raise ValueError("; ".join(found))
    given = dict(params.get("OPTIONS") or {})
    own = _given(given.get("L1"))
    l1 = None if given.get("L1") is False else {**_L1, **_max_entries(params, given), **own}
    l3 = {**_L3, **_given(given["L3"])} if given.get("L3", False) is not False else None
    is_explicit = given.get("coherence") == "ttl" and "timeout" in own
    return Options(
        prefix=str(params.get("KEY_PREFIX", "")),
        l1=l1,
        l2=dict(given.get("L2") or {}) if location else None,
        l3=l3,
        coherence=given.get("coherence", "tracking"),
        fail_safe=float(given.get("fail_safe", 3600.0)),
        serializer=given.get("serializer", "pickle"),
        l1_exclude=tuple(given.get("l1_exclude", ())),
        ttl_bound=own["timeout"] if is_explicit else TTL_BOUND_S,
    )


def _given(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _max_entries(params: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, int]:
    """Take Django's own name for it too."""
    value = params.get("max_entries", given.get("MAX_ENTRIES"))
    return {} if value is None else {"max_entries": int(value)}


def problems(location: Any, params: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong."""
    given = params.get("OPTIONS") or {}
    for name in given.keys() - _KNOWN:
        yield f"there is no option {name!r}; there are {', '.join(sorted(_KNOWN))}"
    if not location and given.get("L1") is False and given.get("L3", False) is False:
        yield "no level is left: give a LOCATION, or L1, or L3"
    yield from _level_problems("L1", given.get("L1"), _L1)
    yield from _level_problems("L3", given.get("L3", False), _L3)
    yield from _value_problems(given)
    prefix = str(params.get("KEY_PREFIX", ""))
    if len(prefix.encode("utf-8", "surrogatepass")) > _LONGEST_PREFIX:
        yield f"KEY_PREFIX {prefix[:20]!r}... is longer than {_LONGEST_PREFIX} bytes"
    excluded = given.get("l1_exclude", ())
    if isinstance(excluded, str) or not all(isinstance(prefix, str) and prefix for prefix in excluded):
        yield f"l1_exclude is {excluded!r}; it takes a list of key prefixes"


def _level_problems(name: str, value: Any, known: Mapping[str, Any]) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        return
    if not isinstance(value, Mapping):
        yield f"{name} is {value!r}; it takes a dict, or False"
        return
    for key in value.keys() - known.keys():
        yield f"{name} has no option {key!r}; it has {', '.join(known)}"
    for key in ("max_entries", "max_bytes", "timeout"):
        number = value.get(key, 1)
        if key in known and (isinstance(number, bool) or not isinstance(number, (int, float)) or number <= 0):
            yield f"{name}[{key!r}] is {number!r}; it takes a number above 0"
    if "policy" in known and value.get("policy", "lru") not in POLICIES:
        yield f"{name}['policy'] is {value['policy']!r}; there are {', '.join(POLICIES)}"


def _value_problems(given: Mapping[str, Any]) -> Iterator[str]:
    if given.get("coherence", "ttl") not in MODES:
        yield f"coherence is {given['coherence']!r}; there are {', '.join(MODES)}"
    if given.get("serializer", "json") not in _SERIALIZERS:
        yield f"serializer is {given['serializer']!r}; there are {', '.join(_SERIALIZERS)}"
    fail_safe = given.get("fail_safe", 0)
    if isinstance(fail_safe, bool) or not isinstance(fail_safe, (int, float)) or not 0 <= fail_safe <= 40 * 86_400:
        yield f"fail_safe is {fail_safe!r}; it takes seconds, up to 40 days"


def is_untrackable(location: Any, params: Mapping[str, Any]) -> bool:
    """Tell whether the server would have to tell of every key there is: coherence by tracking, and no prefix."""
    given = params.get("OPTIONS") or {}
    wants_tracking = given.get("coherence", "tracking") != "ttl" and given.get("L1") is not False
    return bool(location) and wants_tracking and not params.get("KEY_PREFIX")
