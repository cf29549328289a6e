"""All pictures of a device, for its owner: look through them, take new ones in, label them, ask the model about them.

The data folder is the truth, and the owner may change it by other means at any time; the index follows.  Whether it
has changed is seen from the times of its folders, so that a page costs no walk through thousands of files.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from fanlight.errors import DataError, NotFound, NotPossibleNow
from fanlight.learning import pictures
from fanlight.learning.atomic_file import write_atomically
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.library import adding, doubles, emptying, findings, measure, moving, reading
from fanlight.services.device.library.conditions import blurred, condition, tiny
from fanlight.services.device.library.folder_names import FolderNames
from fanlight.services.device.library.history import History
from fanlight.services.device.library.index import Index
from fanlight.services.device.library.layout import Layout, changed_at, check_folder_name, normal
from fanlight.services.device.library.records import (
    Added,
    Beside,
    Counts,
    Filter,
    Finding,
    Page,
    Picture,
    Problem,
    State,
    Undone,
)
from fanlight.services.device.library.suggesting import pieces, predictor
from fanlight.services.device.library.taking_in import Intake, LabelOf
from fanlight.services.device.library.uploads import Uploads
from fanlight.services.http.jobs import Job, Jobs, Progress
from fanlight.storage.database import Database
from fanlight.storage.failures import from_os_error

READ, SUGGEST = "read-pictures", "suggest"
PAGE_SIZE = 60
_AT_ONCE = 24
"""New files that are read while a page waits; more are read by a job."""


@dataclass(frozen=True)
class Surroundings:
    """What a library needs of its device.

    Attributes:
        folder, client, state: data folder, which client's in it, state folder.
        database, jobs, clock: of the device.
        threads: that compute features.
        classes: the task's, in order; empty as long as there is no model.
        model: the current global model and its hash; raises ``NotPossibleNow`` without one.
        propose: sends the name of a new class to the operator.
    """

    folder: Path
    client: str | None
    state: Path
    database: Database
    jobs: Jobs
    clock: Callable[[], float]
    threads: int
    classes: Callable[[], Sequence[str]]
    model: Callable[[], tuple[HeadModel, bytes]]
    propose: Callable[[str], None]


@dataclass(frozen=True)
class Doubles:
    """What was found after so many ``changes``: pictures ``copied`` to several files, and ``groups`` alike."""

    changes: int
    copied: list[str]
    groups: list[list[str]]


class Library:
    """A device's pictures.

    Every method raises ``DataError`` if the data folder is gone, and ``StorageError`` if disk or database fail.

    Attributes:
        uploads: what became of the last ones.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._index = Index(around.database)
        self._history = History(around.database)
        self.uploads = Uploads()
        self._changing = threading.RLock()
        self._reading = threading.Lock()
        self._stamps: dict[str, int] = {}
        self._changes = 0
        self._doubles = Doubles(-1, [], [])

    # -- looking

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's classes; without a model, those of the folder."""
        return tuple(self._around.classes()) or tuple(sorted(self._index.counts().labels))

    @property
    def reading_job(self) -> Job | None:
        """The job that reads new pictures, while it does."""
        job = self._around.jobs.latest(READ)
        return job if job and job.active else None

    def page(self, wanted: Filter = Filter(), number: int = 1, size: int = PAGE_SIZE) -> Page:
        """One page of the gallery, newest pictures first; a number beyond the last page gives the last."""
        self.notice()
        found = condition(wanted, self._double_ids() if wanted.problem else ())
        size = min(max(size, 1), 500)
        number = max(number, 1)
        shown, total = self._index.select(found, (number - 1) * size, size)
        pages = max(1, -(-total // size))
        if number > pages:
            number = pages
            shown, total = self._index.select(found, (number - 1) * size, size)
        return Page(tuple(shown), number, total, pages)

    def of_part(self, label: str, part: str) -> list[str]:
        """The labelled pictures of a class that are for ``train``, ``valid`` or ``test``, by SHA-256."""
        self.notice()
        return self._index.of_part(normal(label), part)

    def counts(self) -> Counts:
        """How many pictures there are, by state and by class."""
        return self._index.counts()

    def picture(self, sha256: str) -> Picture:
        """One picture.

        Raises:
            NotFound: there is none with this hash.
        """
        found = self._index.picture(sha256)
        if found is None:
            raise NotFound("There is no such picture (any more).", next="Reload the page.")
        return found

    def beside(self, sha256: str, wanted: Filter = Filter()) -> Beside:
        """What stands before and after a picture in the gallery; errors as in ``picture``."""
        found = condition(wanted, self._double_ids() if wanted.problem else ())
        return self._index.beside(self.picture(sha256), found, least_sure=wanted == Filter(State.SUGGESTED))

    def shows(self, wanted: Filter, sha256: str) -> bool:
        """Is this picture one of those?"""
        return self._index.holds(condition(wanted, self._double_ids() if wanted.problem else ()), sha256)

    def alike(self, sha256: str) -> list[Picture]:
        """The other pictures that look like one, that one's nearest group; errors as in ``picture``."""
        self.picture(sha256)
        members = next((members for members in self._find_doubles().groups if sha256 in members), [])
        return list(self._index.pictures([other for other in members if other != sha256]).values())

    def problems(self, sha256: str) -> list[Problem]:
        """What may be wrong with one picture."""
        return [problem for problem in Problem if self.shows(Filter(problem=problem), sha256)]

    def original(self, sha256: str) -> Path:
        """A picture's file; errors as in ``picture``."""
        path = self._layout().root / self.picture(sha256).path
        if not path.is_file():
            raise NotFound("The picture's file is gone.", next="Reload the page.")
        return path

    def media_type(self, sha256: str) -> str:
        """What kind of file the original is, by its content; errors as in ``thumbnail``."""
        path = self.original(sha256)
        return measure.media_type(pictures.read(path), path.name)

    def thumbnail(self, sha256: str) -> Path:
        """A small WebP of a picture, made at the first time.

        Raises:
            NotFound, PictureError: the picture is gone, or has been damaged since it was read.
        """
        target = self._thumbnail_path(self.picture(sha256).sha256)
        if not target.is_file():
            path = self.original(sha256)
            small = measure.thumbnail(pictures.read(path), path.name)
            try:
                write_atomically(target, small, durable=False)
            except OSError as error:
                raise from_os_error(error, str(target.parent)) from error
        return target

    def duplicates(self) -> list[list[Picture]]:
        """Groups of pictures that look alike (see ``doubles``), or that stand in several files."""
        self.notice()
        found = self._find_doubles()
        grouped = {sha256 for members in found.groups for sha256 in members}
        groups = [*found.groups, *([sha256] for sha256 in found.copied if sha256 not in grouped)]
        known = self._index.pictures([sha256 for members in groups for sha256 in members])
        return [[known[sha256] for sha256 in members if sha256 in known] for members in groups]

    def warnings(self) -> list[Finding]:
        """What the owner should know before training."""
        self.notice()
        of_classes = findings.of_classes(self._index.counts().labels, self.classes)
        unclear, small = (self._index.select(which, 0, 0)[1] for which in (blurred(), tiny()))
        doubled = len(self._double_ids())
        return [*of_classes, *findings.of_pictures(unclear, small, doubled, len(self._index.unreadable()))]

    def unreadable(self) -> list[tuple[str, str]]:
        """Files that are no usable pictures: path and reason."""
        return self._index.unreadable()

    # -- following the folder

    def notice(self) -> None:
        """See whether the folder has changed, and read what is new: a little at once, much by a job."""
        if self._stamps and all(changed_at(folder) == stamp for folder, stamp in self._stamps.items()):
            return
        if self.reading_job or self._reading.locked():
            return
        layout = self._layout()
        if len(reading.changed_files(layout, self._index)) <= _AT_ONCE:
            self.refresh()
            return
        with contextlib.suppress(NotPossibleNow):  # another page was faster
            self._around.jobs.start(READ, self.refresh)

    def refresh(self, progress: reading.Progress = reading.silently) -> None:
        """Make the index like the folder, however much there is to read."""
        with self._reading:
            layout = self._layout()
            stamps = layout.stamps()  # before looking: what changes meanwhile is noticed next time
            files = reading.changed_files(layout, self._index)
            reading.read_files(layout, self._index, files, self._now(), progress)
            with self._changing:
                reading.forget_gone(layout, self._index)
                self._settle(layout)
            self._stamps = stamps

    # -- taking in

    def take_in(
        self, files: Iterable[tuple[str, BinaryIO]], label: str | None = None, *, by_folder: bool = False
    ) -> Added:
        """Take in what somebody uploads: pictures, and ZIP files of pictures; one that cannot be used stops no other.

        Args:
            files: paths as the browser gives them, and contents; at most ``adding.MAX_FILES``.
            label: the class of all of them, if the owner says so; without, they go to ``_unlabelled``.
            by_folder: do the names of their folders say their classes, instead?

        Raises:
            DataError: too many files, or no such class.
        """
        plain: list[tuple[str, BinaryIO]] = []
        zips: list[tuple[str, BinaryIO]] = []
        for name, stream in files:
            (zips if adding.is_zip(name) else plain).append((name, stream))
        added = self.add(plain, label, by_folder=by_folder)
        for name, stream in zips:
            added += self.add_zip(stream, label, by_folder=by_folder, name=name)
        return added

    def add(
        self, files: Iterable[tuple[str, adding.Stream]], label: str | None = None, *, by_folder: bool = False
    ) -> Added:
        """Take pictures in; arguments and errors as in ``take_in``."""
        return self._add(files, label, by_folder, archive=None)

    def add_zip(
        self, stream: IO[bytes], label: str | None = None, *, by_folder: bool = False, name: str = "the ZIP file"
    ) -> Added:
        """Take in the pictures in a ZIP file; what is wrong with the file itself is told like that of a picture."""
        return self._add(adding.unzip(stream), label, by_folder, archive=name)

    def _add(
        self, files: Iterable[tuple[str, adding.Stream]], label: str | None, by_folder: bool, archive: str | None
    ) -> Added:
        self.notice()
        if label is not None and not by_folder:
            self._check_label(label)
        label_of: LabelOf = FolderNames(self.classes).label if by_folder else lambda _path: label
        layout = self._layout()
        try:
            return Intake(layout, self._index, self._changing, self._now(), label_of, by_folder).take(files, archive)
        finally:
            with self._changing:
                self._settle(layout)

    # -- labelling

    def assign(self, ids: Sequence[str], label: str) -> int:
        """Say what pictures show; how many files were moved.

        Raises:
            DataError: the task has no such class.
        """
        self._check_label(label)
        return self._assign("assign", dict.fromkeys(ids, label))

    def confirm(self, ids: Sequence[str]) -> int:
        """The model is right about these."""
        found = [self._index.picture(sha256) for sha256 in ids]
        right = {
            p.sha256: p.suggestion for p in found if p and p.state == State.SUGGESTED and p.suggestion in self.classes
        }
        return self._assign("confirm", {sha256: label for sha256, label in right.items() if label})

    def set_unusable(self, ids: Sequence[str]) -> int:
        """Nothing can be learned from these; how many files were moved."""
        return self._put_aside("unusable", ids, State.NOT_USABLE)

    def delete(self, ids: Sequence[str]) -> int:
        """Put pictures into the trash; how many files were moved."""
        return self._put_aside("delete", ids, State.DELETED)

    def restore(self, ids: Sequence[str]) -> int:
        """Put deleted pictures back where they were; how many files were moved."""
        with self._changing:
            layout = self._layout()
            return self._perform(layout, "restore", moving.back(layout, self._index, self._history, list(ids)))

    def empty_bin(self) -> int:
        """Delete for good what is in the trash; how many files.  Nothing brings them back."""
        with self._changing:
            layout = self._layout()
            try:
                return emptying.empty_bin(layout, self._index, self._history)
            finally:
                self._settle(layout)

    def undo(self) -> Undone | None:
        """Take back the last operation; None if there is none (of the last 50)."""
        with self._changing:
            layout = self._layout()
            undone = moving.undo(layout, self._index, self._history)
            self._settle(layout)
        return undone

    def _assign(self, kind: str, labels: dict[str, str]) -> int:
        with self._changing:
            layout = self._layout()
            moves = moving.to_class(layout, self._index, labels)
            return self._perform(layout, kind, moves)

    def _put_aside(self, kind: str, ids: Sequence[str], state: State) -> int:
        with self._changing:
            layout = self._layout()
            return self._perform(layout, kind, moving.aside(layout, self._index, list(ids), state))

    def _perform(self, layout: Layout, kind: str, moves: list[tuple[str, str]]) -> int:
        try:
            return moving.perform(layout, self._index, self._history, kind, moves, self._now())
        finally:
            self._settle(layout)

    def propose_class(self, name: str) -> None:
        """Ask the operator for a new class.

        Raises:
            DataError: it has no name that a folder can have. RemoteError: main does not take it.
        """
        name = normal(name.strip())
        if name in self.classes:
            raise DataError(f"There is a class {name} already.", slug="class-exists")
        check_folder_name(name)
        self._around.propose(name)

    # -- suggestions

    def suggest(self) -> Job:
        """Ask the current global model about all pictures without a label.

        Raises:
            NotPossibleNow: there is no model yet, or it is being asked.
        """
        self._around.model()
        return self._around.jobs.start(SUGGEST, self._suggest)

    def suggestions(self, number: int = PAGE_SIZE) -> list[Picture]:
        """Suggested pictures, least sure first."""
        return self._index.least_sure(max(1, min(number, 500)))

    def _suggest(self, progress: Progress) -> dict[str, int]:
        self.notice()
        model, sha256 = self._around.model()
        root = self._layout().root
        waiting = [picture.sha256 for picture in self._index.without_suggestion(sha256)]
        predict = predictor(model, self._around.state, self._around.threads)
        done = 0
        for some in pieces(waiting):
            progress(done / len(waiting), f"looking at pictures: {done:,} of {len(waiting):,}")
            asked = {picture.sha256: picture for picture in map(self._index.picture, some) if picture}
            answers = {key: predict(root / picture.path) for key, picture in asked.items()}
            found = {key: (answer.label, answer.confidence) for key, answer in answers.items() if answer}
            self._index.suggest(found, sha256)
            done += len(some)
        return {"asked": done}

    # -- inside

    def _layout(self) -> Layout:
        return Layout.of(self._around.folder, self._around.client, self._around.classes())

    def _now(self) -> int:
        return int(self._around.clock())

    def _settle(self, layout: Layout) -> None:
        for sha256 in reading.settle(layout, self._index, self._around.classes()):
            self._thumbnail_path(sha256).unlink(missing_ok=True)
        self._changes += 1

    def _thumbnail_path(self, sha256: str) -> Path:
        return self._around.state / "thumbnails" / sha256[:2] / f"{sha256[2:]}.webp"

    def _check_label(self, label: str) -> None:
        known = self.classes
        if normal(label) not in {normal(name) for name in known}:
            raise DataError(
                f"The task has no class {label[:64]!r}; it has: {', '.join(known) or 'none yet'}.",
                slug="unknown-class",
                next="Choose one of these, or propose the new class to the operator.",
            )

    def _find_doubles(self) -> Doubles:
        """Worked out once after each change; one that comes meanwhile makes it be worked out again."""
        found, changes = self._doubles, self._changes
        if found.changes != changes:
            found = self._doubles = Doubles(changes, self._index.copied(), doubles.groups(self._index.hashes()))
        return found

    def _double_ids(self) -> list[str]:
        """Pictures that another one before them looks like, or that stand in several files."""
        found = self._find_doubles()
        return list(dict.fromkeys([*(sha256 for members in found.groups for sha256 in members[1:]), *found.copied]))
