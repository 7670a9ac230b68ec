"""Say errors in JSON, also those that Django finds before or after a view."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest, JsonResponse


class ApiError(Exception):
    """Carry an answer out of the depth of a view: status, text, and the fields to blame."""

    def __init__(self, status: int, error: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.fields = fields


def error_response(status: int, error: str, fields: Mapping[str, str] | None = None) -> JsonResponse:
    """Return `{"error": ...}`, with `"fields"` when some are to blame."""
    body: dict[str, object] = {"error": error}
    if fields:
        body["fields"] = dict(fields)
    return JsonResponse(body, status=status)


def not_found(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Answer for a path that no route knows."""
    return error_response(404, "Not found")


def server_error(request: HttpRequest) -> JsonResponse:
    """Answer for a view that raised; the traceback is in the log, not in the answer."""
    return error_response(500, "Internal server error")
