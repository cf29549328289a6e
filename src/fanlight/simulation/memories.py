"""What algorithms have simulated devices remember: a file for each device and round that left something.

A file is never changed. Which one counts is known to the simulation, and kept with its checkpoint; so a run that was
interrupted finds what it had, and a round that failed leaves nothing that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fanlight.errors import ModelError, from_os_error
from fanlight.learning.algorithms import memory_file
from fanlight.learning.algorithms.algorithm import NOTHING, Memory
from fanlight.learning.atomic_file import write_atomically


@dataclass(frozen=True)
class Memories:
    """The files below a folder, which all workers see."""

    folder: Path

    def read(self, device: int, of_round: int | None) -> Memory:
        """What a device remembers; nothing if there is no round of which it does.

        Raises:
            ModelError: the file is missing or damaged.
        """
        if of_round is None:
            return NOTHING
        path = self._path(device, of_round)
        try:
            return memory_file.decode(path.read_bytes())
        except OSError as error:
            raise ModelError(f"what device {device} remembered is gone: {path}") from error

    def write(self, device: int, of_round: int, memory: Memory) -> None:
        """Keep what a device remembers if this round counts.

        Raises:
            StorageError: the disk refuses.
        """
        path = self._path(device, of_round)
        try:
            write_atomically(path, memory_file.encode(memory), durable=False)
        except OSError as error:
            raise from_os_error(error, str(path)) from error

    def forget(self, device: int, of_round: int) -> None:
        """It does not count any more."""
        self._path(device, of_round).unlink(missing_ok=True)

    def _path(self, device: int, of_round: int) -> Path:
        return self.folder / f"{device // 1000:03d}" / f"{device}-{of_round}.safetensors"
