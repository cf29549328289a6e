"""What main does with a round's sum: the next model, by the same rules as ``services.main_server``; tests compare them.

There a long model is worked on piece by piece, for the sake of memory; here as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.adaptive_clip import next_clip
from fanlight.errors import ModelError
from fanlight.learning import analytic, prototypes
from fanlight.learning.algorithms.algorithm import NOTHING, Algorithm, Gathered, Memory, State
from fanlight.learning.algorithms.robust import ROBUST
from fanlight.learning.heads import HeadKind, SoftmaxHead, checked_head
from fanlight.protocol.contribution import Totals
from fanlight.protocol.extras import Integers
from fanlight.protocol.plan import Plan
from fanlight.protocol.statistics import Sums
from fanlight.simulation.study import MEAN

Floats = NDArray[np.float32]
NO_CLIP: Final = 0


@dataclass(frozen=True)
class Global:
    """What the servers know between two rounds.

    Attributes:
        parameters: (d,) float32, the model.
        memory: of the algorithm.
        clip_micro: bound on the L2 norm of the next updates, in millionths.
        solved: does the head come from sums, at least at first, and have they been there?
    """

    parameters: Floats
    memory: Memory = field(default_factory=lambda: NOTHING)
    clip_micro: int = NO_CLIP
    solved: bool = False


@dataclass(frozen=True)
class Server:
    """The rule by which a round becomes the next model.

    Attributes:
        algorithm, combine: see ``Study``.
        classes: K, if the last axis of the model is that of classes, as in a head; 0 if nothing is held back by class.
        supporters: fewest devices that have pictures of a class, else it is held back.
        members: devices in the federation.
    """

    algorithm: Algorithm
    combine: str
    classes: int
    supporters: int
    members: int

    def first(self, parameters: Floats, clip: float) -> Global:
        """Before the first round."""
        return Global(parameters, self.algorithm.init(parameters.astype(np.float64)).memory, round(clip * 1e6))

    def move(self, before: Global, totals: Totals) -> Global:
        """After a round of updates.

        Raises:
            ModelError: a parameter would not be a finite float32.
        """
        state = self.algorithm.apply(
            State(before.parameters.astype(np.float64), before.memory), self._gathered(totals, before.parameters.size)
        )
        with np.errstate(over="ignore"):
            after = state.parameters.astype(np.float32)
        if not np.isfinite(after).all():
            raise ModelError("a parameter of the next model is too large", next="Lower the learning rate.")
        memory, held_back = dict(state.memory), self._held_back(totals)
        if held_back is not None:
            after = self._kept(held_back, before.parameters, after)
            memory |= {
                name: self._kept(held_back, before.memory[name], memory[name]) for name in self.algorithm.publishes
            }
        within = (totals.within_clip or 0) / totals.count
        clip_micro = round(next_clip(before.clip_micro / 1e6, within) * 1e6)
        return replace(before, parameters=after, memory=MappingProxyType(memory), clip_micro=clip_micro)

    def _kept(self, held_back: NDArray[np.bool_], before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
        """``after``, but for the rows of classes that are held back."""
        rows = before.reshape(-1, self.classes), after.reshape(-1, self.classes)
        found: NDArray[Any] = np.where(held_back, *rows).ravel()
        return found

    def solve(self, before: Global, plan: Plan, totals: Totals) -> Global:
        """After a round of sums.

        Raises:
            ModelError: they have no solution.
        """
        assert totals.sums is not None
        head = solve(plan, totals.sums, self._supported(totals) < self.supporters)
        return replace(before, parameters=np.concatenate([head.weight.ravel(), head.bias]), solved=True)

    def _gathered(self, totals: Totals, size: int) -> Gathered:
        robust = self.combine != MEAN and totals.shards
        parts = totals.shards if robust else (totals,)
        means = [self._mean(part.steps, part.unit, size) for part in parts]
        controls = [self._mean(part.control, part.control_unit, size) for part in parts if part.control is not None]
        steps = [part.local_steps for part in parts if part.local_steps is not None]
        return Gathered(
            self._middle(means, totals),
            count=totals.count,
            members=self.members,
            weight=totals.weight or 0,
            control=self._middle(controls, totals) if controls else None,
            steps=float(np.median(steps)) if steps else None,
        )

    def _middle(self, means: Sequence[NDArray[np.float64]], totals: Totals) -> NDArray[np.float64]:
        """What becomes of the means; rows that are held back are seen by none but a memory that mirrors devices'."""
        held_back = self._held_back(totals)
        if held_back is None:
            return self._one_of(np.stack(means))
        tables = np.stack(means).reshape(len(means), -1, self.classes)
        unseen = tables[:, :, held_back]
        tables[:, :, held_back] = 0.0
        found = self._one_of(tables.reshape(len(means), -1)).reshape(-1, self.classes)
        if self.algorithm.mirrors:
            found[:, held_back] = self._one_of(unseen.reshape(len(means), -1)).reshape(len(found), -1)
        return found.ravel()

    def _one_of(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        return means[0] if self.combine == MEAN or len(means) == 1 else ROBUST[self.combine](means)

    @staticmethod
    def _mean(steps: Integers | None, unit: float, size: int) -> NDArray[np.float64]:
        """Of the part of the vector that is the model."""
        assert steps is not None
        mean: NDArray[np.float64] = np.multiply(steps[:size], unit, dtype=np.float64)
        return mean

    def _held_back(self, totals: Totals) -> NDArray[np.bool_] | None:
        if not self.classes:
            return None
        found: NDArray[np.bool_] = self._supported(totals) < self.supporters
        return found if found.any() else None

    @staticmethod
    def _supported(totals: Totals) -> NDArray[np.int64]:
        assert totals.supporters is not None
        return totals.supporters

    def published(self, state: Global) -> Mapping[str, Floats]:
        """What of the memory devices get with the model, as it lies in the model's file."""
        found = {name: state.memory[name].astype(np.float32) for name in self.algorithm.publishes}
        return MappingProxyType(found)


def solve(plan: Plan, sums: Sums, held_back: NDArray[np.bool_]) -> SoftmaxHead:
    """The head that sums stand for; of a class that is held back it knows nothing."""
    if plan.head == HeadKind.PROTOTYPES:
        _, class_sums, examples = sums.parts[0]
        return prototypes.head_of(class_sums * ~held_back, examples * ~held_back)
    train, held_out = (analytic.Statistics(*part) for part in sums.parts)
    head = analytic.fit(train, held_out, balanced=plan.class_weights).head
    return checked_head(head.weight * ~held_back, head.bias * ~held_back)
