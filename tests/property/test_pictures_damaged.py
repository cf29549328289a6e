"""Whatever is done to a picture's bytes, the outcome is a square or a ``PictureError`` that names the picture."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fanlight.errors import PictureError
from fanlight.learning.pictures import load

KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")


def encoded(kind: str) -> bytes:
    image = Image.fromarray((np.arange(24 * 16 * 3).reshape(16, 24, 3) * 37 % 256).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"exif": exif} if kind in {"JPEG", "PNG", "WEBP"} else {}))
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in KINDS}


def square_or_error(data: bytes) -> None:
    outcome: object
    try:
        outcome = load(data, 16, name="door.img").shape
    except PictureError as error:
        outcome = error.message
    assert outcome == (16, 16, 3) or "door.img" in str(outcome)


@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8))
def test_changed_bytes(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILES[kind])
    for place, value in changes:
        data[place % len(data)] = value
    square_or_error(bytes(data))


@given(st.sampled_from(KINDS), st.integers(0, 200), st.binary(max_size=40))
def test_another_rest(kind: str, kept: int, rest: bytes) -> None:
    square_or_error(FILES[kind][:kept] + rest)
