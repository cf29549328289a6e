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
from fanlight.learning.held_back import NONE, HeldBack
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
        memory, held_back = dict(state.memory), self._held_back(totals)
        with np.errstate(over="ignore"):
            after = self._published(held_back, before.parameters, state.parameters).astype(np.float32)
        if not np.isfinite(after).all():
            raise ModelError("a parameter of the next model is too large", next="Lower the learning rate.")
        memory |= {
            name: self._published(held_back, before.memory[name], memory[name]) for name in self.algorithm.publishes
        }
        within = (totals.within_clip or 0) / totals.count
        clip_micro = round(next_clip(before.clip_micro / 1e6, within) * 1e6)
        return replace(before, parameters=after, memory=MappingProxyType(memory), clip_micro=clip_micro)

    def _published(self, held_back: HeldBack, before: NDArray[Any], after: NDArray[np.float64]) -> NDArray[np.float64]:
        """What of a result may be published: nothing of the classes that are held back, nor what tells of them."""
        if not held_back:
            return after
        old, new = before.reshape(-1, self.classes), after.reshape(-1, self.classes)
        if self.algorithm.mirrors and held_back.hides:
            new = old + held_back.published(new - old)
        return np.where(held_back.classes, old, new).ravel()

    def solve(self, before: Global, plan: Plan, totals: Totals) -> Global:
        """After a round of sums.

        Raises:
            ModelError: they have no solution.
        """
        assert totals.sums is not None
        head = solve(plan, totals.sums, HeldBack.of(self._supported(totals), self.supporters))
        return replace(before, parameters=np.concatenate([head.weight.ravel(), head.bias]), solved=True)

    def _gathered(self, totals: Totals, size: int) -> Gathered:
        robust = self.combine != MEAN and totals.shards
        parts = totals.shards if robust else (totals,)
        means = [(part.steps, part.unit) for part in parts if part.steps is not None]
        controls = [(part.control, part.control_unit) for part in parts if part.control is not None]
        steps = [part.local_steps for part in parts if part.local_steps is not None]
        return Gathered(
            self._middle(means, totals, size),
            count=totals.count,
            members=self.members,
            weight=totals.weight or 0,
            control=self._middle(controls, totals, size) if controls else None,
            steps=float(np.median(steps)) if steps else None,
        )

    def _middle(self, parts: Sequence[tuple[Integers, float]], totals: Totals, size: int) -> NDArray[np.float64]:
        """What becomes of the means; what is held back is seen by none but a memory that mirrors devices'."""
        held_back = self._held_back(totals)
        units = np.array([[unit] for _, unit in parts])
        means = np.stack([steps[:size] for steps, _ in parts]).astype(np.float64)
        if held_back and not self.algorithm.mirrors:
            means = held_back.published(means.reshape(len(parts), -1, self.classes)).reshape(len(parts), -1)
        return self._one_of(means * units)

    def _one_of(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        return means[0] if self.combine == MEAN or len(means) == 1 else ROBUST[self.combine](means)

    def _held_back(self, totals: Totals) -> HeldBack:
        return HeldBack.of(self._supported(totals), self.supporters) if self.classes else NONE

    @staticmethod
    def _supported(totals: Totals) -> NDArray[np.int64]:
        assert totals.supporters is not None
        return totals.supporters

    def published(self, state: Global) -> Mapping[str, Floats]:
        """What of the memory devices get with the model, as it lies in the model's file."""
        found = {name: state.memory[name].astype(np.float32) for name in self.algorithm.publishes}
        return MappingProxyType(found)


def solve(plan: Plan, sums: Sums, held_back: HeldBack) -> SoftmaxHead:
    """The head that sums stand for; of a class that is held back it knows nothing."""
    if plan.head == HeadKind.PROTOTYPES:
        _, class_sums, examples = sums.parts[0]
        return prototypes.head_of(class_sums * ~held_back.classes, examples * ~held_back.classes)
    train, held_out = (analytic.Statistics(*part) for part in sums.parts)
    head = analytic.fit(train, held_out, balanced=plan.class_weights).head
    return checked_head(held_back.published(head.weight), held_back.published(head.bias))
