"""Keys and tokens in files that only their owner can read.

They are written whole or not at all, refused when others can read them, and destroyed by overwriting before unlinking.
Overwriting is best effort (flash storage and copy-on-write file systems keep old blocks): what must be gone for sure
has to be encrypted under a key that never touched the disk.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fanlight.errors import NotFound, StorageError, from_os_error
from fanlight.storage.failures import os_failures
from fanlight.storage.folders import OWNER_ONLY_FILE, sync_folder

SECRET_LIMIT_BYTES = 1 << 16
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_secret(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write ``content`` to ``path``, readable by its owner only, durably and atomically.  The folder must exist.

    Raises:
        StorageError: the file exists and ``replace`` is false, or the disk is full or failed.
    """
    if path.exists() and not replace:
        raise StorageError(
            f"{path} exists already.",
            next="Move it away first if it should be made anew.",
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        for name in os.listdir(path.parent):  # noqa: PTH208 a pattern of its own takes longer than the listing
            if name.startswith(f".{path.name}.") and name.endswith(".partial"):
                destroy(path.with_name(name))  # of a process that died while it wrote
        _write_durably(partial, content)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise from_os_error(error, str(path)) from error


def read_secret(path: Path, *, limit: int = SECRET_LIMIT_BYTES) -> bytes:
    """The content of ``path``, at most ``limit`` bytes.

    Raises:
        NotFound: there is no such file.
        StorageError: others can read or write it, it is too long or no plain file, or the disk failed.
    """
    try:
        with path.open("rb") as stream:
            refuse_public(path, os.fstat(stream.fileno()).st_mode)
            content = stream.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist.") from error
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    if len(content) > limit:
        raise StorageError(f"{path} is longer than {limit:,} bytes: this is no secret file of Fanlight's.")
    return content


def destroy(path: Path) -> bool:
    """Overwrite ``path`` with zeros, unlink it and sync the folder; False if there is no such file.

    Raises:
        StorageError: the disk failed; the file may still be there.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    with os_failures(path):
        with os.fdopen(handle, "r+b", buffering=0) as stream:
            stream.write(bytes(os.fstat(handle).st_size))
            os.fsync(handle)
        path.unlink()
        sync_folder(path.parent)
    return True


def _write_durably(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY_FILE), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def refuse_public(path: Path, mode: int) -> None:
    """Refuse a secret's file of such a mode.

    Raises:
        StorageError: it is no plain file, or others can read or write it.
    """
    if not stat.S_ISREG(mode):
        raise StorageError(f"{path} is no plain file.")
    if mode & _FOR_OTHERS:
        raise StorageError(
            f"{path} holds a secret, but other users can open it (mode {stat.S_IMODE(mode):04o}).",
            next=f"Run: chmod 600 '{path}' - and make a new secret if somebody may have read it.",
            slug="secret-not-private",
        )
