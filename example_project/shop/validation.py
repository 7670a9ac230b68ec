"""Check what clients send; every rule here once cost a 500 or a wrong row."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import urlsplit

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from example_project.shop.errors import ApiError
from example_project.shop.models import NAME_LENGTH, URL_LENGTH, Category
from example_project.shop.pagination import MAX_ID

REQUIRED = ("name", "price", "category_id")
MAX_PRICE = Decimal("99999999.99")
CENT = Decimal("0.01")
PRICE_TEXT = re.compile(r"-?[0-9]{1,8}(\.[0-9]{1,2})?", re.ASCII)
DESCRIPTION_LENGTH = 10_000
MAX_IMAGES = 50


def read_object(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in the body; anything else is an ApiError."""
    try:
        # Thousands of "[" are short to send and deep to parse; 1e-9999999999999999999 is more than a Decimal can hold.
        data = json.loads(request.body, parse_float=Decimal, parse_constant=refuse_constant)
    except RequestDataTooBig as error:
        raise ApiError(413, "Request body too large") from error
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ApiError(400, "Invalid JSON") from error
    if not isinstance(data, dict):
        raise ApiError(400, "Expected a JSON object")
    return data


def refuse_constant(text: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads but JSON does not have."""
    raise ValueError(f"{text} is not JSON")


def clean_new(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a new product; what is not a field (an id, for one) is left out."""
    missing = {name: "is required" for name in REQUIRED if name not in data}
    fields, errors = clean_fields(data)
    if missing:
        raise ApiError(400, "Missing required fields", missing | errors)
    return accept(fields, errors)


def clean_changes(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a PATCH changes."""
    return accept(*clean_fields(data))


def accept(fields: dict[str, Any], errors: dict[str, str]) -> dict[str, Any]:
    """Return the fields unless one of them is wrong."""
    if errors:
        raise ApiError(400, "Invalid fields", errors)
    return fields


def clean_fields(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the good fields and, by name, what is wrong with the others."""
    fields: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, clean in CLEANERS.items():
        if name in data:
            try:
                fields[name] = clean(data[name])
            except ValueError as error:
                errors[name] = str(error)
    return fields, errors


def clean_name(value: Any) -> str:
    """Return a name that says something."""
    name = clean_text(value, NAME_LENGTH).strip()
    if not name:
        raise ValueError("must not be empty")
    return name


def clean_description(value: Any) -> str:
    """Return a description, which may be empty."""
    return clean_text(value, DESCRIPTION_LENGTH)


def clean_text(value: Any, length: int) -> str:
    """Return text that the database can store: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if len(value) > length:
        raise ValueError(f"must have at most {length} characters")
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("contains a character that cannot be stored")
    return value


def clean_price(value: Any) -> Decimal:
    """Return a price of at most two decimals, exactly as written."""
    price = to_decimal(value)
    if not 0 <= price <= MAX_PRICE:
        raise ValueError(f"must be from 0 to {MAX_PRICE}")
    cents = price.quantize(CENT)
    if cents != price:
        raise ValueError("must have at most two decimals")
    return abs(cents)


def to_decimal(value: Any) -> Decimal:
    """Return a number, or a string that spells one, as a Decimal; True is neither."""
    if isinstance(value, str) and PRICE_TEXT.fullmatch(value):
        return Decimal(value)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError('must be a number or a string like "9.90"')


def clean_category(value: Any) -> int:
    """Return the id of a category that exists."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")
    if not 0 < value <= MAX_ID or not Category.objects.filter(pk=value).exists():
        raise ValueError("is no category")
    return value


def clean_images(value: Any) -> list[str]:
    """Return a list of addresses; a single string is not a list of its characters."""
    if not isinstance(value, list):
        raise ValueError("must be a list of addresses")
    if len(value) > MAX_IMAGES:
        raise ValueError(f"must have at most {MAX_IMAGES} addresses")
    return [clean_url(url) for url in value]


def clean_url(value: Any) -> str:
    """Return an http or https address."""
    url = clean_text(value, URL_LENGTH)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or url != url.strip():
        raise ValueError("must hold http or https addresses only")
    return url


CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": clean_name,
    "description": clean_description,
    "price": clean_price,
    "category_id": clean_category,
    "images": clean_images,
}
