"""What one version of a task's model has everybody do, and what each device of a fleet has to say to it.

A device trains on its part of the study's pictures, by the code of simulated devices. The pictures that are held back
from training are dealt out too, each to one device, which measures models on them: so the counts of a whole fleet are
of all that is held back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fanlight.core.quantise import share_within
from fanlight.core.segments import Segment
from fanlight.learning import model_file
from fanlight.learning.algorithms.algorithm import Algorithm, Memory
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.algorithms.local import Outcome, Received, as_sent
from fanlight.learning.algorithms.scaffold import CONTROL
from fanlight.learning.evaluation import Counts
from fanlight.protocol.contribution import W_MAX, Contribution, Measured, clip_of
from fanlight.protocol.exchange import Offer
from fanlight.protocol.manifest import Manifest
from fanlight.protocol.plan import Kind, Plan
from fanlight.services.device.learner import training_settings
from fanlight.services.device.local_algorithm import algorithm_name, local_algorithm
from fanlight.services.device.offers import check_fits
from fanlight.simulation.learners import Floats, HeadLearner
from fanlight.simulation.population import Part, Population


class Said(NamedTuple):
    """What a device has to say in a round.

    Attributes:
        contribution: goes into its report.
        memory: what it remembers if that counts.
        within_clip: was its update within the round's bound?
    """

    contribution: Contribution
    memory: Memory | Mapping[str, NDArray[np.float64]]
    within_clip: bool = False


@dataclass(frozen=True)
class Lesson:
    """A version and its plan.

    Attributes:
        plan: of training.
        version, sha256, file_bytes: of the model's file.
        received: as algorithms take it.
        lineage: the rounds that the model comes of by the plan's algorithm, of which memories count; None: of none.
        learner, algorithm: what is learned, and how.
        population: who has what.
        seed: of the study.
    """

    plan: Plan
    version: int
    sha256: bytes
    file_bytes: int
    received: Received
    lineage: Lineage | None
    learner: HeadLearner
    algorithm: Algorithm
    population: Population
    seed: int

    @classmethod
    def of(cls, offer: Offer, file: bytes, population: Population, seed: int) -> Lesson:
        """What main offers, with the model's file, whose hash is right.

        Raises:
            Refused: the model does not fit the plan, or asks for an algorithm that this program does not know.
        """
        plan = Plan.decode(offer.plan)
        check_fits(file, plan)
        model = model_file.decode(file)
        learner = HeadLearner(model.kind, plan.features, plan.classes, training_settings(plan))
        control = {} if model.control is None else {CONTROL: model.layout.flatten(model.control.tensors)}
        same = model.lineage is not None and model.lineage.algorithm == algorithm_name(plan)
        return cls(
            plan=plan,
            version=offer.model_version,
            sha256=offer.model,
            file_bytes=len(file),
            received=Received(model.layout.flatten(model.tensors), model.layout, control),
            lineage=model.lineage if same else None,
            learner=learner,
            algorithm=local_algorithm(plan),
            population=population,
            seed=seed,
        )

    @property
    def parameters(self) -> Floats:
        """(d,) the model's numbers."""
        return self.received.parameters.astype(np.float32)

    def measured_on(self, examples: Part) -> Counts:
        """The model's hits and misses."""
        return self.learner.measure(self.parameters, examples)

    def learn(self, device: int, round_number: int, memory: Memory) -> Outcome:
        """A device's part in a training round; errors as in ``training.train``."""
        train, valid = self.population.train(device), self.population.valid(device)
        descend = self.learner.descend(train, valid, self.seed, device, round_number)
        return self.algorithm.local(self.received, memory, descend)

    def trained(
        self, manifest: Manifest, device: int, outcome: Outcome, update: NDArray[np.float64] | None = None
    ) -> Said:
        """What is said in a training round.

        Args:
            manifest: of the round.
            device: its number.
            outcome: of its training.
            update: what it sends in place of what it has learned, if it cheats.
        """
        layout = manifest.proposal.layout
        sent = outcome.update if update is None else update
        received, local = self._measured(layout, device, outcome.own.astype(np.float32))
        contribution = Contribution(
            examples=self.population.train(device).y.size,
            update=sent,
            received=received,
            local=local,
            supporters=self._supported(device),
            control=outcome.control,
            steps=outcome.steps,
        )
        share = share_within(sent, clip_of(layout) / 1e6)
        memory = as_sent(outcome.memory, outcome.follows, sent, share)
        return Said(contribution, memory, share == 1)

    def summed(self, manifest: Manifest, device: int) -> Said:
        """What is said in a round of sums by a device that main counts nothing of yet."""
        layout = manifest.proposal.layout
        most = next((segment.hi for segment in layout if segment.kind == "examples"), W_MAX)
        train, valid = (_some(part, most) for part in (self.population.train(device), self.population.valid(device)))
        received, local = self._measured(layout, device, self.learner.solved(train, valid))
        contribution = Contribution(
            examples=train.y.size,
            update=None,
            received=received,
            local=local,
            supporters=self._supported(device).astype(np.int64),
            sums=self.learner.sums(train, valid),
            members=1,
        )
        return Said(contribution, {})

    def measured(self, device: int) -> Said:
        """What is said in a measuring round; of a local model there is none left to measure."""
        classes, received = len(self.plan.classes), self._own_counts(device, self.parameters)
        none = Measured(np.zeros((classes, classes), np.int64), 0.0)
        return Said(Contribution(0, None, received, none, np.zeros(classes, np.bool_)), {})

    def said(self, manifest: Manifest, device: int) -> Said:
        """What is said in a round in which nothing is trained."""
        return self.summed(manifest, device) if Kind(manifest.proposal.kind).sums else self.measured(device)

    def _measured(
        self, layout: tuple[Segment, ...], device: int, local: Floats
    ) -> tuple[Measured | None, Measured | None]:
        """Of the model received and the local one, where the round counts them."""
        if not any(segment.kind == "counts" for segment in layout):
            return None, None
        return self._own_counts(device, self.parameters), self._own_counts(device, local)

    def _own_counts(self, device: int, parameters: Floats) -> Measured:
        test, devices = self.population.test, self.population.devices
        found = self.learner.measure(parameters, Part(test.x[device::devices], test.y[device::devices]))
        return Measured(found.confusion, found.loss_sum)

    def _supported(self, device: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.bincount(self.population.train(device).y, minlength=len(self.plan.classes)) > 0
        return found


def _some(part: Part, most: int) -> Part:
    """So many of its examples, which lie in an order that was drawn."""
    return Part(part.x[:most], part.y[:most])
