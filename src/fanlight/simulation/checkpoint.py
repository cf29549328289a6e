"""Where a run stands, on disk after every round: one that is interrupted goes on with the same bits.

``rounds.jsonl`` grows by a line a round; ``checkpoint.safetensors`` is replaced: the model, what the algorithm
remembers, and in its metadata which line it belongs to. A line without its checkpoint is of a round that is done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fanlight.errors import SettingsError, from_os_error
from fanlight.learning.atomic_file import write_atomically
from fanlight.simulation.buffered import Buffer
from fanlight.simulation.learners import Published
from fanlight.simulation.result import Line
from fanlight.simulation.server import Floats, Global
from fanlight.storage.folder_lock import FolderLock

CHECKPOINT = "checkpoint.safetensors"
_FORMAT = 2
_MEMORY = "memory."
_VERSION = "version."


@dataclass(frozen=True)
class Standing:
    """After a round.

    Attributes:
        state: of the servers.
        lines: of the rounds so far.
        remembered: the round that each device's memory is of.
        simulated_s: on the simulated clock.
        buffer: who is at work, where the server waits for nobody.
        versions: older ones that they began from, (d,) by number.
    """

    state: Global
    lines: tuple[Line, ...] = ()
    remembered: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    simulated_s: float = 0.0
    buffer: Buffer = field(default_factory=Buffer)
    versions: Mapping[int, Floats] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def next_round(self) -> int:
        """Its number."""
        return len(self.lines) + 1

    @property
    def older(self) -> dict[int, Published]:
        """The older versions, by how many were made since."""
        return {self.buffer.version - number: Published(found, {}) for number, found in self.versions.items()}

    def versions_after(self, buffer: Buffer) -> Mapping[int, Floats]:
        """What has to be kept of versions after a round that leaves ``buffer``."""
        known = {**self.versions, self.buffer.version: self.state.parameters}
        return MappingProxyType({number: known[number] for number in sorted(buffer.begun_from - {buffer.version})})


@dataclass(frozen=True)
class Checkpoints:
    """A result folder's checkpoint; without a folder nothing is kept.

    Attributes:
        folder: of the result.
        study: whose run it is, as JSON; that of another one is not gone on with.
        of: what it learns from, see ``fingerprint``; likewise.
    """

    folder: Path | None
    study: Mapping[str, Any]
    of: str = ""

    @contextmanager
    def held(self) -> Iterator[None]:
        """No other process may go on with the run meanwhile. Workers are forked before: they would hold it, too.

        Raises:
            StorageError: another one does (slug ``state-in-use``), or the disk refuses.
        """
        if self.folder is None:
            yield
            return
        lock = FolderLock(self.folder, private=False)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def keep(self, standing: Standing) -> None:
        """After one more round.

        Raises:
            StorageError: the disk refuses.
        """
        if self.folder is None:
            return
        state, last = standing.state, standing.lines[-1]
        metadata = {
            "format": _FORMAT,
            "study": dict(self.study),
            "of": self.of,
            "round": last.round,
            "clip_micro": state.clip_micro,
            "solved": state.solved,
            "remembered": list(standing.remembered.items()),
            "simulated_s": standing.simulated_s,
            "buffer": standing.buffer.as_json(),
        }
        tensors = {"parameters": state.parameters}
        tensors |= {f"{_MEMORY}{name}": np.ascontiguousarray(vector) for name, vector in state.memory.items()}
        tensors |= {f"{_VERSION}{number}": parameters for number, parameters in standing.versions.items()}
        try:
            with self._lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(last), separators=(",", ":")) + "\n")
            write_atomically(self._file, save(tensors, {"fanlight": json.dumps(metadata)}), durable=False)
        except OSError as error:
            raise from_os_error(error, str(self.folder)) from error

    def find(self) -> Standing | None:
        """Where the run stood; None if nothing is there.

        Raises:
            SettingsError: the folder has another run, one of more rounds, or a damaged one. StorageError: it cannot be
                read.
        """
        if self.folder is None or not self._file.exists():
            return None
        try:
            with safe_open(self._file, "numpy") as file:
                metadata = json.loads((file.metadata() or {})["fanlight"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dictionary
            is_ours = metadata.get("of", self.of) == self.of and _goes_on(metadata["study"], self.study)
            if metadata["format"] != _FORMAT or not is_ours:
                raise self._another()
            count = int(metadata["round"])
            if count > self.study["rounds"]:
                raise self._longer(count)
            lines = self._lines_of(count)
            memory = {name.removeprefix(_MEMORY): tensors[name] for name in tensors if name.startswith(_MEMORY)}
            for vector in memory.values():
                vector.setflags(write=False)
            state = Global(
                tensors["parameters"], MappingProxyType(memory), int(metadata["clip_micro"]), bool(metadata["solved"])
            )
            buffer = Buffer.of_json(metadata.get("buffer", Buffer().as_json()))
            versions = {number: tensors[f"{_VERSION}{number}"] for number in buffer.begun_from - {buffer.version}}
        except (FileNotFoundError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise self._another() from error
        except OSError as error:
            raise from_os_error(error, str(self.folder)) from error
        remembered, simulated_s = dict(map(tuple, metadata["remembered"])), float(metadata["simulated_s"])
        return Standing(state, lines, remembered, simulated_s, buffer, MappingProxyType(versions))

    def _lines_of(self, count: int) -> tuple[Line, ...]:
        """The lines of so many rounds; what was written after them is of a round that is done again, and goes."""
        text = self._lines.read_text(encoding="utf-8")
        texts = text.splitlines()[:count]
        lines = tuple(Line(**json.loads(each)) for each in texts)
        if len(lines) != count:
            raise self._another()
        kept = "".join(f"{each}\n" for each in texts)
        if kept != text:
            write_atomically(self._lines, kept.encode(), durable=False)
        return lines

    def _another(self) -> SettingsError:
        return SettingsError(
            f"{self.folder} holds the run of another study, of other examples or another module, or a damaged one.",
            next="Choose another folder with --out, or remove that one.",
        )

    def _longer(self, count: int) -> SettingsError:
        return SettingsError(
            f"{self.folder} holds a run of {count} rounds; {self.study['rounds']} cannot be had of it any more.",
            next=f"Ask for {count} rounds or more, or choose another folder with --out.",
        )

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / CHECKPOINT

    @property
    def _lines(self) -> Path:
        assert self.folder is not None
        return self.folder / "rounds.jsonl"


def _goes_on(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Is it the same study, but for how many rounds it has, and what else is measured?"""
    free = ("rounds", "baselines")
    return {k: v for k, v in before.items() if k not in free} == {k: v for k, v in now.items() if k not in free}


def rounds_done(folder: Path) -> int:
    """How many rounds the run in a folder has behind it; 0 where there is none that could be read."""
    try:
        with safe_open(folder / CHECKPOINT, "numpy") as file:
            return int(json.loads((file.metadata() or {})["fanlight"])["round"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return 0
