"""The work of a round that workers share: each device learns, its vector is quantised and added to a sum.

Sums are in the ring, so they are the same in whatever order, by however many workers, vectors are added. What is drawn
follows from the study's seed, the round and the device. So the outcome is, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.quantise import share_within
from fanlight.core.segments import layout_length
from fanlight.errors import DataError
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.local import Outcome, as_sent
from fanlight.protocol.contribution import Contribution, encode
from fanlight.protocol.plan import Kind
from fanlight.simulation.cheats import Cheats
from fanlight.simulation.learners import HeadLearner, Learner, Published
from fanlight.simulation.memories import Memories
from fanlight.simulation.orders import Note, Order, Words
from fanlight.simulation.population import Population
from fanlight.simulation.reporter import Reporter
from fanlight.simulation.seeds import stream
from fanlight.simulation.vectors import Vectors


@dataclass(frozen=True)
class Workshop:
    """All that a worker needs; it is made once, before there are any workers.

    Attributes:
        seed: of the study.
        learner, algorithm, population, vectors: what is learned, how, from what, and how it travels.
        memories: what devices remember.
        cheats: who does not do what is asked.
        reporter: masks and signs, where the protocol is run; None where integers are just summed.
        clock: seconds, for the notes.
    """

    seed: int
    learner: Learner
    algorithm: Algorithm
    population: Population
    vectors: Vectors
    memories: Memories
    cheats: Cheats
    reporter: Reporter | None = None
    clock: Callable[[], float] = field(default=time.perf_counter)

    def empty_sums(self, order: Order) -> Words:
        """(sums, d) zeros for an order."""
        layout = self.vectors.layout(order.kind, order.clip_micro)
        return ring.zeros(order.sums * layout_length(layout), layout[0].bits).reshape(order.sums, -1)

    @property
    def longest_sum_bytes(self) -> int:
        """Of one sum of any order."""
        kinds = [Kind.TRAIN] + [Kind.STATISTICS] * (
            isinstance(self.learner, HeadLearner) and self.learner.kind.is_solved
        )
        return max(self.empty_sums(Order(0, kind, 1_000_000, ())).nbytes for kind in kinds)

    def carry_out(self, order: Order, published: Published, group: Sequence[int], sums: Words) -> list[Note]:
        """Have a group of devices learn, and add their vectors to ``sums``.

        Raises:
            ModelError: a training ran away.
        """
        layout, notes = self.vectors.layout(order.kind, order.clip_micro), list[Note]()
        for device, contribution, remembers, learning_s in self._contributions(order, published, group):
            started = self.clock()
            rounding = stream(self.seed, "rounding", device, order.round)
            if self.reporter is None:
                vector, report = encode(layout, contribution, rounding), ""
            else:
                vector, report = self.reporter.report(order, published, device, contribution, rounding)
            ring.add_into(sums[order.shards.get(device, 0)], vector)
            seconds = learning_s + self.clock() - started
            notes.append(Note(device, contribution.examples, seconds, remembers, report))
        return notes

    def _contributions(
        self, order: Order, published: Published, group: Sequence[int]
    ) -> list[tuple[int, Contribution, bool, float]]:
        found = []
        if order.kind.sums:
            for device in group:
                started = self.clock()
                found.append((device, self._sums(device), False, self.clock() - started))
            return found
        outcomes = []
        for device in group:
            started = self.clock()
            outcome = self._learned(order, published, device)
            outcomes.append((device, outcome, self.clock() - started))
        learned = {device: outcome.update for device, outcome, _ in outcomes}
        updates = self.cheats.sent(order.round, learned, sum(map(len, order.groups)))
        for device, outcome, seconds in outcomes:
            said = self._said(device, outcome, updates[device])
            found.append((device, said, bool(outcome.memory), seconds))
        return found

    def _learned(self, order: Order, published: Published, device: int) -> Outcome:
        """A device's part in a training round; what it is to remember is kept."""
        train, valid = self.population.train(device), self.population.valid(device)
        outcome = self.algorithm.local(
            published.received(self.learner, order.staleness),
            self.memories.read(device, order.remembered.get(device)),
            self.learner.descend(train, valid, self.seed, device, order.round),
        )
        if outcome.memory:
            share = share_within(outcome.update, order.clip_micro / 1e6) if outcome.follows else 1.0
            memory = as_sent(outcome.memory, outcome.follows, outcome.update, share)
            self.memories.write(device, order.round, memory)
        return outcome

    def _said(self, device: int, outcome: Outcome, update: NDArray[np.float64]) -> Contribution:
        control = None if outcome.control is None else self.vectors.padded(outcome.control)
        return Contribution(
            examples=self.population.train(device).y.size,
            update=self.vectors.padded(update),
            received=None,
            local=None,
            supporters=self._supported(device),
            control=control,
            steps=outcome.steps,
        )

    def _sums(self, device: int) -> Contribution:
        if not isinstance(self.learner, HeadLearner):
            raise DataError("only heads are solved from sums")
        train, valid = self.population.train(device), self.population.valid(device)
        sums, supporters = self.learner.sums(train, valid), self._supported(device)
        return Contribution(train.y.size, None, None, None, supporters, sums=sums)

    def _supported(self, device: int) -> NDArray[np.bool_]:
        counts = np.bincount(self.population.train(device).y, minlength=len(self.population.classes))
        found: NDArray[np.bool_] = counts > 0
        return found
