"""Decide about compression view by view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction
from django.http.response import HttpResponseBase

from ..conf import ENCODINGS, PROFILES, get_settings
from ..metrics.guard import count_fault
from .compressor import Compressor
from .rules import OPT_OUT

View = TypeVar("View", bound=Callable[..., Any])


@overload
def compress(view: View) -> View: ...
@overload
def compress(
    *, encodings: tuple[str, ...] | list[str] | None = None, profile: str | None = None
) -> Callable[[View], View]: ...


def compress(view: Any = None, *, encodings: Any = None, profile: str | None = None) -> Any:
    """Compress the responses of a view, by its own codings or profile, with or without the middleware.

    Raises ValueError for a coding or a profile that does not exist.
    """
    if encodings is not None and not (encodings and set(encodings) <= set(ENCODINGS)):
        raise ValueError(f"encodings {encodings!r}: there are {', '.join(ENCODINGS)}")
    if profile is not None and profile not in PROFILES:
        raise ValueError(f"profile {profile!r}: there are {', '.join(PROFILES)}")
    wanted: dict[str, Any] = {"encodings": tuple(encodings or ()), "profile": profile}
    given = {name: value for name, value in wanted.items() if value}

    def process(request: Any, response: HttpResponseBase) -> None:
        try:
            Compressor(replace(get_settings().compression, **given)).process(request, response)
        except Exception as fault:
            count_fault("compression", fault)

    return _after(process) if view is None else _after(process)(view)


def no_compress(view: View) -> View:
    """Leave the responses of a view as they are."""

    def process(request: Any, response: HttpResponseBase) -> None:
        setattr(response, OPT_OUT, True)

    return cast(View, _after(process)(view))


def _after(process: Callable[[Any, HttpResponseBase], None]) -> Callable[[Any], Any]:
    """Return a decorator that does something with the response of a view, sync or async."""

    def decorate(view: Any) -> Any:
        @wraps(view)
        def sync_view(request: Any, *args: Any, **kwargs: Any) -> Any:
            return _processed(process, request, view(request, *args, **kwargs))

        @wraps(view)
        async def async_view(request: Any, *args: Any, **kwargs: Any) -> Any:
            return _processed(process, request, await view(request, *args, **kwargs))

        return async_view if iscoroutinefunction(view) else sync_view

    return decorate


def _processed(process: Callable[[Any, HttpResponseBase], None], request: Any, response: Any) -> Any:
    if callable(getattr(response, "render", None)):  # a TemplateResponse has no content yet
        response.add_post_render_callback(partial(process, request))
    else:
        process(request, response)
    return response
