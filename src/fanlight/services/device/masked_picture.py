"""What is sent, as a picture: one grey pixel for each 32-bit word of a masked report (PNG, ISO/IEC 15948).

Each pixel is the highest byte of a word. What a device learned has structure and would show it; a mask has none.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, Final

WIDTH: Final = 160
MOST_ROWS: Final = 100
_WORD_BYTES: Final = 4
_GREY_8: Final = (8, 0, 0, 0, 0)
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def masked_picture(y: BinaryIO, words: int) -> bytes:
    """The first (at most 16,000) words of ``y``, little-endian uint32, as a PNG of whole rows.

    Args:
        y: a report's masked vector.
        words: how many it has, at least 1.
    """
    width = min(WIDTH, words)
    rows = min(MOST_ROWS, words // width)
    highest = y.read(width * rows * _WORD_BYTES)[_WORD_BYTES - 1 :: _WORD_BYTES].ljust(width * rows, b"\0")
    lines = b"".join(b"\0" + highest[row * width : (row + 1) * width] for row in range(rows))
    header = struct.pack(">IIBBBBB", width, rows, *_GREY_8)
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(lines)), _chunk(b"IEND", b""))
    return _SIGNATURE + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
