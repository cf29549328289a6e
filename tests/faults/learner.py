"""A device's learner that looks at no picture: what there is to send, it draws, and the rest is the device's own."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from benchmarks.idle_learner import IdleLearner
from fanlight.core.randomness import Keystream
from fanlight.learning.algorithms.local import Descended, Descent, Received
from fanlight.learning.algorithms.scaffold import CONTROL
from fanlight.learning.heads import head_layout
from fanlight.protocol.contribution import W_MAX
from fanlight.protocol.plan import Kind
from fanlight.protocol.statistics import Sums
from fanlight.services.device import sums_file
from fanlight.services.device.learned import Held, Prepared
from fanlight.services.device.local_algorithm import algorithm_name, local_algorithm
from fanlight.services.device.memories import Left, left_of
from fanlight.services.http.jobs import Progress

_PICTURES = 6


class DrawnLearner(IdleLearner):
    """Trains in a random direction, by the plan's algorithm; or has sums of drawn features."""

    def train(self, held: Held, progress: Progress, most: int = W_MAX) -> Prepared:
        """A preparation, with what belongs to it."""
        prepared, file = self.idle(held)
        sums, beside = None, None
        if Kind(held.plan.kind).sums:
            sums = sums_file.encode(self._drawn(held))
            prepared = prepared.with_(sums=hashlib.sha256(sums).digest())
        elif held.plan.algorithm is not None:
            beside = self._by_algorithm(held, prepared)
        kept = self.store.trained(prepared, file, beside, sums)
        progress(1.0, "done")
        return kept

    def _drawn(self, held: Held) -> Sums:
        """Of features of length 1, of pictures of all classes."""
        plan = held.plan
        raw = np.frombuffer(Keystream(self.randomness(32)).bytes(_PICTURES * plan.features), np.uint8)
        features = raw.reshape(_PICTURES, -1) + 1.0
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        labels = np.eye(len(plan.classes))[np.arange(_PICTURES) % len(plan.classes)]
        return Sums.rounded((np.zeros(0), features.T @ labels, labels.sum(axis=0).astype(np.int64)))

    def _by_algorithm(self, held: Held, prepared: Prepared) -> Left | None:
        plan, start = held.plan, self.global_model(held)
        layout, algorithm = head_layout(plan.features, len(plan.classes)), local_algorithm(plan)
        step = self.update(held, prepared)

        def descend(descent: Descent) -> Descended:
            return Descended(descent.start + step, steps=3, mean_gradient=-step)

        control = {} if start.control is None else {CONTROL: layout.flatten(start.control.tensors)}
        received = Received(layout.flatten(start.tensors), layout, control)
        memory = self.store.memories.remembered(algorithm_name(plan), start.lineage)
        outcome = algorithm.local(received, memory, descend)
        return left_of(algorithm_name(plan), replace(outcome, update=step), np.zeros(0))
