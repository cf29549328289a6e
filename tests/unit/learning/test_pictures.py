from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fanlight.errors import PictureError
from fanlight.learning import pictures
from fanlight.learning.pictures import content_hash, load

RED, GREEN = (200, 30, 30), (30, 180, 40)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def two_halves(mode: str = "RGB", width: int = 40, height: int = 20) -> Image.Image:
    """Left half red, right half green."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    return image.convert(mode)


def close(colour: np.ndarray[Any, Any], expected: tuple[int, int, int], within: int = 12) -> bool:
    return bool(np.abs(colour.astype(int) - expected).max() <= within)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a huge picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_every_kind_gives_the_same_square(kind: str) -> None:
    square = load(encoded(two_halves(), kind), 32)
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8
    assert close(square[16, 4], RED)
    assert close(square[16, 27], GREEN)


@pytest.mark.parametrize("size", [8, 64, 224])
def test_size_is_as_asked(size: int) -> None:
    assert load(encoded(two_halves()), size).shape == (size, size, 3)


@pytest.mark.parametrize("size", [7, 2049, 0, -1])
def test_size_out_of_range(size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        load(encoded(two_halves()), size)


def test_grey() -> None:
    square = load(encoded(Image.new("L", (20, 20), 90)), 16)
    assert (square == 90).all()


def test_cmyk() -> None:
    square = load(encoded(two_halves("CMYK"), "JPEG", quality=95), 32)
    assert close(square[16, 4], RED, within=25)
    assert close(square[16, 27], GREEN, within=25)


def test_palette() -> None:
    square = load(encoded(two_halves().quantize(4)), 32)
    assert close(square[16, 4], RED)


def test_sixteen_bits_keep_their_levels() -> None:
    levels = np.full((20, 20), 0x8000, np.uint16)
    square = load(encoded(Image.fromarray(levels)), 16)
    assert (square == 0x80).all()


def test_floats_are_fractions() -> None:
    square = load(encoded(Image.fromarray(np.full((20, 20), 0.5, np.float32)), "TIFF"), 16)
    assert (square == 128).all()


def test_floats_that_are_not_finite_do_no_harm() -> None:
    levels = np.full((20, 20), np.nan, np.float32)
    assert (load(encoded(Image.fromarray(levels), "TIFF"), 16) == 0).all()


def test_black_and_white() -> None:
    square = load(encoded(Image.new("1", (20, 20), 1)), 16)
    assert (square == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(mode: str) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 40))
    square = load(encoded(image.convert(mode)), 32)
    assert close(square[16, 4], (0, 0, 0))
    assert close(square[16, 27], (255, 255, 255))


def test_transparent_palette_is_white() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([10, 20, 30] * 256)
    square = load(encoded(image, transparency=0), 16)
    assert (square == 255).all()


def test_transparent_palette_in_bytes_is_silent() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([10, 20, 30] * 256)
    square = load(encoded(image, transparency=bytes([0, 255])), 16)
    assert close(square[8, 8], (10, 20, 30))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_exif_is_honoured(orientation: int) -> None:
    """What a viewer shows: the stored picture, turned as the tag says, has red at the left."""
    upright = two_halves(width=64, height=64)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transposes that lead back to the stored picture
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    square = load(encoded(stored, "JPEG", exif=exif, quality=95), 32)
    assert close(square[16, 4], RED)
    assert close(square[16, 27], GREEN)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_counts_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert close(load(encoded(two_halves(), "JPEG", exif=exif), 32)[16, 4], RED)


def test_damaged_exif_counts_as_upright() -> None:
    data = encoded(two_halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert close(load(data, 32)[16, 4], RED)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (20, 20), RED), Image.new("RGB", (20, 20), GREEN)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert close(load(data, 16)[8, 8], RED)


def test_large_jpeg_is_decoded_small(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(two_halves(width=1600, height=1200), "JPEG")
    sizes: list[tuple[int, int]] = []
    original = Image.Image.convert

    def converted(self: Image.Image, *arguments: Any, **named: Any) -> Image.Image:
        sizes.append(self.size)
        return original(self, *arguments, **named)

    monkeypatch.setattr(Image.Image, "convert", converted)
    load(data, 64)
    assert max(sizes[0]) <= 400


def test_empty() -> None:
    with pytest.raises(PictureError, match=r"garden\.png.*empty"):
        load(b"", 32, name="garden.png")


def test_not_a_picture() -> None:
    with pytest.raises(PictureError, match=r"notes\.txt.*not a picture"):
        load(b"milk, bread, eggs", 32, name="notes.txt")


def test_kinds_that_start_programs_are_not_read() -> None:
    with pytest.raises(PictureError, match="not a picture"):
        load(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", 32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated(kind: str, kept: float) -> None:
    noise = Image.frombytes("RGB", (64, 64), bytes((i * 7919 >> 3) & 255 for i in range(64 * 64 * 3)))
    data = encoded(noise, kind)
    with pytest.raises(PictureError, match=r"cut\.img"):
        load(data[: int(len(data) * kept)], 32, name="cut.img")


def test_damaged_inside() -> None:
    data = bytearray(encoded(two_halves()))
    start = data.index(b"IDAT") + 4
    data[start : start + 8] = b"\xff" * 8
    with pytest.raises(PictureError) as caught:
        load(bytes(data), 32, name="x.png")
    assert caught.value.message == "x.png: damaged, or a part of it is missing", "no words of a library"


def test_heic_is_told_by_its_name() -> None:
    with pytest.raises(PictureError, match=r"IMG_1\.heic: a HEIC picture") as caught:
        load(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 32, name="IMG_1.heic")
    assert caught.value.next.startswith("Save it as JPEG.")


@pytest.mark.parametrize(("width", "height"), [(30000, 30000), (2**31 - 1, 2**31 - 1), (9000, 8000), (1, 2**27)])
def test_gigantic_is_refused_undecoded(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_square", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(PictureError, match=r"bomb\.png.*million pixels"):
        load(png_that_claims(width, height), 32, name="bomb.png")


def test_without_pixels() -> None:
    with pytest.raises(PictureError):
        load(png_that_claims(0, 5), 32)


def test_warnings_of_pillow_stay_inside() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PictureError, match="million pixels"):
            load(png_that_claims(11000, 10000), 32)


def test_filters_are_as_before_after_many_threads() -> None:
    before = list(warnings.filters)
    data = encoded(two_halves())
    threads = [threading.Thread(target=lambda: [load(data, 16) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_file_and_bytes_are_alike(tmp_path: Path) -> None:
    path = tmp_path / "door.png"
    path.write_bytes(encoded(two_halves()))
    assert (load(path, 32) == load(path.read_bytes(), 32)).all()
    assert content_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png.*cannot be read"):
        load(tmp_path / "gone.png", 32)
    with pytest.raises(PictureError, match=r"gone\.png"):
        content_hash(tmp_path / "gone.png")


def test_folder_and_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(PictureError, match="not a regular file"):
            load(path, 32)


def test_name_with_a_null_byte(tmp_path: Path) -> None:
    with pytest.raises(PictureError):
        load(tmp_path / "a\0b.png", 32)


def test_long_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 100)
    path = tmp_path / "long.png"
    path.write_bytes(b"x" * 101)
    with pytest.raises(PictureError, match=r"long\.png.*larger"):
        load(path, 32)
    with pytest.raises(PictureError, match="larger"):
        load(b"x" * 101, 32)
