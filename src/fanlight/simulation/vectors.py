"""What travels in a simulated round: the plan, and the layout of the vector, as a deployed federation would have them.

A head has its own plan. A module of somebody's own has a vector of any length d; it travels as if it were a head of as
many features as it takes, with zeros at the end, so that the same role machines take it. Zeros are rounded to zeros.
One that is too long for any head is summed all the same, but only by ``fast``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fanlight.core.segments import Segment, check_layout
from fanlight.learning.backbones import DEFAULT_BACKBONE, backbone
from fanlight.protocol.contribution import W_MAX, expected_layout
from fanlight.protocol.plan import Kind, Plan
from fanlight.simulation.study import Study

_MOST_FEATURES = 1 << 16
_RATE = 1_000_000


@dataclass(frozen=True)
class Vectors:
    """The vectors of one study.

    Attributes:
        plan: what devices are told.
        parameters: d of the model.
        n_max, most_pictures, update_bits: see ``expected_layout``.
    """

    plan: Plan
    parameters: int
    n_max: int
    most_pictures: int
    update_bits: int

    @property
    def length(self) -> int:
        """Of an update as it travels, at least d."""
        return max(self.plan.parameters, self.parameters)

    @property
    def fits_plan(self) -> bool:
        """Can the role machines take it?"""
        return self.plan.parameters >= self.parameters

    @functools.lru_cache(maxsize=8)  # noqa: B019 there is one of them in a process
    def layout(self, kind: Kind, clip_micro: int) -> tuple[Segment, ...]:
        """The segments of a round.

        Raises:
            SettingsError: so many devices cannot be summed. MalformedMessage: likewise.
        """
        found = expected_layout(
            self.plan.of_kind(kind),
            self.n_max,
            clip_micro,
            with_counts=False,
            update_bits=self.update_bits,
            most_pictures=W_MAX if kind.sums else self.most_pictures,  # sums are exact, whatever could count
        )
        if not self.fits_plan:
            found = tuple(
                replace(segment, length=self.parameters) if segment.kind in ("update", "control") else segment
                for segment in found
            )
        check_layout(found, self.n_max)
        return found

    def padded(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """(d,) as it travels."""
        return vector if vector.size == self.length else np.concatenate([vector, np.zeros(self.length - vector.size)])


def vectors_of(
    study: Study, classes: Sequence[str], most_pictures: int, *, features: int = 0, parameters: int = 0
) -> Vectors:
    """The vectors of a study whose model is a head of so many features, or has so many parameters."""
    names, training = tuple(classes), study.training
    of_plan = features or min(max(-(-parameters // len(names)) - 1, 1), _MOST_FEATURES)
    entry = backbone(DEFAULT_BACKBONE)
    plan = Plan(
        task="simulation",
        kind=Kind.TRAIN.value,
        classes=names,
        backbone=entry.id,
        backbone_hash=bytes.fromhex(entry.compiled_sha256),
        features=of_plan,
        picture_size=study.picture_size or 64,
        head=study.head.value,
        epochs=training.epochs,
        batch_size=training.batch_size,
        learning_rate_micro=round(training.learning_rate * _RATE),
        momentum_micro=round(training.momentum * _RATE),
        l2_micro=round(training.l2 * _RATE),
        patience=training.patience,
        class_weights=training.class_weights,
        algorithm=study.planned,
    )
    return Vectors(
        plan=plan,
        parameters=parameters or plan.parameters,
        n_max=max(study.n_max, study.per_round),
        most_pictures=study.most_pictures or most_pictures,
        update_bits=study.update_bits,
    )
