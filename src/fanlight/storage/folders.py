"""Owner-only folders, and making a rename durable."""

from __future__ import annotations

import os
from pathlib import Path

from fanlight.storage.failures import os_failures

OWNER_ONLY_FOLDER = 0o700
OWNER_ONLY_FILE = 0o600


def make_private_folder(folder: Path) -> None:
    """Create ``folder`` (and its parents) and make it readable by its owner only, durably.

    Raises:
        StorageError: it cannot be made, or belongs to somebody else.
    """
    with os_failures(folder):
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(mode=OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
        folder.chmod(OWNER_ONLY_FOLDER)
        for made in missing:  # else all that is synced inside could go with the folder's name
            sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of ``folder`` durable: a renamed or unlinked file may otherwise come back after a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
