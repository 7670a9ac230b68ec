"""Write and read unsigned integers of any size as LEB128, seven bits a byte."""

from __future__ import annotations


def put(out: bytearray, value: int) -> None:
    """Append `value` (>= 0) to `out`."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def take(data: bytes, position: int, count: int) -> tuple[list[int], int]:
    """Return the `count` integers that start at `position`, and the position behind them.

    Raises IndexError when `data` ends too early.
    """
    values = []
    for _ in range(count):
        value = byte = data[position]
        position += 1
        shift = 7
        if byte > 127:
            value &= 127
        while byte > 127:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
        values.append(value)
    return values, position
