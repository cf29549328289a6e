from __future__ import annotations

import numpy as np
import pytest

from fanlight.core.counter_mode import PIECE_BYTES, CounterMode, WordSource
from fanlight.errors import MalformedMessage

KEY = bytes(range(32))


def read(mode: CounterMode, *counts: int) -> bytes:
    parts = []
    for count in counts:
        out = np.empty(count, dtype=np.uint8)
        mode.fill(out)
        parts.append(out.tobytes())
    return b"".join(parts)


def test_the_stream_does_not_depend_on_how_it_is_read() -> None:
    whole = read(CounterMode(KEY), 2 * PIECE_BYTES + 21)
    assert read(CounterMode(KEY), 1, 0, 18, PIECE_BYTES + 1, PIECE_BYTES + 1) == whole


def test_words_are_the_bytes_in_little_endian_order() -> None:
    source = WordSource(CounterMode(KEY), most=4)
    words = [int(word) for count in (4, 0, 3) for word in source.next(count)]
    raw = read(CounterMode(KEY), 28)
    assert words == [int.from_bytes(raw[at : at + 4], "little") for at in range(0, 28, 4)]


@pytest.mark.parametrize(("key", "block"), [(b"", bytes(16)), (bytes(16), bytes(16)), (bytes(32), bytes(12))])
def test_other_lengths_of_key_or_block_are_refused(key: bytes, block: bytes) -> None:
    with pytest.raises(MalformedMessage, match=f"not {len(key)} and {len(block)}"):
        CounterMode(key, block)
