"""One picture file to one RGB square, or an error that names the picture.

Rules, and why they hold:

1. *Size before content.* The file's length and the pixel count that its header declares are checked before a single
   pixel is decoded: a decompression bomb costs its header.
2. *Only formats from a list.* Pillow's other readers (PostScript among them, which starts another program) never run.
3. *Whatever a decoder throws is the picture's fault* and becomes a ``PictureError`` that names it.
4. *Same picture, same square.* Orientation, transparency (on white), colour model and bit depth are settled here, so
   that nothing below has to know of them. Of an animation, the first frame counts.

The whole picture is squeezed into the square, as the demonstrations did: cropping could cut away the thing at the door.
"""

from __future__ import annotations

import hashlib
import io
import stat
import threading
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fanlight.errors import PictureError
from fanlight.learning.picture_faults import damaged, of_another_kind

MAX_FILE_BYTES = 64 * 2**20
"""Longest picture file that is read, in bytes."""

MAX_PIXELS = 2**26
"""Most pixels (width times height) that are decoded: above the 64-megapixel pictures of telephones."""

MIN_SIZE, MAX_SIZE = 8, 2048
"""Side of the square, in pixels."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = range(5, 9)


def load(source: Path | bytes, size: int, *, name: str | None = None) -> NDArray[np.uint8]:
    """Decode a picture into a square.

    Args:
        source: a file, or a file's bytes.
        size: side of the square in pixels, 8 to 2048.
        name: what to call the picture in errors; defaults to the path.

    Returns:
        (size, size, 3) uint8, RGB, 0 to 255, row-major from the top left corner.

    Raises:
        PictureError: missing, empty, too large, damaged or of a kind that is not read; the message names the picture.
        ValueError: ``size`` is out of range.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, not {size}")
    called = name or (str(source) if isinstance(source, Path) else "the picture")
    return _decode(read(source, name=called), size, called)


class Header(NamedTuple):
    """What a picture file says of itself: upright ``width`` and ``height`` in pixels, and its ``media_type``."""

    width: int
    height: int
    media_type: str


def header(data: bytes, *, name: str = "the picture") -> Header:
    """Read a picture file's header, without decoding a pixel.

    Raises:
        PictureError: it has none, or is of a kind that is not read; the message names the picture.
    """
    try:
        with _quiet_pillow, Image.open(io.BytesIO(data), formats=_readable_formats()) as image:
            width, height = image.size
            if _orientation(image) in _ON_ITS_SIDE:
                width, height = height, width
            return Header(width, height, Image.MIME.get(str(image.format), "application/octet-stream"))
    except Exception as error:  # readers raise anything
        raise damaged(name) from error


def content_hash(source: Path | bytes, *, name: str | None = None) -> str:
    """SHA-256 of a picture's file, 64 hexadecimal digits.

    Raises:
        PictureError: the file is missing, empty, too large or no file.
    """
    return hashlib.sha256(read(source, name=name)).hexdigest()


def read(source: Path | bytes, *, name: str | None = None) -> bytes:
    """The bytes of a picture file: at least one, at most ``MAX_FILE_BYTES``.

    Raises:
        PictureError: the file is missing, unreadable, empty, too large or no regular file.
    """
    called = name or (str(source) if isinstance(source, Path) else "the picture")
    data = _read_file(source, called) if isinstance(source, Path) else source
    if not data:
        raise PictureError("the file is empty", picture=called, next="Remove it, or copy the picture again.")
    if len(data) > MAX_FILE_BYTES:
        raise _too_long(called)
    return data


def _read_file(path: Path, called: str) -> bytes:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # opening a named pipe would wait for ever
            raise PictureError("not a regular file", picture=called, next="Put picture files here.")
        if about.st_size > MAX_FILE_BYTES:
            raise _too_long(called)
        with path.open("rb") as file:  # the file may have grown since: never read past the limit
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name cannot be used"
        raise PictureError(f"cannot be read: {reason}", picture=called, next="Is it still there, and yours?") from error


def _too_long(called: str) -> PictureError:
    return PictureError(
        f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB", picture=called, next="Save it smaller, as JPEG."
    )


def _decode(data: bytes, size: int, called: str) -> NDArray[np.uint8]:
    try:
        with _quiet_pillow, Image.open(io.BytesIO(data), formats=_readable_formats()) as image:
            _check_pixels(image, called)
            image.draft(image.mode, (2 * size, 2 * size))  # JPEG: at 1/2, 1/4 or 1/8, a tenth of time and memory
            image.load()  # before anything else looks inside: a second attempt after a failure finds black, no error
            upright = _UPRIGHT.get(_orientation(image))
            square = _square(image, size)
            if upright is not None:  # a square keeps its size when turned, and a small one turns cheaply
                square = square.transpose(upright)
            return np.array(square, dtype=np.uint8)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(called) from error
    except UnidentifiedImageError as error:
        raise of_another_kind(data, called, _readable_formats()) from error
    except Exception as error:  # decoders raise anything on damaged input: OSError, SyntaxError, struct.error, …
        raise damaged(called) from error


def _readable_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_pixels(image: Image.Image, called: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(called, f" ({width} x {height})")
    if width < 1 or height < 1:
        raise PictureError(f"has no pixels ({width} x {height})", picture=called, next="Remove it.")


def _too_many_pixels(called: str, dimensions: str = "") -> PictureError:
    return PictureError(
        f"more than {MAX_PIXELS // 10**6} million pixels{dimensions}; it was not decoded",
        picture=called,
        next="Save it smaller, or remove it.",
    )


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF data say nothing about the pixels: the picture counts as upright
        return 1


def _square(image: Image.Image, size: int) -> Image.Image:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        return _eight_bits(image).resize((size, size), Image.Resampling.BILINEAR).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    cutout = image.convert("RGBA").resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    white = Image.new("RGBA", (size, size), (255, 255, 255, 255))
    return Image.alpha_composite(white, cutout).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits, 32 bits or floats to 8 bits; Pillow's own conversion would clip them all to white."""
    levels = np.asarray(image)
    if image.mode == "F":
        levels = np.nan_to_num(levels, nan=0.0, posinf=255.0, neginf=0.0)
        if levels.max(initial=0.0) <= 1.0:
            levels = levels * 255.0
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if image.mode == "I" and levels.max(initial=0) <= 255:
        return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    return Image.fromarray((np.clip(levels, 0, 65535) >> 8).astype(np.uint8))


class _Quiet:
    """Silence for Pillow's warnings in all threads that decode.

    The interpreter's list of filters is global: two threads that saved and restored it by themselves would undo each
    other, so the first one in saves it and the last one out restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)


_quiet_pillow = _Quiet()
