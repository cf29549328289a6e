"""All pictures of a device, for its owner: take new ones in, label them, take back, ask the model about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import IO, BinaryIO

from fanlight.errors import DataError, NotPossibleNow
from fanlight.services.device.library import adding
from fanlight.services.device.library.folder_names import FolderNames
from fanlight.services.device.library.gallery import PAGE_SIZE
from fanlight.services.device.library.labelling import Labelling
from fanlight.services.device.library.layout import check_folder_name, normal
from fanlight.services.device.library.records import Added, Operation, Picture
from fanlight.services.device.library.suggesting import pieces, predictor
from fanlight.services.device.library.surroundings import Surroundings
from fanlight.services.device.library.taking_in import Intake, LabelOf, nobody_knows
from fanlight.services.device.library.uploads import Uploads
from fanlight.services.http.jobs import Job, Progress

SUGGEST = "suggest"


class Library(Labelling):
    """A device's pictures, to be looked at and changed; errors as in ``Gallery``.

    Attributes:
        uploads: what became of the last ones.
    """

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self.uploads = Uploads()

    # -- taking in

    def take_in(
        self,
        files: Iterable[tuple[str, BinaryIO]],
        label: str | None = None,
        *,
        by_folder: bool = False,
        onto: int | None = None,
    ) -> Added:
        """Take in what somebody uploads: pictures, and ZIP files of pictures; one that cannot be used stops no other.

        Pictures that are there already are not taken twice, but get the label that is said, if they have none: all of
        them in one operation.

        Args:
            files: paths as the browser gives them, and contents; at most ``adding.MAX_FILES``.
            label: the class of all of them, if the owner says so; without, they go to ``_unlabelled``.
            by_folder: do the names of their folders say their classes, instead?
            onto: the operation of an earlier part of the same upload, which this goes on with.

        Raises:
            DataError: too many files, or no such class.
        """
        plain: list[tuple[str, BinaryIO]] = []
        zips: list[tuple[str, BinaryIO]] = []
        for name, stream in files:
            (zips if adding.is_zip(name) else plain).append((name, stream))
        added = self.add(plain, label, by_folder=by_folder, onto=onto)
        for name, stream in zips:
            before = added.operation or onto
            added += self.add_zip(stream, label, by_folder=by_folder, name=name, onto=before)
        return added

    def add(
        self,
        files: Iterable[tuple[str, adding.Stream]],
        label: str | None = None,
        *,
        by_folder: bool = False,
        onto: int | None = None,
    ) -> Added:
        """Take pictures in; arguments and errors as in ``take_in``."""
        return self._add(files, label, by_folder, None, onto)

    def add_zip(
        self,
        stream: IO[bytes],
        label: str | None = None,
        *,
        by_folder: bool = False,
        name: str = "the ZIP file",
        onto: int | None = None,
    ) -> Added:
        """Take in the pictures in a ZIP file; what is wrong with the file itself is told like that of a picture."""
        return self._add(adding.unzip(stream), label, by_folder, name, onto)

    def _add(
        self,
        files: Iterable[tuple[str, adding.Stream]],
        label: str | None,
        by_folder: bool,
        archive: str | None,
        onto: int | None,
    ) -> Added:
        self.notice()
        if label is not None and not by_folder:
            self._check_label(label)
        folders = FolderNames(self.names).label
        label_of: LabelOf = folders if by_folder else lambda _path: label
        only_offered = archive is not None and label is None and not by_folder  # of other files, the page has asked
        perhaps = folders if only_offered else nobody_knows
        layout = self._layout()
        intake = Intake(layout, self._index, self._changing, self._now(), label_of, by_folder, perhaps)
        try:
            added = intake.take(files, archive)
        finally:
            with self._changing:
                self._settle(layout)
        if only_offered or not added.said:
            return added
        given, operation = self._give(added.said, onto)
        return replace(added, said={}, given=given, operation=operation)

    def offered(self, said: Mapping[str, str]) -> dict[str, int]:
        """How many pictures still have no label of those that folders in a ZIP file said something of, by class."""
        found = Counter(self._without_label(said).values())
        return {name: found[name] for name in self.names if name in found}

    def label_as_said(self, upload: str) -> Operation:
        """Give the labels that folders in an upload's ZIP files say, to its pictures that have none.

        Raises:
            DataError: the upload is forgotten.
        """
        added = self.uploads.get(upload)
        if added is None:
            raise DataError(
                "What the folders in that ZIP file are called is forgotten.",
                slug="upload-forgotten",
                next="Put it in once more, and choose that they show what their folders are called.",
            )
        given, _operation = self._give(added.said)
        return Operation("assign", sum(given.values()), next(iter(given)) if len(given) == 1 else None)

    def propose_class(self, name: str) -> None:
        """Ask the operator for a new class.

        Raises:
            DataError: it has no name that a folder can have. RemoteError: main does not take it.
        """
        name = normal(name.strip())
        if name in self.classes:
            raise DataError(f"There is a class {name} already.", slug="class-exists")
        if name in self.names:
            raise DataError(
                f"{name} is a name that only this home knows, and a proposal would tell it.",
                slug="own-name",
                next="Propose what others have too, or delete the own name first (/own).",
            )
        check_folder_name(name, "Choose a name without / or \\ that does not begin with a dot.")
        self._around.propose(name)

    # -- suggestions

    def suggest(self) -> Job:
        """Ask the current model about all pictures without a label: the home's, if it has one, or the global one.

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

    def outdated_suggestions(self) -> int:
        """How many suggestions are another model's than the one that would be asked now; errors as in ``suggest``."""
        return self._index.suggested_by_another(self._around.model()[1])

    def _suggest(self, progress: Progress) -> dict[str, int]:
        self.notice()
        model, sha256 = self._around.model()
        root = self._layout().root
        waiting = [picture.sha256 for picture in self._index.without_suggestion(sha256)]
        predict = predictor(model, self._around.backbone(model), self._around.state, self._around.threads)
        done = 0
        for some in pieces(waiting):
            progress(done / len(waiting), f"looking at pictures: {done:,} of {len(waiting):,}")
            asked = {picture.sha256: picture for picture in map(self._index.picture, some) if picture}
            answers = {key: predict(root / picture.path) for key, picture in asked.items()}
            found = {key: (answer.label, answer.confidence) for key, answer in answers.items() if answer}
            self._index.suggest(found, sha256)
            done += len(some)
        return {"asked": done}
