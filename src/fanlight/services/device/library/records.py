"""What a library says of pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """Where a picture stands with its owner; only ``labelled`` ones are learned from."""

    LABELLED = "labelled"
    SUGGESTED = "suggested"
    UNLABELLED = "unlabelled"
    NOT_USABLE = "not_usable"
    DELETED = "deleted"


IN_USE = (State.LABELLED, State.SUGGESTED, State.UNLABELLED)
"""Pictures that are labelled or may become so."""


class Problem(StrEnum):
    """What may be wrong with a picture."""

    BLURRED = "blurred"
    TINY = "tiny"
    DUPLICATES = "duplicates"


@dataclass(frozen=True)
class Picture:
    """A picture of the data folder.

    Attributes:
        sha256: of the file, 64 hexadecimal digits; names the picture.
        path: of the file, from the device's data folder, with ``/``.
        state: see ``State``.
        label: class or own name, where it is labelled.
        part: ``train``, ``valid`` or ``test``, where it is labelled and counts for the federation; else empty.
        width, height: in pixels, upright.
        sharpness: variance of the Laplacian (grey levels 0 to 255, at most 256 px a side), >= 0.
        perceptual_hash: 64 bits; alike in pictures that look alike (``measure``).
        added_at: unix seconds, when it was first seen.
        suggestion, confidence: the class that the model takes it for, with its probability; None if not asked.
    """

    sha256: str
    path: str
    state: State
    label: str | None
    part: str
    width: int
    height: int
    sharpness: float
    perceptual_hash: bytes
    added_at: int
    suggestion: str | None = None
    confidence: float | None = None

    @property
    def name(self) -> str:
        """The file's name, for people."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Filter:
    """Which pictures; None does not restrict, but deleted ones appear only where they are asked for."""

    state: State | None = None
    label: str | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class Page:
    """One page of the gallery: ``number`` from 1 to ``pages`` (at least 1), ``total`` pictures over all pages."""

    pictures: tuple[Picture, ...]
    number: int
    total: int
    pages: int


@dataclass(frozen=True)
class Beside:
    """A picture among others: SHA-256 of the ``previous`` and ``next`` one; it is ``number`` (from 1) of ``total``.

    ``number`` is 0 if it is none of them.
    """

    previous: str | None
    next: str | None
    number: int
    total: int


@dataclass(frozen=True)
class RefusedFile:
    """A file that was not taken in: its ``name``, the ``reason``, and what to do ``next`` (may be empty)."""

    name: str
    reason: str
    next: str


@dataclass(frozen=True)
class Added:
    """What became of an upload.

    Attributes:
        count: new pictures.
        duplicates: pictures that were there already.
        refused: the files that cannot be used.
        labels: new pictures by class.
        strange: new pictures without a label by the folder they came in, where folders should have said what they show.
        given: pictures that were there without a label and were given one, by class.
        kept: pictures that were there and keep another label than was said, by theirs.
        unusable: pictures that were there and stay marked as not usable, whatever was said.
        waiting: pictures that were there without a label, of which nothing was said.
        said: classes by content hash, for pictures without a label: what was said of those that were there, or what
            folders in a ZIP file are called, which nobody has confirmed.
        operation: which one gave the labels in ``given``; None if none did.
    """

    count: int
    duplicates: int = 0
    refused: tuple[RefusedFile, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    strange: Mapping[str, int] = field(default_factory=dict)
    given: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    unusable: int = 0
    waiting: int = 0
    said: Mapping[str, str] = field(default_factory=dict)
    operation: int | None = None

    def __add__(self, other: Added) -> Added:
        return Added(
            self.count + other.count,
            self.duplicates + other.duplicates,
            (*self.refused, *other.refused),
            dict(Counter(self.labels) + Counter(other.labels)),
            dict(Counter(self.strange) + Counter(other.strange)),
            dict(Counter(self.given) + Counter(other.given)),
            dict(Counter(self.kept) + Counter(other.kept)),
            self.unusable + other.unusable,
            self.waiting + other.waiting,
            {**other.said, **self.said},
            other.operation or self.operation,
        )

    @property
    def unlabelled(self) -> int:
        """New pictures without a label."""
        return self.count - sum(self.labels.values())


@dataclass(frozen=True)
class Operation:
    """What was done to pictures at once, or taken back.

    Attributes:
        kind: as ``Library``'s methods are called.
        count: files that it moved.
        label: the class that they were moved to; None if none, or several.
    """

    kind: str
    count: int
    label: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something the owner should know of the pictures.

    Attributes:
        kind: ``few``, ``imbalance``, ``unknown-class``, ``untested``, ``unreadable`` or a ``Problem``.
        text: for people.
        count: pictures it concerns.
        filter: shows them; None where no gallery can (files that are no pictures).
    """

    kind: str
    text: str
    count: int
    filter: Filter | None


@dataclass(frozen=True)
class Counts:
    """How many pictures there are, by state; labelled ones by class, and by name that only this home knows."""

    states: dict[State, int]
    labels: dict[str, int]
    own: dict[str, int] = field(default_factory=dict)
