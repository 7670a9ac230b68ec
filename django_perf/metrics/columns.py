"""Write and read columns of unsigned integers: as wide as the largest needs, at the speed of C.

Columns of one length stand side by side: a letter for the width of each (B, H, I, Q: 1, 2, 4, 8 bytes, as in `struct`),
then the values column by column in little endian.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, chain
from sys import byteorder

from ..exceptions import DamagedPayload

LARGEST = 2**64 - 1
WIDTHS = {"B": 1, "H": 2, "I": 4, "Q": 8}


def put(out: bytearray, columns: Sequence[Sequence[int]]) -> None:
    """Append columns of one length; a value above 64 bits is cut to the largest that fits."""
    largest = [max(column, default=0) for column in columns]
    if max(largest) > LARGEST:
        columns = [[min(value, LARGEST) for value in column] for column in columns]
    codes = "".join(map(code_of, largest)).encode()
    out += codes
    out += _whole(codes, len(columns[0])).pack(*chain.from_iterable(columns))


class Columns:
    """Read what put() wrote, as far as it is asked for: `count` columns of `length` values at `position`.

    `end` is the position behind them. Raises DamagedPayload where `data` holds no such columns.
    """

    __slots__ = ("_data", "_layouts", "_start", "end")

    def __init__(self, data: bytes, position: int, count: int, length: int) -> None:
        self._data, self._start = data, position + count
        codes = data[position : self._start]
        if len(codes) < count or codes.strip(b"BHIQ"):
            raise DamagedPayload(f"the widths of {count} columns are missing or unknown")
        self._layouts, size = _layouts(codes, length)
        self.end = self._start + size
        if self.end > len(data):
            raise DamagedPayload(f"{count} columns of {length} values do not fit")

    def __len__(self) -> int:
        return len(self._layouts)

    def __getitem__(self, number: int) -> tuple[int, ...]:
        place, layout, _ = self._layouts[number]
        return layout.unpack_from(self._data, self._start + place)

    def at(self, number: int, index: int) -> int:
        """Return one value of a column."""
        place, _, one = self._layouts[number]
        value: int = one.unpack_from(self._data, self._start + place + index * one.size)[0]
        return value


# Where a column begins, how it is read, and how one value of it is.
_Layout = tuple[int, struct.Struct, struct.Struct]
_ONE = {code: struct.Struct(f"<{code}") for code in WIDTHS}


@lru_cache(maxsize=512)
def _layouts(codes: bytes, length: int) -> tuple[list[_Layout], int]:
    """Return the layout of each column, and the bytes of all."""
    names = codes.decode()
    *starts, size = accumulate((length * WIDTHS[code] for code in names), initial=0)
    layouts = [
        (start, struct.Struct(f"<{length}{code}"), _ONE[code]) for start, code in zip(starts, names, strict=True)
    ]
    return layouts, size


@lru_cache(maxsize=512)
def _whole(codes: bytes, length: int) -> struct.Struct:
    """Return how all columns are written at once."""
    return struct.Struct("<" + "".join(f"{length}{code}" for code in codes.decode()))


def code_of(largest: int) -> str:
    """Return the letter of the narrowest width that holds `largest`; the widest for what none holds."""
    return next((code for code, width in WIDTHS.items() if largest < 1 << 8 * width), "Q")


def blank(code: str, length: int) -> array[int]:
    """Return `length` zeros, to be filled and given to little_endian()."""
    return array(code, bytes(length * WIDTHS[code]))


def little_endian(cells: array[int]) -> bytes:
    """Return the bytes of `cells`, which may be changed."""
    if byteorder == "big":
        cells.byteswap()
    return cells.tobytes()


def add_shifted(parts: Sequence[tuple[int, int, bytes]]) -> tuple[int, tuple[int, ...]]:
    """Add columns that begin at different places: (place, width, little endian values) of each, at least one.

    Returns where the sum begins, and the sum. Every column is made one large integer, with so much room for each of its
    values that no sum runs over into the next: so the addition of all of them is one, in C.
    """
    lowest = min(place for place, _, _ in parts)
    highest = max(place + len(raw) // width for place, width, raw in parts)
    needed = 8 * max(width for _, width, _ in parts) + len(parts).bit_length()
    room = next(room for room in (4, 8, 16) if needed <= 8 * room)
    total = sum(_spread(raw, width, room) << 8 * room * (place - lowest) for place, width, raw in parts)
    return lowest, _cut(total, room, highest - lowest)


def _spread(raw: bytes, width: int, room: int) -> int:
    wide = bytearray(len(raw) // width * room)
    for at in range(width):
        wide[at::room] = raw[at::width]
    return int.from_bytes(wide, "little")


def _cut(total: int, room: int, length: int) -> tuple[int, ...]:
    raw = total.to_bytes(room * length, "little")
    if room < 16:
        return struct.unpack(f"<{length}{'I' if room == 4 else 'Q'}", raw)
    halves = struct.unpack(f"<{2 * length}Q", raw)
    return tuple(low + (high << 64) for low, high in zip(halves[::2], halves[1::2], strict=True))
