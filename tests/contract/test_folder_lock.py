"""Only one holder of a state folder at a time, across processes too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fanlight.errors import StorageError
from fanlight.storage.folder_lock import FolderLock

HOLD = """
import sys
from pathlib import Path
from fanlight.storage.folder_lock import FolderLock
FolderLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(StorageError) as caught:
        second.acquire()
    assert caught.value.slug == "state-in-use"
    first.release()
    second.acquire()
    second.release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError):
            FolderLock(tmp_path).acquire()
        holder.kill()
    FolderLock(tmp_path).acquire()
