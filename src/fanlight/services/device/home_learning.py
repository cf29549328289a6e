"""Learn a home's own names: a job that starts by itself when a label, a name or the model changes.

Everything here stays on this device: it reads pictures and the model that answers here, which is the global one or, by
some algorithms, the home's own, and writes to this device's database. A home without own names has such a head only
once its owner has asked for one, to be told of strangers.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from fanlight.core.randomness import Keystream
from fanlight.errors import FanlightError, NotPossibleNow, PictureError
from fanlight.learning.heads import Floats, Labels
from fanlight.learning.home_model import HomeModel
from fanlight.learning.inference import Extractor
from fanlight.learning.model_file import HeadModel
from fanlight.learning.own_classes import Home
from fanlight.services.device.home_findings import find
from fanlight.services.device.home_models import HomeModels, Kept
from fanlight.services.device.library import Library
from fanlight.services.device.own_model import Answering
from fanlight.services.http.jobs import Job, Jobs, Progress

HOME: Final = "Learning own names"
MOST: Final = 600
"""Pictures that are learned from; of more, an equal number of each class."""
_FEATURES_SHARE: Final = 0.6
_AT_ONCE: Final = 16
_ENDING_S: Final = 5.0


@dataclass(frozen=True)
class Labelled:
    """A picture with what it shows: SHA-256, file, and label: position among the classes and own names."""

    sha256: str
    path: Path
    label: int


@dataclass(frozen=True)
class Wanted:
    """What a head is to be made of.

    Attributes:
        model: that it stands on: the one that answers here without own names.
        own_round: in which that was learned, if it is the home's own; None: it is the global one.
        names, kinds: the own names that have pictures, and the class that each is one of.
        pictures: of the classes and these names.
        percent: of a hundred strangers may pass.
        digest: of all that.
    """

    model: HeadModel
    own_round: int | None
    names: tuple[str, ...]
    kinds: tuple[str | None, ...]
    pictures: tuple[Labelled, ...]
    percent: int
    digest: bytes

    def families(self, y: Labels) -> Labels:
        """(n,) labels in which an own name that is a kind of a class goes with it."""
        classes = self.model.classes
        kinds = [classes.index(kind) if kind in classes else len(classes) + at for at, kind in enumerate(self.kinds)]
        found: Labels = np.array([*range(len(classes)), *kinds], np.int64)[y]
        return found


class HomeLearning:
    """Keeps the head of a home's own names as new as what it is made of.

    Args:
        library: the pictures, and the names.
        models: where the head is kept.
        jobs: runs what takes long.
        answering: the model that answers here; raises ``NotPossibleNow`` without one.
        seen: something that changes whenever that may do so, quickly.
        extractor: computes features for a model, or takes those that are kept.
        clock: unix seconds.
    """

    def __init__(
        self,
        library: Library,
        models: HomeModels,
        jobs: Jobs,
        *,
        answering: Callable[[], Answering],
        seen: Callable[[], object],
        extractor: Callable[[HeadModel], Extractor],
        clock: Callable[[], float],
    ) -> None:
        self.models = models
        self._library = library
        self._jobs = jobs
        self._answering = answering
        self._now = seen
        self._seen: object = None
        self._extractor = extractor
        self._clock = clock
        self._lock = threading.Lock()
        self._running = False
        self._again = False

    @property
    def job(self) -> Job | None:
        """The last learning, if there was one since the start."""
        return self._jobs.latest(HOME)

    @property
    def is_wanted(self) -> bool:
        """Is there to be such a head: are there own names, or has the owner asked for one?"""
        return bool(self._library.own.all) or self.models.kept is not None

    def follow(self) -> None:
        """Something changed: learn anew if there is to be a head; what changes meanwhile is learned right after."""
        if self.is_wanted:
            with suppress(FanlightError):  # no model yet, or it cannot be read: whoever has changed a label has done so
                self.learn()

    def notice_model(self) -> None:
        """As ``follow``, if the model that answers here may be another one than the last time."""
        now = self._now()
        if now != self._seen:
            self._seen = now
            self.follow()

    def usable(self) -> HomeModel | None:
        """The head, if it fits the current model's features, and no own model that it stands on has gone."""
        kept = self.models.kept
        if kept is None:
            return None
        with suppress(NotPossibleNow):
            answering, head = self._answering(), kept.model.head
            model = answering.model
            same = (model.backbone_sha256, model.picture_size) == (head.backbone_sha256, head.picture_size)
            return kept.model if same and kept.findings.still_stands(answering.own_round) else None
        return None

    def asked(self) -> tuple[HeadModel, bytes]:
        """The model that suggests labels, and a digest that changes with it and the names.

        Raises:
            NotPossibleNow: there is no global model yet.
        """
        answering, kept = self._answering(), self.models.kept
        stands_on = (answering.model.version, answering.own_round)
        if kept is None or (kept.findings.version, kept.findings.own_round) != stands_on:
            return answering.model, answering.digest
        head = kept.model.head
        names = json.dumps(head.classes).encode()
        return head, hashlib.sha256(answering.digest + names).digest()

    def learn(self) -> Job:
        """Learn now, unless nothing has changed since the last time.

        Raises:
            NotPossibleNow: there is no global model yet.
        """
        self._answering()
        with self._lock:
            self._again = True
            if self._running and (job := self.job) is not None and job.active:
                return job
            self._running = True
        try:
            return self._jobs.start(HOME, self._learn)
        except NotPossibleNow:  # the last one is about to end
            if (job := self.job) is not None:
                self._jobs.wait(job.id, _ENDING_S)
            return self._jobs.start(HOME, self._learn)

    def wanted(self) -> Wanted:
        """What a head would be made of now.

        Raises:
            NotPossibleNow: there is no global model. DataError, StorageError: the folder or the disk cannot be used.
        """
        answering = self._answering()
        model, own = answering.model, self._library.own.all
        found = self._library.labelled()
        there = {label for _sha256, _path, label, at_home in found if at_home}
        named = [each for each in own if each.name in there and each.name not in model.classes]
        of_class = {name: label for label, name in enumerate(model.classes)}
        of_own = {each.name: len(model.classes) + label for label, each in enumerate(named)}
        pictures = [
            Labelled(picture, path, labels[label])
            for picture, path, label, at_home in found
            if label in (labels := of_own if at_home else of_class)
        ]
        chosen = tuple(_some(pictures))
        percent = self.models.strangers_percent
        facts = [
            answering.digest.hex(),
            percent,
            [(each.name, each.kind) for each in named],
            [(each.sha256, each.label) for each in chosen],
        ]
        digest = hashlib.sha256(json.dumps(facts).encode()).digest()
        names, kinds = tuple(each.name for each in named), tuple(each.kind for each in named)
        return Wanted(model, answering.own_round, names, kinds, chosen, percent, digest)

    def _learn(self, progress: Progress) -> dict[str, Any]:
        try:
            while self._take():
                self._once(progress)
        except BaseException:
            with self._lock:
                self._running = self._again = False
            raise
        kept = self.models.kept
        return {"model_version": kept.findings.version} if kept else {}

    def _take(self) -> bool:
        """Is there something to learn (again)? If not, the job ends."""
        with self._lock:
            wanted, self._again = self._again, False
            self._running = wanted
            return wanted

    def _once(self, progress: Progress) -> None:
        wanted, kept = self.wanted(), self.models.kept
        if not wanted.pictures or (kept is not None and kept.made_of == wanted.digest):
            return
        x, y, groups = self._features(wanted, progress)
        present = [at for at in range(len(wanted.names)) if (y == len(wanted.model.classes) + at).any()]
        if len(present) < len(wanted.names):  # a file went meanwhile: its going starts this anew
            return
        home = Home.of(wanted.model, wanted.names, x, y, groups)
        draw = Keystream(wanted.digest)

        def solving(fraction: float) -> None:
            progress(_FEATURES_SHARE + (1 - _FEATURES_SHARE) * fraction, "asking what more pictures would be worth")

        model, findings = find(home, x, wanted.families(y), wanted.percent / 100, draw, solving)
        findings = replace(findings, own_round=wanted.own_round)
        self.models.keep(Kept(model, findings, wanted.digest, int(self._clock())))

    def _features(self, wanted: Wanted, progress: Progress) -> tuple[Floats, Labels, Labels]:
        """Features, labels and groups of the pictures; those that cannot be read any more are left out."""
        alike = {each.sha256: at for at, group in enumerate(self._library.duplicates()) for each in group}
        extractor, rows, labels, groups = self._extractor(wanted.model), list[Floats](), list[int](), list[int]()
        for start in range(0, len(wanted.pictures), _AT_ONCE):
            done = start / len(wanted.pictures)
            progress(_FEATURES_SHARE * done, f"looking at pictures: {start:,} of {len(wanted.pictures):,}")
            some = wanted.pictures[start : start + _AT_ONCE]
            for picture, row in zip(some, _rows(extractor, some), strict=True):
                if row is not None:
                    rows.append(row)
                    labels.append(picture.label)
                    groups.append(alike.get(picture.sha256, len(alike) + len(groups)))
        x = np.concatenate(rows) if rows else np.zeros((0, len(wanted.model.weight)), np.float32)
        return x, np.array(labels, np.int64), np.array(groups, np.int64)


def _rows(extractor: Extractor, pictures: Sequence[Labelled]) -> Iterable[Floats | None]:
    try:
        return np.split(extractor.extract([picture.path for picture in pictures]), len(pictures))
    except PictureError:
        return [_row(extractor, picture.path) for picture in pictures]


def _row(extractor: Extractor, path: Path) -> Floats | None:
    try:
        return extractor.extract([path])
    except PictureError:
        return None


def _some(pictures: Sequence[Labelled]) -> Iterable[Labelled]:
    """At most ``MOST``, chosen by content: as many of each class, as far as it has them."""
    if len(pictures) <= MOST:
        return pictures
    ranks: Counter[int] = Counter()
    ranked = []
    for picture in sorted(pictures, key=lambda each: each.sha256):
        ranked.append((ranks[picture.label], picture.sha256, picture))
        ranks[picture.label] += 1
    return [picture for _rank, _sha256, picture in sorted(ranked, key=lambda each: each[:2])[:MOST]]
