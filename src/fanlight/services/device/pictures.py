"""The data folder as arrays: which pictures there are, and their features, each computed once.

The folder is listed anew whenever it is asked for, since the owner may add pictures at any time; a file that is as it
was (size and times) is not read again, and pictures that were decoded before are recognised by their content.  Features
of the last reading stay in memory (5 kB a picture), so that round after round without new pictures reads no file of the
cache.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError, FanlightError, StorageError
from fanlight.learning.augmentation_settings import Augmentation
from fanlight.learning.features import FeatureExtractor, Sights
from fanlight.learning.folders import Hashes, LabelledPicture, PictureSet, divide_afresh, scan
from fanlight.learning.model_file import HeadModel
from fanlight.learning.split import PARTS
from fanlight.learning.tail import Tail
from fanlight.learning.tuned_backbone import Cut, cut
from fanlight.protocol.contribution import COUNT_MAX
from fanlight.protocol.digests import digest
from fanlight.protocol.plan import Plan
from fanlight.services.device import made
from fanlight.services.device.sides import Sides

LEARNED_FROM: Final = ("train", "valid")
"""The parts that sums are of."""
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Examples:
    """Features (n, f) float32 and labels (n,) int64 of the pictures of one part; v times (n, f) of their variants."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    variants: tuple[NDArray[np.float32], ...] = ()

    def some(self, chosen: NDArray[np.intp]) -> Examples:
        """Only these."""
        return Examples(self.x[chosen], self.y[chosen], tuple(sight[chosen] for sight in self.variants))


