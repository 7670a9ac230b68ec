"""Write and read columns of unsigned integers: as wide as the largest needs, at the speed of C.

A column is one byte for the width (0: all are zero; 1, 2, 4 or 8 bytes each) and the values in little endian.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from sys import byteorder

from ..exceptions import DamagedPayload

LARGEST = 2**64 - 1
# More than any frame has: a damaged length must not fill the memory with zeros.
MOST = 10_000_000
_TYPECODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def put(out: bytearray, values: Sequence[int]) -> None:
    """Append a column; a value above 64 bits is cut to the largest that fits."""
    largest = max(values, default=0)
    if largest > LARGEST:
        values, largest = [min(value, LARGEST) for value in values], LARGEST
    if largest:
        put_cells(out, array(_typecode(largest), values))
    else:
        out.append(0)


def blank(largest: int, length: int) -> array[int]:
    """Return `length` zeros, each wide enough for `largest`; to be filled and given to put_cells()."""
    cells = array(_typecode(largest))
    cells.frombytes(bytes(length * cells.itemsize))
    return cells


def put_cells(out: bytearray, cells: array[int]) -> None:
    """Append a column that has its width already."""
    out.append(cells.itemsize)
    out += _little_endian(cells).tobytes()


def _typecode(largest: int) -> str:
    return next(code for width, code in _TYPECODES.items() if largest < 1 << 8 * width)


def take(data: bytes, position: int, count: int) -> tuple[Sequence[int], int]:
    """Return the column of `count` values at `position`, and the position behind it.

    Raises DamagedPayload where `data` holds no such column.
    """
    if position >= len(data) or count > MOST:
        raise DamagedPayload(f"a column of {count} values is missing or too long")
    width = data[position]
    if width == 0:
        return (0,) * count, position + 1
    end = position + 1 + width * count
    if width not in _TYPECODES or end > len(data):
        raise DamagedPayload(f"a column of {count} values of {width} bytes does not fit")
    return _little_endian(array(_TYPECODES[width], data[position + 1 : end])), end


def _little_endian(cells: array[int]) -> array[int]:
    if byteorder == "big":
        cells.byteswap()
    return cells
