"""IDX, read and written value by value, straight from the description of the format."""

import struct

Nested = float | list["Nested"]

FORMATS = {0x08: ">B", 0x09: ">b", 0x0B: ">h", 0x0C: ">i", 0x0D: ">f", 0x0E: ">d"}


def idx_bytes(code: int, shape: list[int], values: list[float]) -> bytes:
    """An IDX file: 0, 0, type, number of dimensions, their sizes, then the values in row order."""
    content = bytes([0, 0, code, len(shape)])
    for size in shape:
        content += struct.pack(">I", size)
    for value in values:
        content += struct.pack(FORMATS[code], value)
    return content


def idx_values(content: bytes) -> tuple[list[int], list[float]]:
    """Shape and values of an intact IDX file."""
    code, n_dimensions = content[2], content[3]
    shape = [struct.unpack(">I", content[4 + 4 * i : 8 + 4 * i])[0] for i in range(n_dimensions)]
    start, size = 4 + 4 * n_dimensions, struct.calcsize(FORMATS[code])
    values = [
        struct.unpack(FORMATS[code], content[place : place + size])[0]
        for place in range(start, len(content), size)
    ]
    return shape, values
