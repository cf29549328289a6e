"""All studies of a main server: a queue, and one process at a time that works on it.

One thread owns the process: it starts it, waits for it and ends it; others ask it to. It is there only while a study
waits or runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from fanlight.errors import FanlightError, NotFound, NotPossibleNow
from fanlight.services.main_server.studies.folder import ACTIVE, StudyFolder, size_of
from fanlight.services.main_server.studies.process import StudyProcess
from fanlight.storage.folders import make_private_folder

if TYPE_CHECKING:
    from fanlight.simulation.study import Study

log = structlog.get_logger(__name__)

MOST_KEPT: Final = 100
MOST_QUEUED: Final = 20
_SHARED: Final = "shared"
_BEAT_S: Final = 0.5
"""So often it is looked whether something is to be stopped."""
_SHOWN_EVERY: Final = 4
"""Beats after which what is new is shown: open pages then ask for themselves again."""
_STOPPED_WITHIN_S: Final = 15.0


class Studies:
    """The studies in a folder.

    Args:
        folder: where they are kept; made with the first of them.
        clock: Unix seconds.
        on_change: called, from any thread, when there is something new to show.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], on_change: Callable[[], None]) -> None:
        self._folder = folder.absolute()  # a study runs in a folder of its own, where a relative path is another
        self._clock = clock
        self._on_change = on_change
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._running: int | None = None
        self._to_stop: set[int] = set()
        self._closing = False

    def open(self) -> None:
        """Find out what the end of the last server has interrupted, and work on what waits."""
        with self._changed:
            for run in self.all():
                if run.course.state == "running" and run.number != self._running:
                    run.turn("interrupted", ended_at=self._clock())
            self._work_on()

    def close(self) -> None:
        """End the process; its run can go on when there is a server again."""
        with self._changed:
            self._closing = True
            worker = self._worker
        if worker is not None:
            worker.join()

    def all(self) -> list[StudyFolder]:
        """All runs, newest first."""
        if not self._folder.is_dir():
            return []
        numbers = sorted((int(path.name) for path in self._folder.iterdir() if path.name.isdigit()), reverse=True)
        return [StudyFolder(number, self._folder / str(number)) for number in numbers]

    def one(self, number: int) -> StudyFolder:
        """One of them.

        Raises:
            NotFound: there is none.
        """
        found = StudyFolder(number, self._folder / str(number))
        if not found.path.is_dir():
            raise NotFound(f"There is no study {number}.", next="Look for it in the list.")
        return found

    @property
    def bytes(self) -> int:
        """What all of them, and what they share, take on the disk."""
        return size_of(self._folder)

    def start(self, study: Study) -> StudyFolder:
        """Have a study run, when all that wait have been run.

        Raises:
            NotPossibleNow: too many wait, or are kept (slug ``too-many-studies``). StorageError: the disk refuses.
        """
        with self._changed:
            runs = self.all()
            if len(runs) >= MOST_KEPT:
                raise _too_many(f"{MOST_KEPT} studies are kept.", "Remove some of them first.")
            self._check_queue(runs)
            make_private_folder(self._folder)
            number = runs[0].number + 1 if runs else 1
            made = StudyFolder.make(number, self._folder / str(number), study, self._clock())
            self._work_on()
        self._on_change()
        return made

    def go_on(self, number: int) -> StudyFolder:
        """Have a run go on that was stopped or interrupted, or has failed.

        Raises:
            NotFound, NotPossibleNow: there is none, it waits or runs, or it is finished; or see ``start``.
        """
        with self._changed:
            run = self.one(number)
            state = run.course.state
            if state in (*ACTIVE, "finished"):
                raise NotPossibleNow(f"Study {number} is {state}.", next="Load the page again.", slug="study-" + state)
            self._check_queue(self.all())
            run.turn("queued", queued_at=self._clock(), ended_at=None, error="")
            self._work_on()
        self._on_change()
        return run

    def stop(self, number: int) -> StudyFolder:
        """Stop a run, or have it wait no more; nothing of one that has ended.

        Raises:
            NotFound: there is none. NotPossibleNow: its process does not end.
        """
        with self._changed:
            run = self.one(number)
            if self._running == number:
                self._to_stop.add(number)
                if not self._changed.wait_for(lambda: self._running != number, _STOPPED_WITHIN_S):
                    raise NotPossibleNow(f"Study {number} does not end yet.", next="Try again in a moment.")
            elif run.course.state == "queued":
                run.turn("stopped", ended_at=self._clock())
        self._on_change()
        return run

    def remove(self, number: int) -> None:
        """Remove a run with all its files.

        Raises:
            NotFound: there is none. NotPossibleNow: it runs (slug ``study-running``). StorageError: the disk refuses.
        """
        with self._changed:
            run = self.one(number)
            if self._running == number:
                raise NotPossibleNow(f"Study {number} is running.", next="Stop it first.", slug="study-running")
            run.remove()
        self._on_change()

    @staticmethod
    def _check_queue(runs: list[StudyFolder]) -> None:
        if sum(run.course.state == "queued" for run in runs) >= MOST_QUEUED:
            raise _too_many(f"{MOST_QUEUED} studies wait for their turn.", "Wait for some of them, or stop some.")

    # ---- the worker; what follows is called with the lock held, but for ``_work`` and ``_watch``

    def _work_on(self) -> None:
        if self._worker is None and not self._closing and self._next() is not None:
            self._worker = threading.Thread(target=self._work, name="fanlight-studies", daemon=True)
            self._worker.start()

    def _next(self) -> StudyFolder | None:
        waiting = [run for run in self.all() if run.course.state == "queued"]
        return min(waiting, key=lambda run: (run.course.queued_at, run.number), default=None)

    def _work(self) -> None:
        while True:
            with self._changed:
                run = None if self._closing else self._next()
                if run is None:
                    self._worker = None
                    return
                self._running = run.number
            outcome: dict[str, Any] = {"state": "failed"}
            try:
                run.turn("running", started_at=self._clock())
                self._on_change()
                outcome = self._watch(run)
            except FanlightError as error:
                outcome["error"] = f"{error.message} {error.next}"
            finally:
                with self._changed:
                    self._keep(run, outcome)
                    self._running = None
                    self._to_stop.discard(run.number)
                    self._changed.notify_all()
                self._on_change()

    def _watch(self, run: StudyFolder) -> dict[str, Any]:
        process, seen, beats = StudyProcess(run, self._folder / _SHARED), run.grown, 0
        while not process.ended(_BEAT_S):
            beats += 1
            if self._closing or run.number in self._to_stop:
                process.end()
                return {"state": "interrupted" if self._closing else "stopped"}
            if beats % _SHOWN_EVERY == 0 and run.grown != seen:
                seen = run.grown
                self._on_change()
        if process.error:
            return {"state": "failed", "error": process.error}
        run.tidy()
        return {"state": "finished"}

    def _keep(self, run: StudyFolder, outcome: dict[str, Any]) -> None:
        try:
            run.turn(**outcome, ended_at=self._clock())
        except FanlightError as error:  # it is shown as interrupted after the next start
            log.warning("the outcome of a study could not be kept", study=run.number, problem=error.message)


def _too_many(what: str, next: str) -> NotPossibleNow:
    return NotPossibleNow(what, next=next, slug="too-many-studies")
