"""A text file that somebody hands to a study."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fanlight.errors import DataError, from_os_error

MOST_BYTES: Final = 256 * 2**20


def read_text(path: str) -> str:
    """The whole of it.

    Raises:
        StorageError: it cannot be read. DataError: more than 256 MiB, or not UTF-8.
    """
    try:
        with Path(path).open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise from_os_error(error, path) from error
    if len(data) > MOST_BYTES:
        raise DataError(f"{path}: more than {MOST_BYTES:,} bytes", next="Is this really the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text in UTF-8 (byte {error.start})", next="Save it as UTF-8.") from error
