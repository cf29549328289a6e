"""What a home's head says of a picture: a class of the task's, a name of its own, or that it knows no such thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fanlight.errors import ModelError
from fanlight.learning.heads import Floats, HeadKind, softmax
from fanlight.learning.model_file import HeadModel


@dataclass(frozen=True)
class HomeModel:
    """A home's head, and what tells strangers.

    Attributes:
        head: of the task's classes and the home's own names; of the same features as the global head.
        familiar: scores what looks like the home's pictures (``unknown``); its classes are those that it has pictures
            of. None where too few things have pictures.
        threshold: whatever ``familiar`` scores higher is known.

    Raises:
        ModelError: the two are not of the same features.
    """

    head: HeadModel
    familiar: HeadModel | None
    threshold: float

    def __post_init__(self) -> None:
        if self.familiar is None:
            return
        read = [(part.backbone_sha256, part.picture_size, len(part.weight)) for part in (self.head, self.familiar)]
        if read[0] != read[1] or self.familiar.kind is not HeadKind.ANALYTIC:
            raise ModelError("a home's head and what tells strangers are not of the same features")

    def scores(self, x: Floats) -> Floats:
        """(n, f) features of the backbone to (n, C) probabilities, in the order of ``head.classes``."""
        return softmax(self.head.head.logits(self.head.read(x)))

    def checks(self, label: str) -> bool:
        """Can it be told of this class whether something is a stranger? Only of those that the home has pictures of."""
        return self.familiar is not None and label in self.familiar.classes

    def unknown(self, x: Floats) -> list[bool]:
        """Of each of (n, f) features: is it a stranger? What is taken for a class without pictures here is none."""
        best = self.scores(x).argmax(axis=1)
        if self.familiar is None:
            return [False] * len(x)
        known = self.familiar.head.logits(self.familiar.read(x)).max(axis=1) > np.float32(self.threshold)
        named = [self.head.classes[int(label)] for label in best]
        return [self.checks(name) and not ok for name, ok in zip(named, known.tolist(), strict=True)]
