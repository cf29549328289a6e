"""Writes a file for its owner only, all of it or none of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, durable: bool) -> None:
    """Puts ``data`` at ``path``; readers and racing writers never see half a file. Missing folders are made, mode 0700.

    Args:
        path: the file; replaced if it exists, mode 0600.
        data: its whole content.
        durable: wait until the data are on the disk, so that a power cut cannot leave an empty file either.

    Raises:
        OSError: the disk refuses; nothing is left behind.
    """
    _make_private(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _make_private(folder: Path) -> None:
    """Makes the folder and the missing ones above it; ``mkdir(parents=True)`` would leave the latter open to all."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
