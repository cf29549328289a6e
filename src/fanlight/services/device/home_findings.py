"""What was found about a home's head on the home's own pictures, each by the head of all others; for its owner only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.learning import advice, unknown
from fanlight.learning.heads import Floats, Labels
from fanlight.learning.home_model import Certainty, HomeModel
from fanlight.learning.own_classes import Home, Solved
from fanlight.learning.unknown import Familiarity, Threshold

MOST_ADVISED: Final = 24
"""Classes of which it is asked what more pictures would be worth, beside the own names: those with most mistakes."""


@dataclass(frozen=True)
class Named:
    """One class or own name that has pictures here.

    Attributes:
        name, own: what it is called, and is it known to this home only.
        pictures: it has here. found: of these are named rightly, called unknown or not.
        sure: of these are named rightly, and without a "perhaps". unknown: are called unknown, whatever they are named.
            None where nothing can be.
    """

    name: str
    own: bool
    pictures: int
    found: int
    sure: int | None
    unknown: int | None


@dataclass(frozen=True)
class Gain:
    """What ``advice.MORE`` pictures more of ``name`` are worth: so many mistakes fewer in a hundred, about."""

    name: str
    points: float


@dataclass(frozen=True)
class Alike:
    """Two names that cannot be told apart: ``right`` of ``total`` pictures are named after the right one of the two."""

    first: str
    second: str
    right: int
    total: int


@dataclass(frozen=True)
class Findings:
    """All of it.

    Attributes:
        version: of the model that the head stands on.
        named: class by class, and name by name.
        threshold: what tells strangers; None where too few things have pictures.
        gains: the most worth first.
        alike: those that look most like chance first.
        task_before, task_after: pictures of the task's classes that that model, and the home's head, name rightly.
        task_pictures: of how many.
        own_round: in which that model was learned, if it is the home's own; None: it is the global one.
    """

    version: int
    named: tuple[Named, ...]
    threshold: Threshold | None
    gains: tuple[Gain, ...]
    alike: tuple[Alike, ...]
    task_before: int
    task_after: int
    task_pictures: int
    own_round: int | None = None

    def still_stands(self, own_round: int | None) -> bool:
        """Is the home's own model that the head stands on, if it does, the one that is here now, of that round?"""
        return self.own_round in (None, own_round)


def find(
    home: Home,
    x: Floats,
    families: Labels,
    wanted: float,
    draw: Keystream,
    on_progress: Callable[[float], object],
) -> tuple[HomeModel, Findings]:
    """The head of a home's pictures, and what there is to say of it.

    Args:
        home: the pictures.
        x: (n, f) their features.
        families: (n,) what plays the stranger together.
        wanted: rate of strangers that may pass.
        draw: chooses which pictures to do without, for the advice.
        on_progress: called with the fraction that is done.
    """
    solved = home.solve()
    familiar = unknown.familiarity(x, home.y, families, home.groups) if np.unique(families).size > 1 else None
    threshold = unknown.threshold(familiar.strangers, wanted) if familiar else None
    model = HomeModel(home.head(solved), familiar.familiar if familiar else None, threshold.score if threshold else 0.0)
    best = solved.held_out.argmax(axis=1)
    certain = _held_out(familiar, threshold, home.y, best) if familiar and threshold else None
    task = home.y < len(home.model.classes)
    findings = Findings(
        version=home.model.version,
        named=tuple(_named(home, int(label), best, certain) for label in np.unique(home.y)),
        threshold=threshold,
        gains=_gains(home, solved, draw, on_progress),
        alike=tuple(
            Alike(home.classes[pair.first], home.classes[pair.second], pair.right, pair.total)
            for pair in advice.indistinct(solved.held_out, home.y)
        ),
        task_before=int((home.logits.argmax(axis=1) == home.y)[task].sum()),
        task_after=int((best == home.y)[task].sum()),
        task_pictures=int(task.sum()),
    )
    return model, findings


def _held_out(familiar: Familiarity, threshold: Threshold, y: Labels, best: NDArray[np.intp]) -> NDArray[np.object_]:
    """(n,) certainties of each picture by all others, the floor of its class too."""
    known = familiar.known

    def floor(at: int) -> float | None:
        if best[at] != y[at]:
            return familiar.familiar.floor(int(best[at]))
        mine = y == y[at]
        mine[at] = False
        return unknown.floor(known[mine])

    certain = [Certainty.of(float(score), threshold.score, floor(at)) for at, score in enumerate(known)]
    return np.array(certain, np.object_)


def _named(home: Home, label: int, best: NDArray[np.intp], certain: NDArray[np.object_] | None) -> Named:
    mine = home.y == label
    found = mine & (best == label)
    return Named(
        home.classes[label],
        label >= len(home.model.classes),
        int(mine.sum()),
        int(found.sum()),
        None if certain is None else int((certain[found] == Certainty.SURE).sum()),
        None if certain is None else int((certain[mine] == Certainty.UNKNOWN).sum()),
    )


def _gains(home: Home, solved: Solved, draw: Keystream, on_progress: Callable[[float], object]) -> tuple[Gain, ...]:
    wrong = solved.held_out.argmax(axis=1) != home.y
    labels = np.unique(home.y)
    task = [int(label) for label in labels if label < len(home.model.classes)]
    worst = sorted(task, key=lambda label: -float(wrong[home.y == label].mean()))[:MOST_ADVISED]
    asked = [*worst, *(int(label) for label in labels if label >= len(home.model.classes))]
    found = advice.worths(home, solved, asked, draw, on_progress)
    return tuple(Gain(home.classes[worth.label], 100 * worth.gain) for worth in found)
