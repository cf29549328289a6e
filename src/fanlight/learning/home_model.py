"""What a home's head says of a picture: a class of the task's, a name of its own, or that it knows no such thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fanlight.errors import ModelError
from fanlight.learning.familiar import Familiar
from fanlight.learning.heads import Floats, softmax
from fanlight.learning.model_file import HeadModel


class Certainty(StrEnum):
    """May what is named likeliest be something that the home has no pictures of? See ``unknown`` for the two limits."""

    SURE = "sure"
    """Hardly: strangers seldom score so high, no more often than the owner wants."""
    PERHAPS = "perhaps"
    """It may be: strangers do score so high, and so do the home's own pictures of it."""
    UNKNOWN = "unknown"
    """It is: the home's own pictures of it hardly score so low."""

    @classmethod
    def of(cls, score: float, threshold: float, floor: float | None) -> Certainty | None:
        """By a picture's score, and the floor of the class that it is named.

        None without a floor: the home has no pictures of that class, so nothing was checked.
        """
        if floor is None:
            return None
        if score > threshold:
            return cls.SURE
        return cls.UNKNOWN if score < floor else cls.PERHAPS


@dataclass(frozen=True)
class HomeModel:
    """A home's head, and what tells strangers.

    Attributes:
        head: of the task's classes and the home's own names; of the same features as the global head.
        familiar: scores what looks like the home's pictures; None where too few things have pictures.
        threshold: whatever ``familiar`` scores higher is surely known.

    Raises:
        ModelError: the two are not of the same features and classes.
    """

    head: HeadModel
    familiar: Familiar | None
    threshold: float

    def __post_init__(self) -> None:
        if self.familiar is None:
            return
        labels, classes = self.familiar.labels, len(self.head.classes)
        if self.familiar.features != len(self.head.weight) or not (labels.min() >= 0 and labels.max() < classes):
            raise ModelError("a home's head and what tells strangers are not of the same features and classes")

    def scores(self, x: Floats) -> Floats:
        """(n, f) features of the backbone to (n, C) probabilities, in the order of ``head.classes``."""
        return softmax(self.head.head.logits(self.head.read(x)))

    def certainties(self, x: Floats) -> list[Certainty | None]:
        """Of each of (n, f) features; None of what is taken for a class without pictures here: nothing was checked."""
        best = self.scores(x).argmax(axis=1).tolist()
        familiar = self.familiar
        if familiar is None:
            return [None] * len(x)
        scored = zip(familiar.scores(x).tolist(), best, strict=True)
        return [Certainty.of(score, self.threshold, familiar.floor(label)) for score, label in scored]
