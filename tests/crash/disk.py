"""What a disk holds after a power cut: of each file what was synced, under the names that were synced.

The process under test reports every file that it makes, syncs, renames and deletes through ``os``; a copy of what is
safe is kept beside its state folder (``SyncedDisk``).  After it has died, ``cut_power`` makes the folder what POSIX
promises and no more.  Two answers of a disk are possible and both are tried: names that were not synced are lost, or
they are there and their content is not.

What it covers: every file that Fanlight's own code writes.  What it does not: SQLite writes in C, unseen.  That a
commit is on the disk when it returns is SQLite's promise for ``synchronous=FULL`` with a write-ahead log; so the log is
cut back to where it was when the last commit under that setting returned, and a database with a weaker one loses its
commits.  What a disk does that ignores a sync, or tears a sector, is beyond this.  At each start everything that is
there counts as safe.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

DATABASE: Final = "state.sqlite3"
LOG: Final = f"{DATABASE}-wal"
_UNSEEN: Final = frozenset({DATABASE, LOG, f"{DATABASE}-shm", "in-use"})
_FULL: Final = 2

_open, _replace = os.open, os.replace  # the real ones: the launcher wraps those in ``os``


class SyncedDisk:
    """Keeps what is safe of ``root`` in the folder ``shadow``, which it makes anew."""

    def __init__(self, root: Path, shadow: Path) -> None:
        self.root, self._shadow = root.resolve(), shadow
        self._generations: dict[int, int] = {}
        self._lock = threading.RLock()
        shutil.rmtree(shadow, ignore_errors=True)
        (shadow / "content").mkdir(parents=True)
        (shadow / "names").mkdir()
        for folder in _folders(self.root):
            for entry in _files(folder):
                shutil.copyfile(entry.path, self._content(entry.inode()))
            self._list(folder)
        self._mark_log()

    def holds(self, path: Path) -> bool:
        """Is this a file (or folder) that is watched?"""
        return path.is_relative_to(self.root) and path.name not in _UNSEEN

    def made(self, inode: int) -> None:
        """A new, empty file: nothing of it is safe."""
        with self._lock:
            self._generations[inode] = self._generations.get(inode, 0) + 1
            self._content(inode).write_bytes(b"")

    def synced(self, path: Path, handle: int) -> None:
        """``os.fsync`` has returned."""
        with self._lock:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                self._list(path)
            else:
                shutil.copyfile(f"/proc/self/fd/{handle}", self._content(os.fstat(handle).st_ino))

    def committed(self, connection: sqlite3.Connection) -> None:
        """A commit has returned: it is safe if SQLite was told to wait for the disk."""
        if connection.execute("PRAGMA synchronous").fetchone()[0] >= _FULL:
            self._mark_log()

    def _mark_log(self) -> None:
        log = self.root / LOG
        self._keep(str(log.stat().st_size if log.exists() else 0), self._shadow / "log-bytes")

    def _list(self, folder: Path) -> None:
        """The names in ``folder`` are safe now."""
        files = {entry.name: self._content(entry.inode()).name for entry in _files(folder)}
        folders = [entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        listed = json.dumps({"files": files, "folders": folders})
        self._keep(listed, self._shadow / "names" / _quoted(folder.relative_to(self.root)))

    def _keep(self, text: str, path: Path) -> None:
        """Whole or not at all: another thread may have this process die now."""
        new = self._shadow / f"new-{threading.get_ident()}"
        new.write_text(text)
        new.replace(path)

    def _content(self, inode: int) -> Path:
        return self._shadow / "content" / f"{inode}-{self._generations.get(inode, 0)}"


def cut_power(root: Path, shadow: Path, *, names_lost: bool) -> None:
    """Make ``root`` what the disk holds after a power cut.

    Args:
        root: a dead process's state folder.
        shadow: what ``SyncedDisk`` has kept of it.
        names_lost: forget names (new, renamed, deleted) that were not synced; else only contents that were not.
    """
    root = root.resolve()
    (root / f"{DATABASE}-shm").unlink(missing_ok=True)
    log, safe = root / LOG, int((shadow / "log-bytes").read_text())
    if log.exists() and log.stat().st_size > safe:
        os.truncate(log, safe)
    if names_lost:
        _restore(root, root, shadow)
    else:
        for folder in _folders(root):
            for entry in _files(folder):
                kept = sorted((shadow / "content").glob(f"{entry.inode()}-*"), key=_generation)
                _put(kept[-1] if kept else None, Path(entry.path))


def _restore(folder: Path, root: Path, shadow: Path) -> None:
    listed = shadow / "names" / _quoted(folder.relative_to(root))
    known: dict[str, Any] = json.loads(listed.read_text()) if listed.exists() else {"files": {}, "folders": []}
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in known["folders"]:
                shutil.rmtree(entry.path)
        elif entry.name not in _UNSEEN and entry.name not in known["files"]:
            Path(entry.path).unlink()
    for name, content in known["files"].items():
        _put(shadow / "content" / content, folder / name)
    for name in known["folders"]:
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        _restore(folder / name, root, shadow)


def _put(content: Path | None, target: Path) -> None:
    data = content.read_bytes() if content is not None and content.exists() else b""
    if not target.exists() or target.read_bytes() != data:
        target.unlink(missing_ok=True)
        target.write_bytes(data)
        target.chmod(0o600)


def _folders(root: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(root):
        yield Path(folder)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False) and entry.name not in _UNSEEN)


def _generation(path: Path) -> int:
    return int(path.name.partition("-")[2])


def _quoted(path: Path) -> str:
    return f"%{path}".replace("/", "%")
