"""Take in pictures that somebody uploads: one by one or in a ZIP file, all of it bounded before it is believed."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Protocol

from fanlight.errors import DataError, FanlightError
from fanlight.learning import pictures
from fanlight.learning.picture_faults import damaged
from fanlight.learning.pictures import MAX_FILE_BYTES
from fanlight.services.device.library.folder_names import passed_over
from fanlight.services.device.library.measure import Measured, measure

MAX_FILES = 5000
"""Files in one upload."""
MAX_TOTAL_BYTES = 2 * 2**30
"""Bytes of one upload, as it comes and as it unpacks."""

LONGEST_SHOWN = 200
"""Characters of a refused file's name that are kept."""

_LONGEST_STEM = 80
_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif")
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others need much memory, and nobody's ZIP has them


class Stream(Protocol):
    """Something to read bytes from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes."""


@dataclass(frozen=True)
class Upload:
    """A picture that can be taken in."""

    name: str
    data: bytes
    sha256: str
    measured: Measured


def examine(name: str, stream: Stream) -> Upload:
    """Read and decode one file.

    Raises:
        PictureError: it cannot be used.
    """
    called = PurePosixPath(name.replace("\\", "/")).name or "picture"
    data = pictures.read(_read(stream, MAX_FILE_BYTES + 1), name=called)
    return Upload(safe_name(called), data, hashlib.sha256(data).hexdigest(), measure(data, called))


def is_zip(name: str) -> bool:
    """By its name; what it really is, unpacking will say."""
    return name.lower().endswith(".zip")


def safe_name(name: str) -> str:
    """A file name that every file system takes and no shell or browser stumbles over; letters of all scripts stay."""
    called = PurePosixPath(name.replace("\\", "/")).name
    stem, dot, suffix = called.rpartition(".")
    if not dot or f".{suffix.lower()}" not in _SUFFIXES:
        stem, suffix = called, "picture"
    kept = "".join(c if c.isalnum() or c in "-_ ()+" else "-" for c in stem).strip(" -")
    while len(kept.encode()) > _LONGEST_STEM:
        kept = kept[:-1]
    return f"{kept or 'picture'}.{suffix.lower()}"


def unzip(stream: IO[bytes]) -> Iterator[tuple[str, Stream]]:
    """The files of a ZIP; folders, hidden files and what other systems add are passed over.

    What the archive says of sizes is checked before anything is unpacked, and what is unpacked is counted all the same.
    Names in it lead nowhere: they are only read.

    Raises:
        DataError: it is no ZIP file, too large, encrypted or damaged.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and not passed_over(entry.filename)]
            _check(entries)
            left = MAX_TOTAL_BYTES
            for entry in entries:
                with archive.open(entry) as file:
                    counted = _Counted(file, left)
                    yield entry.filename, counted
                    left = counted.left
    except FanlightError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise DataError(
            "The ZIP file is damaged, or is none.",
            slug="bad-zip",
            next="Pack it again, or add the pictures themselves.",
        ) from error


class _Counted:
    """A stream that says when too much has come out of it."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file = file
        self.left = left

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        data = self._file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise _too_large()
        return data


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_FILES:
        raise DataError(
            f"The ZIP file holds {len(entries):,} files; {MAX_FILES:,} are taken at once.",
            slug="too-many-files",
            next="Divide it into several.",
        )
    if sum(entry.file_size for entry in entries) > MAX_TOTAL_BYTES:
        raise _too_large()
    if any(entry.flag_bits & 1 for entry in entries):
        raise DataError("The ZIP file is encrypted.", slug="bad-zip", next="Pack it without a password.")
    if any(entry.compress_type not in _METHODS for entry in entries):
        raise DataError("The ZIP file is packed in an unusual way.", slug="bad-zip", next="Pack it as an ordinary ZIP.")


def too_many_files() -> DataError:
    """The error for an upload of more than ``MAX_FILES`` files."""
    return DataError(
        f"These are more than {MAX_FILES:,} files at once.",
        slug="too-many-files",
        next="Choose fewer, or put them into a ZIP file. With JavaScript, the page divides them by itself.",
    )


def _too_large() -> DataError:
    return DataError(
        f"The ZIP file unpacks to more than {MAX_TOTAL_BYTES // 2**30} GiB.",
        slug="upload-too-large",
        next="Divide it into several.",
    )


def _read(stream: Stream, limit: int) -> bytes:
    try:
        return stream.read(limit)
    except (OSError, zlib.error, zipfile.BadZipFile, EOFError) as error:
        raise damaged() from error
