"""Read the one settings dict, DJANGO_PERF, into a frozen dataclass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from .metrics import alert_rules
from .metrics.names import nearest

T = TypeVar("T")

NAME = "DJANGO_PERF"
PROFILES = ("fast", "balanced", "small")
# Best first, where a client likes them equally.
ENCODINGS = ("zstd", "br", "gzip")
# What becomes smaller. An allow list: compressing what is compressed already costs time and gains nothing.
CONTENT_TYPES = (
    "text/*",
    "application/json",
    "application/*+json",
    "application/xml",
    "application/*+xml",
    "application/javascript",
    "application/x-javascript",
    "application/x-ndjson",
    "application/graphql",
    "application/openmetrics-text",
    "application/yaml",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/collection",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/svg+xml",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
)
_BEARER = "a text of printable ASCII without spaces, which secrets.token_urlsafe() makes, or None"
_WEBHOOK = "an address that begins with https:// or http://, without a user in it, or None"
_NETWORKS = "a list of networks without host bits, as ['10.0.0.0/8', '::1']"


@dataclass(frozen=True, slots=True)
class Problem:
    """Say what is wrong with one setting and how to mend it; `unknown` tells a wrong name from a wrong value."""

    text: str
    hint: str
    unknown: bool = False


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9


def _is_slow(value: object) -> bool:
    return _is_seconds(value) and value >= 0.005  # type: ignore[operator]


def _is_interval(value: object) -> bool:
    return _is_seconds(value) and 0.05 <= value <= 3600  # type: ignore[operator]


def _is_alias(value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(value))


def _is_slots(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


def _is_strings(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_padding(value: object) -> bool:
    return _is_count(value) and value <= 256  # type: ignore[operator]


def _is_profile(value: object) -> bool:
    return value in PROFILES


def _is_encodings(value: object) -> bool:
    return _is_strings(value) and set(value) <= set(ENCODINGS)  # type: ignore[call-overload]


def _is_token(value: object) -> bool:
    # What a header can carry behind "Bearer", and nothing that anybody sends by not sending anything.
    return value is None or (isinstance(value, str) and re.fullmatch("[!-~]+", value) is not None)


def _is_networks(value: object) -> bool:
    return _is_strings(value) and all(map(_is_network, value))  # type: ignore[call-overload]


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _is_share(value: object) -> bool:
    return value is None or (_is_seconds(value) and value <= 1)  # type: ignore[operator]


def _is_pause(value: object) -> bool:
    return _is_seconds(value) and value >= 60  # type: ignore[operator]


def _is_webhook(value: object) -> bool:
    if value is None:
        return True
    # What urllib would refuse at the first alert, and a user that it would take for a part of the host.
    if not isinstance(value, str) or not re.fullmatch("https?://[!-~]+", value):
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False


def _is_folder(value: object) -> bool:
    return value is None or (isinstance(value, (str, Path)) and Path(value).is_absolute())


def _setting(default: Any, valid: Callable[[object], bool], wants: str, is_secret: bool = False) -> Any:
    return field(default=default, metadata={"valid": valid, "wants": wants, "is_secret": is_secret})


@dataclass(frozen=True, slots=True)
class Compression:
    """Hold the knobs of CompressionMiddleware: DJANGO_PERF["COMPRESSION"] (docs/compression.md)."""

    min_size: int = _setting(1000, _is_count, "a number of bytes")
    profile: str = _setting("balanced", _is_profile, f"one of {', '.join(PROFILES)}")
    encodings: tuple[str, ...] = _setting(ENCODINGS, _is_encodings, f"a list of {', '.join(ENCODINGS)}")
    content_types: tuple[str, ...] = _setting(CONTENT_TYPES, _is_strings, "a list of media types, * as wildcard")
    max_padding: int = _setting(100, _is_padding, "a number of bytes, 0 to 256")
    dictionaries: bool = _setting(False, _is_bool, "True or False")
    request_decompression: bool = _setting(False, _is_bool, "True or False")
    variant_cache: str | None = _setting(None, _is_alias, "an alias of CACHES, or None")


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold every knob of django_perf; the key in DJANGO_PERF is the field's name in capitals (docs/settings.md)."""

    enabled: bool = _setting(True, _is_bool, "True or False")
    database: str | None = _setting(None, _is_alias, "an alias of DATABASES, or None")
    flush_interval: float = _setting(10.0, _is_interval, "seconds, 0.05 to 3600")
    slow_request_seconds: float = _setting(1.0, _is_seconds, "seconds above 0")
    # Statements are looked at from 5 ms on.
    slow_query_seconds: float = _setting(1.0, _is_slow, "seconds, 0.005 or more")
    # One counter for the site, or one for each host: who scrapes then sums.
    metrics_by_host: bool = _setting(False, _is_bool, "True or False")
    metrics_token: str | None = _setting(None, _is_token, _BEARER, is_secret=True)
    metrics_networks: tuple[str, ...] = _setting((), _is_networks, _NETWORKS)
    ready_saturation: float | None = _setting(None, _is_share, "a share of the slots above 0, 1 at the most, or None")
    state_folder: str | None = _setting(None, _is_folder, "an absolute path, or None")
    explain_analyze: bool = _setting(False, _is_bool, "True or False")
    explain_role: str | None = _setting(None, _is_alias, "the name of a database role, or None")
    response_time_header: bool = _setting(True, _is_bool, "True or False")
    server_timing: bool = _setting(True, _is_bool, "True or False")
    ignore_routes: tuple[str, ...] = _setting((), _is_strings, "a list of routes, * as wildcard")
    worker_slots: int | None = _setting(None, _is_slots, "requests a worker serves at once, or None to find out")
    # The rules that alert_rules.py makes of the dicts: what is wrong with one is told key by key.
    alerts: tuple[alert_rules.Rule, ...] = field(
        default=(), metadata={"problems": alert_rules.problems, "read": alert_rules.rules}
    )
    alert_emails: bool = _setting(False, _is_bool, "True or False")
    # Whoever knows the address of a chat's webhook can write there.
    alert_webhook: str | None = _setting(None, _is_webhook, _WEBHOOK, is_secret=True)
    alert_every: float = _setting(3600.0, _is_pause, "seconds, 60 or more")
    record_commands: bool = _setting(False, _is_bool, "True or False")
    compression: Compression = field(default=Compression(), metadata={"of": Compression})


