"""Look through a device's pictures.

The data folder is the truth, and the owner may change it by other means at any time; the index follows.  Whether it
has changed is seen from the times of its folders, so that a page costs no walk through thousands of files.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

from fanlight.errors import NotFound, NotPossibleNow
from fanlight.learning import alike, pictures
from fanlight.learning.atomic_file import write_atomically
from fanlight.services.device import made
from fanlight.services.device.library import findings, measure, reading
from fanlight.services.device.library.conditions import blurred, condition, tiny
from fanlight.services.device.library.index import Index
from fanlight.services.device.library.layout import Layout, normal
from fanlight.services.device.library.own_names import OwnNames
from fanlight.services.device.library.records import Beside, Counts, Filter, Finding, Page, Picture, Problem, State
from fanlight.services.device.library.stamps import Stamps
from fanlight.services.device.library.surroundings import Surroundings
from fanlight.services.http.jobs import Job
from fanlight.services.http.paging import pages_of
from fanlight.storage.failures import os_failures

READ = "read-pictures"
PAGE_SIZE = 60
_AT_ONCE = 24
"""New files that are read while a page waits; more are read by a job."""


@dataclass(frozen=True)
class Alike:
    """The ``groups`` of pictures that look alike, found when the pictures in use had changed ``changes`` times."""

    changes: int
    groups: list[list[str]]


class Gallery:
    """A device's pictures, to be looked at.

    Every method raises ``DataError`` if the data folder is gone, and ``StorageError`` if disk or database fail.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._index = Index(around.database)
        self._changing = threading.RLock()
        self._reading = threading.Lock()
        self._stamps = Stamps()
        self._changes = 0
        self._alike = Alike(-1, [])

    # -- looking

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's classes; without a model, those of the folder."""
        return tuple(self._around.classes()) or tuple(sorted(self._index.counts().labels))

    @property
    def names(self) -> tuple[str, ...]:
        """All that a picture can be said to show: the task's classes, and the names that only this home knows."""
        return tuple(dict.fromkeys((*self.classes, *(own.name for own in self.own.all))))

    @property
    def own(self) -> OwnNames:
        """The names that only this home knows."""
        return self._around.own

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
        pages = pages_of(size, total)
        if number > pages:
            number = pages
            shown, total = self._index.select(found, (number - 1) * size, size)
        return Page(tuple(shown), number, total, pages)

    def of_part(self, label: str, part: str) -> list[str]:
        """The labelled pictures that count as a class and are for ``train``, ``valid`` or ``test``, by SHA-256."""
        self.notice()
        names = [normal(label), *(name for name, kind in self.own.counted.items() if normal(kind) == normal(label))]
        return sorted(sha256 for name in names for sha256 in self._index.of_part(name, part))

    def counts(self) -> Counts:
        """How many pictures there are, by state and by class."""
        return self._index.counts()

    def labelled(self) -> list[tuple[str, Path, str, bool]]:
        """Of all labelled pictures, in order: SHA-256, file, label, and whether that is an own name."""
        self.notice()
        root = self._layout().root
        return [(sha256, root / path, label, own) for sha256, path, label, own in self._index.labelled()]

    def picture(self, sha256: str) -> Picture:
        """One picture.

        Raises:
            NotFound: there is none with this hash.
        """
        found = self._index.picture(sha256)
        if found is None:
            raise NotFound("There is no such picture (any more).", next="Look among all pictures (/pictures).")
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
        members = next((members for members in self._groups() if sha256 in members), [])
        return list(self._index.pictures([other for other in members if other != sha256]).values())

    def alike_counts(self) -> dict[str, int]:
        """Of each picture that others look like: how many they are, itself included."""
        return {sha256: len(members) for members in self._groups() for sha256 in members}

    def problems(self, sha256: str) -> list[Problem]:
        """What may be wrong with one picture."""
        return [problem for problem in Problem if self.shows(Filter(problem=problem), sha256)]

    def original(self, sha256: str) -> Path:
        """A picture's file; errors as in ``picture``."""
        path = self._layout().root / self.picture(sha256).path
        if not path.is_file():
            raise NotFound("The picture's file is gone.", next="Look among all pictures (/pictures).")
        return path

    def media_type(self, sha256: str) -> str:
        """What kind of file the original is, by its content; errors as in ``thumbnail``."""
        path = self.original(sha256)
        return pictures.header(pictures.read(path), name=path.name).media_type

    def thumbnail(self, sha256: str) -> Path:
        """A small WebP of a picture, made at the first time.

        Raises:
            NotFound, PictureError: the picture is gone, or has been damaged since it was read.
        """
        target = made.thumbnail_path(self._around.state, self.picture(sha256).sha256)
        if not target.is_file():
            path = self.original(sha256)
            small = measure.thumbnail(pictures.read(path), path.name)
            with os_failures(target.parent):
                write_atomically(target, small, durable=False)
        return target

    def duplicates(self) -> list[list[Picture]]:
        """Groups of pictures that look alike (see ``learning.alike``), or that stand in several files."""
        self.notice()
        alike = self._groups()
        grouped = {sha256 for members in alike for sha256 in members}
        groups = [*alike, *([sha256] for sha256 in self._index.copied() if sha256 not in grouped)]
        known = self._index.pictures([sha256 for members in groups for sha256 in members])
        return [[known[sha256] for sha256 in members if sha256 in known] for members in groups]

    def warnings(self) -> list[Finding]:
        """What the owner should know before training."""
        self.notice()
        of_classes = [
            *findings.of_classes(self._index.counts().labels, self.classes),
            *findings.of_untested([] if self._layout().split else self._index.untested()),
        ]
        unclear, small = (self._index.select(which, 0, 0)[1] for which in (blurred(), tiny()))
        doubled = len(self._double_ids())
        return [*of_classes, *findings.of_pictures(unclear, small, doubled, len(self._index.unreadable()))]

    def unreadable(self) -> list[tuple[str, str]]:
        """Files that are no usable pictures: path and reason."""
        return self._index.unreadable()

    # -- following the folder

    def notice(self) -> None:
        """See whether the folder has changed, and read what is new: a little at once, much by a job."""
        if self._stamps.hold:
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
                self._settle(layout, measured=bool(files))
            self._stamps.keep(stamps)

    # -- inside

    def _layout(self) -> Layout:
        own = [own.name for own in self.own.all]
        return Layout.of(self._around.folder, self._around.client, self._around.classes(), own)

    def _now(self) -> int:
        return int(self._around.clock())

    def _settle(self, layout: Layout, *, measured: bool = False) -> None:
        """Work out anew where every picture stands; ``measured``: what is known of pictures may have changed, too."""
        own = self.own.counted
        settled = reading.settle(layout, self._index, self._around.sides, self._around.classes(), own)
        for sha256 in settled.gone:
            made.forget(self._around.state, sha256)
        if settled.others_in_use or measured:
            self._changes += 1
        if settled.changed:
            self.own.adopt(self._index.counts().own)
            self._around.on_change()

    def _groups(self) -> list[list[str]]:
        """Those that look alike, worked out once after each change of the pictures in use.

        A change that comes meanwhile makes them be worked out again.
        """
        found, changes = self._alike, self._changes
        if found.changes != changes:
            found = self._alike = Alike(changes, alike.groups(self._index.looks()))
        return found.groups

    def _double_ids(self) -> list[str]:
        """Pictures that another one before them looks like, or that stand in several files."""
        alike = (sha256 for members in self._groups() for sha256 in members[1:])
        return list(dict.fromkeys([*alike, *self._index.copied()]))
