"""Put files that somebody uploads into the data folder, each once, and count what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fanlight.errors import DataError, PictureError
from fanlight.learning.atomic_file import write_atomically
from fanlight.learning.folders import DELETED, UNLABELLED
from fanlight.services.device.library import adding
from fanlight.services.device.library.folder_names import folders_of, passed_over
from fanlight.services.device.library.index import Index
from fanlight.services.device.library.layout import FileSeen, Layout, normal
from fanlight.services.device.library.records import Added, RefusedFile, State
from fanlight.storage.failures import os_failures

NO_FOLDER = "no folder"
"""How pictures are counted that came in none, where folders should have said what they show."""
LabelOf = Callable[[str], str | None]
"""The class of a picture by the path it came with; None for those that have none."""


def nobody_knows(_path: str) -> None:
    """The ``LabelOf`` where nothing says what pictures show."""


@dataclass(frozen=True)
class Intake:
    """One upload's way into a folder.

    Attributes:
        layout, index: of the folder.
        changing: held while the folder changes.
        now: unix seconds.
        label_of: says what pictures show.
        by_folder: do folders say it? Then pictures without a label are counted by theirs.
        perhaps: what new pictures and those without a label may show, where ``label_of`` says nothing.
    """

    layout: Layout
    index: Index
    changing: AbstractContextManager[object]
    now: int
    label_of: LabelOf
    by_folder: bool
    perhaps: LabelOf

    def take(self, files: Iterable[tuple[str, adding.Stream]], archive: str | None = None) -> Added:
        """Take files in one by one; one that cannot be used stops no other.

        Args:
            files: the paths they came with, and contents; at most ``adding.MAX_FILES``.
            archive: name of the ZIP file that they come from, if so: what is wrong with it is told under this name.

        Raises:
            DataError: too many files that are in no archive, or a class's name cannot name a folder.
            StorageError: the disk or the database failed; what was taken in until then stays.
        """
        added = Added(0)
        try:
            for number, (name, stream) in enumerate(files):
                if number >= adding.MAX_FILES:
                    raise adding.too_many_files()
                added += self._one(name, stream)
        except DataError as error:
            if archive is None:
                raise
            added += _refused(archive, error.message, error.next)
        return added

    def _one(self, name: str, stream: adding.Stream) -> Added:
        if folders_of(name) and passed_over(name):
            return Added(0)
        try:
            upload = adding.examine(name, stream)
        except PictureError as error:
            return _refused(name, error.reason, error.next)
        before = self.index.files_of([upload.sha256]).get(upload.sha256, ())
        label = self.label_of(name)
        if not all(path.startswith(f"{DELETED}/") for path in before):
            return self._there(name, upload.sha256, before, label)
        self._keep(upload, label)
        if label is not None:
            return Added(1, labels={label: 1})
        strange = {next(reversed(folders_of(name)), NO_FOLDER): 1} if self.by_folder else {}
        return Added(1, strange=strange, said=self._said(name, upload.sha256, None))

    def _there(self, name: str, sha256: str, paths: Sequence[str], label: str | None) -> Added:
        """A picture that is there already: only where it has no label, something new can be said of it."""
        places = {place.state: place for path in paths if (place := self.layout.place(path))}
        if labelled := places.get(State.LABELLED):
            same = label is None or normal(label) == labelled.label
            return Added(0, duplicates=1, kept={} if same else {labelled.label or "": 1})
        if State.UNLABELLED in places:
            said = self._said(name, sha256, label)
            return Added(0, duplicates=1, said=said, waiting=0 if said else 1)
        return Added(0, duplicates=1, unusable=0 if label is None else 1)

    def _said(self, name: str, sha256: str, label: str | None) -> dict[str, str]:
        found = label or self.perhaps(name)
        return {sha256: found} if found else {}

    def _keep(self, upload: adding.Upload, label: str | None) -> None:
        folder = self.layout.folder_for(label, upload.sha256) if label is not None else UNLABELLED
        with self.changing:
            path = self.layout.free_path(folder, upload.name, upload.sha256)
            target = self.layout.root / path
            with os_failures(target.parent):
                target.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(target, upload.data, durable=True)
                about = target.stat()
            self.index.put_measured({upload.sha256: upload.measured}, self.now)
            seen = FileSeen(path, about.st_size, about.st_mtime_ns)
            self.index.put_files([(seen, upload.sha256, None)])


def _refused(name: str, reason: str, todo: str) -> Added:
    return Added(0, refused=(RefusedFile(name[: adding.LONGEST_SHOWN], reason[: adding.LONGEST_SHOWN * 2], todo),))
