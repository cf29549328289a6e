"""All pictures of a device, for its owner: take new ones in, label them, take back, ask the model about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, BinaryIO

from fanlight.errors import DataError, NotPossibleNow
from fanlight.services.device.library import adding, emptying, moving
from fanlight.services.device.library.folder_names import FolderNames
from fanlight.services.device.library.gallery import PAGE_SIZE, Gallery
from fanlight.services.device.library.history import History
from fanlight.services.device.library.layout import Layout, check_folder_name, normal
from fanlight.services.device.library.records import Added, Operation, Picture, State
from fanlight.services.device.library.suggesting import pieces, predictor
from fanlight.services.device.library.surroundings import Surroundings
from fanlight.services.device.library.taking_in import Intake, LabelOf
from fanlight.services.device.library.uploads import Uploads
from fanlight.services.http.jobs import Job, Progress

SUGGEST = "suggest"


class Library(Gallery):
    """A device's pictures, to be looked at and changed; errors as in ``Gallery``.

    Attributes:
        uploads: what became of the last ones.
    """

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._history = History(around.database)
        self.uploads = Uploads()

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

    def undoable(self) -> Operation | None:
        """What ``undo`` would take back now; None if there is nothing."""
        return moving.undoable(self._layout(), self._history)

    def undo(self) -> Operation | None:
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
            with self._stamps.moving(layout.root, moves):
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
        check_folder_name(name, "Choose a name without / or \\ that does not begin with a dot.")
        self._around.propose(name)

    # -- suggestions

    def suggest(self) -> Job:
        """Ask the current global model about all pictures without a label.

        Raises:
            NotPossibleNow: there is no model yet, or none that has learned anything, or it is being asked.
        """
        model, _sha256 = self._around.model()
        if model.version == 0:
            raise NotPossibleNow(
                "The model has learned nothing yet: it would only guess.",
                slug="model-knows-nothing",
                next="Label ten pictures of each class first, then train.",
            )
        return self._around.jobs.start(SUGGEST, self._suggest)

    def suggestions(self, number: int = PAGE_SIZE) -> list[Picture]:
        """Suggested pictures, least sure first."""
        return self._index.least_sure(max(1, min(number, 500)))

    def outdated_suggestions(self, model: bytes) -> int:
        """How many suggestions are another model's than this one's, by its SHA-256."""
        return self._index.suggested_by_another(model)

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

    def _check_label(self, label: str) -> None:
        known = self.classes
        if normal(label) not in {normal(name) for name in known}:
            raise DataError(
                f"The task has no class {label[:64]!r}; it has: {', '.join(known) or 'none yet'}.",
                slug="unknown-class",
                next="Choose one of these, or propose the new class to the operator.",
            )
