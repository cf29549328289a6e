"""The folder of one run: what was asked, how far it is, what came of it.

::

    queued -> running -> finished
                      -> failed          the process has ended, and says why
                      -> stopped         by the operator
                      -> interrupted     the server ended, and the process with it

From ``failed``, ``stopped`` and ``interrupted`` it can go on, at the round after the last one that is done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from fanlight.errors import StorageError, from_os_error
from fanlight.learning.atomic_file import write_atomically
from fanlight.services.main_server.studies.permitted import as_toml

if TYPE_CHECKING:
    from fanlight.simulation.result import Line
    from fanlight.simulation.study import Study

State = Literal["queued", "running", "finished", "failed", "stopped", "interrupted"]
ACTIVE: Final = ("queued", "running")
STUDY: Final = "study.toml"
REPORT: Final = "report.html"
RESULT: Final = "result.json"
_COURSE: Final = "course.json"
_ASKED: Final = "asked.json"
_SAID: Final = "said.txt"
_ROUNDS: Final = "rounds.jsonl"
_MEMORIES: Final = "memories"
_MOST_SAID_BYTES: Final = 4_096
_MOST_BYTES: Final = 64 * 2**20
_LAST: Final = 10
"""Rounds by which the seconds left are reckoned."""


@dataclass(frozen=True)
class Course:
    """How a run stands.

    Attributes:
        state: see the module.
        queued_at, started_at, ended_at: Unix seconds; None = not yet.
        error: why it failed.
        figures: see ``StudyFolder.figures``, when it was running last; so a list reads no rounds.
    """

    state: State
    queued_at: float
    started_at: float | None = None
    ended_at: float | None = None
    error: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFolder:
    """One run.

    Attributes:
        number: its name.
        path: where it lies.
    """

    number: int
    path: Path

    @classmethod
    def make(cls, number: int, path: Path, study: Study, now: float) -> StudyFolder:
        """A new one, that waits.

        Raises:
            StorageError: the disk refuses.
        """
        new = cls(number, path.with_name(f".new-{number}"))
        try:
            shutil.rmtree(new.path, ignore_errors=True)
            new._write(_ASKED, study.as_json())
            new._put(STUDY, as_toml(study).encode())
            new.change(Course("queued", now, figures=new.figures()))
            new.path.rename(path)
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        return cls(number, path)

    @property
    def study(self) -> dict[str, Any]:
        """What was asked, as JSON."""
        return self._read(_ASKED)

    @property
    def course(self) -> Course:
        """How it stands."""
        return Course(**self._read(_COURSE))

    def change(self, course: Course) -> None:
        """It stands otherwise now.

        Raises:
            StorageError: the disk refuses.
        """
        self._write(_COURSE, asdict(course))

    def turn(self, state: State, **changes: Any) -> None:
        """It is in another state now, with the figures of this moment; errors as in ``change``."""
        self.change(replace(self.course, state=state, figures=self.figures(), **changes))

    @property
    def lines(self) -> list[Line]:
        """Rounds that are done; one that is being written is not there yet."""
        from fanlight.simulation.result import Line

        found = []
        for text in self._text(_ROUNDS, _MOST_BYTES).split("\n")[:-1]:
            try:
                found.append(Line(**json.loads(text)))
            except (ValueError, TypeError):  # the process was killed while it wrote; it does this round again
                break
        return found

    @property
    def grown(self) -> tuple[int, int]:
        """Something that changes when there is more to see."""
        return self._size(_ROUNDS), self._size(_SAID)

    @property
    def said(self) -> str:
        """The last that the process has said, a few lines at most."""
        try:
            with self.said_file.open("rb") as file:
                file.seek(max(0, self._size(_SAID) - _MOST_SAID_BYTES))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    @property
    def said_file(self) -> Path:
        """Where the process writes what it says."""
        return self.path / _SAID

    @property
    def result(self) -> dict[str, Any] | None:
        """``result.json``; None before it is there."""
        return self._read(RESULT) if self.file(RESULT) is not None else None

    def file(self, name: str) -> Path | None:
        """A file of it, if it is there."""
        path = self.path / name
        return path if path.is_file() else None

    def figures(self) -> dict[str, Any]:
        """``rounds_done``, those of the last round (None before the first), ``bytes_up`` of all, ``bytes`` on disk."""
        lines = self.lines
        last = asdict(lines[-1]) if lines else {}
        return {
            "rounds_done": len(lines),
            **{name: last.get(name) for name in ("accuracy", "balanced_accuracy", "loss")},
            "bytes_up": sum(line.bytes_up for line in lines),
            "seconds_left": _seconds_left(lines, self.study["rounds"]),
            "bytes": size_of(self.path),
        }

    def as_json(self) -> dict[str, Any]:
        """As ``GET /api/v1/studies/{number}`` shows it; ``seconds_left`` is None while nobody knows."""
        course = self.course
        running = course.state == "running"
        found = asdict(course) | (self.figures() if running else dict(course.figures))
        del found["figures"]
        left = found["seconds_left"] if running else None
        return {"number": self.number} | found | {"seconds_left": left, "study": self.study}

    def tidy(self) -> None:
        """Remove what only one that goes on needs: what each device remembers, up to hundreds of megabytes."""
        shutil.rmtree(self.path / _MEMORIES, ignore_errors=True)

    def remove(self) -> None:
        """All of it; what is only half gone is not found again.

        Raises:
            StorageError: the disk refuses.
        """
        gone = self.path.with_name(f".gone-{self.number}")
        try:
            shutil.rmtree(gone, ignore_errors=True)
            self.path.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise from_os_error(error, str(self.path)) from error

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._text(name, _MOST_BYTES))
        except ValueError as error:
            raise StorageError(f"{self.path / name} is damaged.", next="Remove this study.") from error
        return found

    def _text(self, name: str, most: int) -> str:
        try:
            with (self.path / name).open("rb") as file:
                return file.read(most).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise from_os_error(error, str(self.path / name)) from error

    def _size(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except OSError:
            return 0

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        self._put(name, json.dumps(content).encode())

    def _put(self, name: str, content: bytes) -> None:
        try:
            write_atomically(self.path / name, content, durable=True)
        except OSError as error:
            raise from_os_error(error, str(self.path)) from error


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; those that go meanwhile are not counted."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _seconds_left(lines: list[Line], rounds: int) -> float | None:
    last = [line.seconds for line in lines[-_LAST:]]
    return sum(last) / len(last) * (rounds - len(lines)) if last else None
