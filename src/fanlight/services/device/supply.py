"""The pictures that a device has to learn from: how many of each sort, and what is worth a word about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fanlight.errors import FanlightError
from fanlight.services.device.library import Filter, Library, Picture, State
from fanlight.services.device.library.findings import FEW
from fanlight.services.device.role import DeviceRole

STRIP: Final = 8
"""Pictures in the strip of the start page."""


@dataclass(frozen=True)
class Supply:
    """The pictures to learn from: how many of each sort, and what is worth a word about them.

    Attributes:
        labelled, waiting: pictures with a label that count for the federation, and without one.
        few: classes with some pictures, but fewer than ten.
        strip: the newest pictures that wait for a label; without any, the newest of all.
        reading: are new files being read, so that the counts will change.
    """

    labelled: int
    waiting: int
    few: tuple[str, ...]
    strip: tuple[Picture, ...]
    reading: bool = False

    @property
    def lacks(self) -> bool:
        """Is there nothing to learn from?"""
        return self.labelled == 0 and not self.reading


def supply(role: DeviceRole, strip: int = 0) -> Supply:
    """What there is to learn from, with up to ``strip`` pictures.

    Nothing, if the folder cannot be read: that is said elsewhere.
    """
    library = role.library
    try:
        library.notice()
        shown = _newest(library, strip) if strip else ()
        counts = library.counts()
    except FanlightError:
        return Supply(0, 0, (), ())
    waiting = counts.states.get(State.UNLABELLED, 0) + counts.states.get(State.SUGGESTED, 0)
    few = tuple(name for name in library.classes if 0 < counts.labels.get(name, 0) < FEW)
    labelled = sum(counts.labels.values()) + sum(counts.own.get(name, 0) for name in library.own.counted)
    return Supply(labelled, waiting, few, shown, library.reading_job is not None)


def _newest(library: Library, number: int) -> tuple[Picture, ...]:
    for state in (State.UNLABELLED, State.SUGGESTED, None):
        page = library.page(Filter(state), size=number)
        if page.total:
            return page.pictures
    return ()
