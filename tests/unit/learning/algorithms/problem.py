"""A small convex problem on several devices, in NumPy: no pictures, no services.

Device k minimises F_k(w) = ½ (w - b_k)ᵀ A_k (w - b_k). What all of them want, Σ p_k F_k, has its least value where
Σ p_k A_k (w - b_k) = 0, in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, Memory, State
from fanlight.learning.algorithms.local import Descended, Descent, Outcome, Received, as_sent

Vector = NDArray[np.float64]
LAYOUT = TensorLayout((TensorSpec("body.weight", (2, 2)), TensorSpec("bn.weight", (1,)), TensorSpec("head.bias", (1,))))
D = LAYOUT.size
NORMALISATION = frozenset({"bn.weight"})


@dataclass(frozen=True)
class Quadratic:
    """One device. ``steps`` of gradient descent at ``learning_rate``, exact gradients, plain or with momentum."""

    matrix: NDArray[np.float64]
    least: Vector
    pictures: int
    steps: int = 4
    learning_rate: float = 0.05
    momentum: float = 0.0

    def gradient(self, w: Vector) -> Vector:
        slope: Vector = self.matrix @ (w - self.least)
        return slope

    def __call__(self, descent: Descent) -> Descended:
        w, velocity, total = descent.start.copy(), np.zeros(D), np.zeros(D)
        moves = np.ones(D)
        for name, part in LAYOUT.views(moves).items():
            part[...] = name not in descent.frozen
        for _ in range(self.steps):
            slope = self.gradient(w)
            total += slope
            if descent.shift is not None:
                slope = slope + descent.shift
            if descent.anchor is not None:
                slope = slope + descent.pull * (w - descent.anchor)
            velocity = self.momentum * velocity - self.learning_rate * slope
            w += moves * velocity
        return Descended(w, self.steps, self.momentum, total / self.steps if descent.watch else None)


def devices(count: int = 3, *, steps: int = 4, learning_rate: float = 0.05, momentum: float = 0.0) -> list[Quadratic]:
    """Devices that want different things, with different numbers of pictures."""
    draw = np.random.default_rng(1)
    found = []
    for number in range(count):
        root = draw.normal(size=(D, D))
        matrix = root @ root.T / D + np.eye(D)
        least, pictures = 3 * draw.normal(size=D), 10 * (number + 1)
        found.append(Quadratic(matrix, least, pictures, steps, learning_rate, momentum))
    return found


def optimum(among: list[Quadratic], weights: list[float]) -> Vector:
    """Where the weighted sum of their objectives is least."""
    matrix = sum((w * each.matrix for w, each in zip(weights, among, strict=True)), np.zeros((D, D)))
    target = sum((w * each.matrix @ each.least for w, each in zip(weights, among, strict=True)), np.zeros(D))
    best: Vector = np.linalg.solve(matrix, target).astype(np.float64)
    return best


@dataclass
class Federation:
    """Rounds of an algorithm, all devices in each, summed as the secure sum would.

    With ``shards`` they are dealt out anew in each round, and ``combine`` says how the shards' means become one.
    """

    algorithm: Algorithm
    members: list[Quadratic]
    start: Vector = field(default_factory=lambda: np.linspace(-1, 1, D))
    memories: list[Memory] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    shards: int = 1
    clip: float = math.inf
    combine: Callable[[NDArray[np.float64]], Vector] = lambda means: means.mean(axis=0)

    def __post_init__(self) -> None:
        self.state: State = self.algorithm.init(self.start)
        self.memories = [{} for _ in self.members]

    def round(self, among: list[int] | None = None) -> None:
        chosen = list(range(len(self.members))) if among is None else among
        published = {name: self.state.memory[name] for name in self.algorithm.publishes}
        received = Received(self.state.parameters, LAYOUT, published, normalisation=NORMALISATION)
        self.outcomes = [self.algorithm.local(received, self.memories[k], self.members[k]) for k in chosen]
        pictures = np.array([self.members[k].pictures for k in chosen], np.float64)
        dealt = np.random.default_rng(self.state.rounds).permutation(len(chosen))
        shards = [np.sort(shard) for shard in np.array_split(dealt, self.shards)]
        controls = [outcome.control for outcome in self.outcomes if outcome.control is not None]
        steps = [outcome.steps for outcome in self.outcomes if outcome.steps is not None]
        shares = [min(1.0, self.clip / max(float(np.linalg.norm(each.update)), 1e-300)) for each in self.outcomes]
        updates = np.array([share * each.update for share, each in zip(shares, self.outcomes, strict=True)])
        gathered = Gathered(
            self.combine(np.array([pictures[one] / pictures[one].sum() @ updates[one] for one in shards])),
            count=len(chosen),
            members=len(self.members),
            weight=float(pictures.sum()),
            control=self.combine(np.array([np.mean(np.array(controls)[one], axis=0) for one in shards]))
            if controls
            else None,
            steps=float(pictures / pictures.sum() @ steps) if steps else None,
        )
        self.state = self.algorithm.apply(self.state, gathered)
        for k, each, share in zip(chosen, self.outcomes, shares, strict=True):
            self.memories[k] = as_sent(each.memory, each.follows, each.update, share)

    def join(self, device: Quadratic) -> None:
        """A device that remembers nothing yet."""
        self.members.append(device)
        self.memories.append({})

    def rounds(self, count: int) -> Vector:
        for _ in range(count):
            self.round()
        return self.state.parameters
