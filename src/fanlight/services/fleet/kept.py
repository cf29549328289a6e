"""What is kept beside the devices' own files: whose pictures they have, and the rounds that were told."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from fanlight.errors import SettingsError, from_os_error
from fanlight.simulation.result import Line
from fanlight.simulation.study import Study

_SAME: Final = ("dataset", "partition", "devices", "seed", "attack", "test_percent", "valid_percent")
"""Fields of a study that say what a device has, and is."""


class Kept:
    """Two files: ``devices.json``, and ``rounds.jsonl`` with a line for each round, as a simulation's.

    Args:
        folder: of the devices.
        study: theirs.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self._folder = folder
        self._devices, self._rounds = folder / "devices.json", folder / "rounds.jsonl"
        fields = study.as_json()
        self._told = {name: fields[name] for name in _SAME}

    def lines(self) -> list[Line]:
        """The rounds of earlier runs of the same devices.

        Raises:
            SettingsError: they have other pictures. StorageError: the disk.
        """
        try:
            before = json.loads(self._devices.read_text(encoding="utf-8")) if self._devices.exists() else self._told
            texts = self._rounds.read_text(encoding="utf-8").splitlines() if self._rounds.exists() else []
            lines = [Line(**json.loads(text)) for text in texts]
        except OSError as error:
            raise from_os_error(error, str(self._folder)) from error
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{self._folder} is damaged.", next="Choose another folder with --out.") from error
        for name, value in self._told.items():
            if before.get(name) != value:
                raise SettingsError(
                    f"The devices in {self._folder} were begun with {name} {before.get(name)}, not {value}.",
                    next="Go on with the same; or begin others, with tokens of their own.",
                    slug="other-devices",
                )
        return lines

    def begin(self) -> None:
        """The devices have these pictures from now on.

        Raises:
            StorageError: the disk refuses.
        """
        self._write(self._devices, "w", json.dumps(self._told, indent=1))

    def keep(self, line: Line) -> None:
        """One more round; errors as in ``begin``."""
        self._write(self._rounds, "a", json.dumps(asdict(line), separators=(",", ":")))

    def _write(self, path: Path, mode: str, text: str) -> None:
        try:
            with path.open(mode, encoding="utf-8") as file:
                file.write(f"{text}\n")
        except OSError as error:
            raise from_os_error(error, str(self._folder)) from error
