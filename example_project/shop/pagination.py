"""Cut lists into pages: by number, or by a cursor that costs the same on every page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from example_project.shop.conf import get_config
from example_project.shop.errors import ApiError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# Nine digits fit every integer column and leave no room for a number that takes seconds to parse.
MAX_DIGITS = 9
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """The page that was asked for, already within its limits."""

    number: int
    size: int

    @property
    def start(self) -> int:
        return (self.number - 1) * self.size

    @property
    def stop(self) -> int:
        return self.number * self.size

    def of(self, items: list[dict], total: int) -> dict:
        """Return the answer for these items of `total`."""
        pages = -(-total // self.size)
        return {"items": items, "total": total, "page": self.number, "per_page": self.size, "pages": pages}


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page, in the order newest first, id descending."""

    created_at: datetime
    id: int

    def encode(self) -> str:
        """Return an opaque token; microseconds, because an equal timestamp is what makes paging go wrong."""
        text = f"{(self.created_at - EPOCH) // MICROSECOND}.{self.id}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, token: str) -> Cursor:
        """Return the cursor of a token; anything that `encode` cannot have made is an ApiError 400."""
        try:
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            micros, row_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split(".")
            cursor = cls(EPOCH + int(micros) * MICROSECOND, int(row_id))
        except (ValueError, OverflowError, binascii.Error) as error:
            raise ApiError(400, "Invalid parameters", {"cursor": "is not a cursor of this list"}) from error
        return cursor.checked()

    def checked(self) -> Cursor:
        """Return itself when the id fits its column."""
        if not 0 < self.id <= MAX_ID:
            raise ApiError(400, "Invalid parameters", {"cursor": "is not a cursor of this list"})
        return self

    def older(self) -> Q:
        """Return the filter for the rows after this one."""
        # The first condition says nothing new; it is the one an index on (created_at, id) can start from.
        return Q(created_at__lte=self.created_at) & (Q(created_at__lt=self.created_at) | Q(id__lt=self.id))


def parse_page(params: Mapping[str, str]) -> Page:
    """Return the page of `?page=&per_page=`; outside the limits is an ApiError 400, never a silent correction."""
    return Page(parse_int(params, "page", 1, 10**MAX_DIGITS - 1), parse_page_size(params))


def parse_page_size(params: Mapping[str, str]) -> int:
    """Return `?per_page=` within 1 and the configured maximum."""
    config = get_config()
    return parse_int(params, "per_page", config.page_size, config.max_page_size)


def parse_int(params: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    """Return a parameter between 1 and `maximum`, written in plain digits."""
    text = params.get(name, str(default))
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0
    if not 1 <= value <= maximum:
        raise ApiError(400, "Invalid parameters", {name: f"must be a whole number from 1 to {maximum}"})
    return value