def get_settings() -> Settings:
    """Return the settings in force; honours override_settings.

    Raises ImproperlyConfigured that lists every fault: nothing is corrected in silence.
    """
    return _read()


@lru_cache(maxsize=1)
def _read() -> Settings:
    raw = getattr(django_settings, NAME, {})
    found = [problem.text for problem in problems(raw)]
    if found:
        raise ImproperlyConfigured("; ".join(found))
    return _made(Settings, raw)


def _made(cls: type[T], raw: dict[str, Any]) -> T:
    known = {item.name: item.metadata for item in fields(cls)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for key, value in raw.items():
        metadata = known[key.lower()]
        read = metadata.get("read", _frozen)
        given[key.lower()] = _made(metadata["of"], value) if "of" in metadata else read(value)
    return cls(**given)


def _frozen(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def forget_settings(*, setting: str, **kwargs: object) -> None:
    """Read again after override_settings; receiver of `setting_changed`."""
    if setting in {NAME, "DATABASES"}:
        _read.cache_clear()


def problems(raw: object, cls: type = Settings, name: str = NAME) -> Iterator[Problem]:
    """Yield what is wrong with `raw`, the value of the setting `name`, which is to become a `cls`."""
    if not isinstance(raw, dict):
        yield Problem(f"{name} is a {type(raw).__name__}, not a dict", f"Write {name} = {{...}}.")
        return
    known = {item.name.upper(): item.metadata for item in fields(cls)}
    for key, value in raw.items():
        if key not in known:
            yield _unknown(str(key), list(known), name)
        elif "of" in known[key]:
            yield from problems(value, known[key]["of"], f"{name}[{key!r}]")
        elif "problems" in known[key]:
            yield from (Problem(*fault) for fault in known[key]["problems"](value, f"{name}[{key!r}]"))
        elif not known[key]["valid"](value):
            shown = "no such secret" if known[key]["is_secret"] and value else repr(value)
            yield Problem(f"{name}[{key!r}] is {shown}", f"It takes {known[key]['wants']}.")


def _unknown(key: str, known: list[str], name: str) -> Problem:
    near = nearest(key.upper(), known)
    hint = f"Did you mean {near!r}?" if near else f"Known are {', '.join(known)}."
    return Problem(f"{name} has no setting {key!r}", hint, unknown=True)