@dataclass(frozen=True)
class Overview:
    """What the data folder holds, for people.

    Attributes:
        counts: pictures per part and class.
        problems: what cannot be used, or not as it stands.
        error: why the folder cannot be used at all, if so.
        learned_from: a digest of the pictures to learn from, their labels and parts; empty without any to train with.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    error: FanlightError | None = None
    learned_from: bytes = b""

    def total(self, part: str) -> int:
        """Pictures of one part."""
        return sum(self.counts.get(part, {}).values())


class Pictures:
    """One device's pictures.

    Args:
        folder: the data folder.
        state: folder for the compiled backbone and the feature cache.
        sides: splits what the owner has not; None: all are split afresh each time.
        client: which ``Client#`` to take.
        threads, batch: for computing features.
        fetch: gets a backbone that cannot be made here.
        counted: the home's own names whose pictures count as a class's, and the class.
    """

    def __init__(
        self,
        folder: Path,
        state: Path,
        *,
        sides: Sides | None = None,
        client: str | None = None,
        threads: int = 1,
        batch: int = 8,
        fetch: made.Fetch = made.no_fetching,
        counted: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.folder = folder
        self.overview: Overview | None = None
        self._state = state
        self._sides = sides
        self._client = client
        self._threads = threads
        self._batch = batch
        self._fetch = fetch
        self._counted = counted
        self._lock = threading.Lock()
        self._scanning = threading.Lock()
        self._known: set[str] = set()
        self._hashes: Hashes = {}
        self.read_last = b""  # of which pictures there are features: a digest as that of an overview
        self.is_stale = False  # has the owner changed something since the folder was read?
        self._extractor: tuple[tuple[bytes, int, str, int | None], FeatureExtractor] | None = None
        self._cut: Cut | None = None  # of the backbone, where it learns
        self._memory: dict[str, NDArray[np.float32]] = {}

    def check_folder(self) -> None:
        """Quickly, before a step is started.  With the folder goes what was made of the pictures in it.

        Raises:
            DataError: the folder is not there.
        """
        if not self.folder.is_dir():
            with contextlib.suppress(StorageError):  # that the folder is gone is said first; this is tried each time
                self.forget_made()
            raise DataError(
                f"The folder {self.folder} with the pictures is not there.",
                slug="data-folder-gone",
                next="Was it moved, or its disk taken out? Put it back.",
            )

    def forget_made(self) -> None:
        """Delete thumbnails and features; they are made again when they are needed.

        Raises:
            StorageError: the disk refuses.
        """
        self._memory = {}
        made.forget_all(self._state)

    @property
    def lacks_training(self) -> bool:
        """Did the last reading find no training pictures?"""
        seen = self.overview
        return seen is not None and seen.error is None and seen.total("train") == 0

    def changed(self) -> None:
        """The owner has changed what pictures show: what was missing when the folder was read may be there now."""
        self.is_stale = True
        seen = self.overview
        if seen is not None and (seen.error is not None or not (seen.total("train") and seen.total("test"))):
            self.overview = None

    def look(self, classes: Sequence[str]) -> None:
        """Read the folder as it is now: one who reads it already may have begun before the owner put pictures in.

        Raises:
            DataError: it is gone, cannot be read, or has classes that the task does not know.
        """
        self._scan(classes)

    def _scan(self, classes: Sequence[str]) -> PictureSet:
        with self._scanning:
            return self._scan_alone(classes)

    def _scan_alone(self, classes: Sequence[str]) -> PictureSet:
        self.is_stale = False  # first: what changes meanwhile may be missed
        try:
            self.check_folder()
            divide = partial(self._sides.divide, classes) if self._sides else divide_afresh
            found = scan(
                self.folder,
                classes,
                client=self._client,
                known=self._known,
                hashes=self._hashes,
                divide=divide,
                counted=self._counted(),
            )
        except FanlightError as error:
            self.overview = Overview(error=error)
            raise
        self._known.update(picture.content_hash for part in PARTS for picture in found.part(part))
        counts = {part: _per_class(found.part(part), classes) for part in PARTS}
        problems = tuple(str(problem) for problem in found.problems)
        self.overview = Overview(counts, problems, learned_from=_digest(found))
        return found

    def examples(self, plan: Plan, parts: Sequence[str], on_progress: OnProgress) -> dict[str, Examples]:
        """Scan, and compute what features are missing; where the backbone learns, activations at the cut instead.

        Args:
            plan: backbone, picture size and classes.
            parts: of ``train``, ``valid`` and ``test``; no more than ``COUNT_MAX`` test pictures are taken.
            on_progress: called with (pictures done, pictures to do).

        Raises:
            DataError, PictureError, ModelError, StorageError, SettingsError.
        """
        with self._lock:
            found = self._scan(plan.classes)
            self.read_last = _digest(found)
            wanted = {part: _capped(found.part(part)) if part == "test" else found.part(part) for part in parts}
            augmentation = planned(plan)
            features = self._extractor_for(plan, augmentation).backbone.features
            variants = augmentation.variants_of(len(wanted.get("train", ())), features) if augmentation else 0
            self._compute(plan, augmentation, wanted, variants, on_progress)
            present = {picture.content_hash for part in PARTS for picture in found.part(part)}
            self._memory = {content: rows for content, rows in self._memory.items() if content in present}
            return {part: self._collect(wanted[part], features, variants if part == "train" else 0) for part in parts}

    def cut(self, plan: Plan) -> Cut:
        """The backbone of a plan by which it learns; errors as in ``examples``."""
        with self._lock:
            self._extractor_for(plan, planned(plan))
        assert self._cut is not None
        return self._cut

    def tail(self, plan: Plan, model: HeadModel) -> Tail:
        """What a model makes of activations at the cut; errors as in ``examples``."""
        return Tail(self.cut(plan), model.tuned, plan.picture_size, threads=self._threads)

    def _compute(
        self,
        plan: Plan,
        augmentation: Augmentation | None,
        wanted: Mapping[str, Sequence[LabelledPicture]],
        variants: int,
        on_progress: OnProgress,
    ) -> None:
        extractor = self._extractor_for(plan, augmentation)
        missing = {
            picture.content_hash: Sights(picture.path, variants if part == "train" else 0)
            for part, pictures in wanted.items()
            for picture in pictures
            if len(self._memory.get(picture.content_hash, ())) < 1 + (variants if part == "train" else 0)
        }
        rows = extractor.extract_sights(list(missing.values()), on_progress, augmentation=augmentation)
        start = 0
        for content, sights in missing.items():
            self._memory[content] = rows[start : start + 1 + sights.variants]
            start += 1 + sights.variants

    def _collect(self, pictures: Sequence[LabelledPicture], features: int, variants: int) -> Examples:
        rows = np.empty((1 + variants, len(pictures), features), np.float32)
        for column, picture in enumerate(pictures):
            rows[:, column] = self._memory[picture.content_hash][: 1 + variants]
        labels = np.array([picture.label for picture in pictures], np.int64)
        return Examples(rows[0], labels, tuple(rows[1:]))

    def _extractor_for(self, plan: Plan, augmentation: Augmentation | None) -> FeatureExtractor:
        blocks = plan.fine_tune.blocks if plan.fine_tune else None
        key = (plan.backbone_hash, plan.picture_size, augmentation.id if augmentation else "", blocks)
        if self._extractor is None or self._extractor[0] != key:
            compiled = made.compiled_backbone(
                self._state, plan.backbone, plan.backbone_hash.hex(), plan.features, self._fetch
            )
            self._cut = None if blocks is None else cut(compiled.id, compiled.read(), compiled.features, blocks)
            backbone = compiled if self._cut is None else self._cut.front(plan.picture_size)
            extractor = made.feature_extractor(
                self._state, backbone, plan.picture_size, threads=self._threads, batch=self._batch
            )
            self._extractor, self._memory = (key, extractor), {}
        return self._extractor[1]


def planned(plan: Plan) -> Augmentation | None:
    """How the plan has training pictures varied."""
    said = plan.augmentation
    return None if said is None else Augmentation(said.variants, said.flip, said.zoom_percent, said.light_percent)


def _per_class(pictures: Sequence[LabelledPicture], classes: Sequence[str]) -> dict[str, int]:
    counts = np.bincount([picture.label for picture in pictures], minlength=len(classes))
    return {name: int(count) for name, count in zip(classes, counts, strict=True)}


def _digest(found: PictureSet) -> bytes:
    if not found.part("train"):
        return b""
    parts = [[picture.content_hash, picture.label, part] for part in LEARNED_FROM for picture in found.part(part)]
    return digest("fanlight/pictures/v1", sorted(parts))


def _capped(pictures: Sequence[LabelledPicture]) -> Sequence[LabelledPicture]:
    """At most ``COUNT_MAX``, chosen by content, so that no class is cut off and the choice stays."""
    if len(pictures) <= COUNT_MAX:
        return pictures
    return sorted(pictures, key=lambda picture: picture.content_hash)[:COUNT_MAX]
