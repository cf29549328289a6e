"""The parameters after a round, worked out where the sum of the updates lies, by the rule of the task's algorithm.

The rule works on each parameter by itself, given a few numbers of the round. So a long model is worked on piece by
piece, and each piece of the sum gives way to the parameters that come of it: float32 takes the room of int32. As a
whole, in float64 and with all that lies between, it would take many times the room of the vector that has come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, Memory, State, frozen_vector
from fanlight.learning.algorithms.robust import ROBUST
from fanlight.learning.heads import SoftmaxHead
from fanlight.protocol.contribution import Totals
from fanlight.protocol.extras import Integers
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice

_ROWS: Final = 1 << 10


class Moved(NamedTuple):
    """What a round made.

    Attributes:
        head: (f, K).
        memory: what the algorithm remembers with it.
        control: what of that devices get with the version.
    """

    head: SoftmaxHead
    memory: Memory
    control: SoftmaxHead | None


def move(
    head: SoftmaxHead,
    memory: Memory,
    choice: AlgorithmChoice,
    totals: Totals,
    *,
    held_back: NDArray[np.bool_],
    members: int,
) -> Moved:
    """A head after a round; it lies in the place of ``totals.steps``.

    Args:
        head, memory: (f, K), from which the round started, and what the algorithm remembers with it.
        choice: by which rule, and how shards become one.
        totals: of a training round.
        held_back: (K,), classes whose rows stay as they are, and count as unchanged in what is remembered.
        members: devices in the federation.

    Raises:
        ModelError: a parameter that would not be a finite float32.
    """
    assert totals.steps is not None
    algorithm, middle = choice.algorithm, _middle(choice, totals, held_back, members)
    known = _begun(algorithm, memory, totals.steps.size)
    table = totals.steps.astype(np.int32, copy=False)  # which they are: they came out of a ring of 32 bits at most
    after = table.reshape(-1, head.classes).view(np.float32)  # a row for each feature, and that of the bias
    remembers = {name: np.empty(after.shape) for name in known}
    for some, rows in _pieces(head):
        said = _gathered(totals, some, held_back, members) if middle is None else _of_rows(middle, some, head.classes)
        before = State(
            frozen_vector("the model", rows.ravel()),
            MappingProxyType({name: known[name].reshape(after.shape)[some].ravel() for name in known}),
        )
        state = algorithm.apply(before, said)
        layout = TensorLayout((TensorSpec("rows", rows.shape),))
        after[some] = np.where(held_back, rows, layout.unflatten(state.parameters)["rows"])
        for name, vector in state.memory.items():
            remembers[name][some] = vector.reshape(rows.shape)
    kept = {name: rows.ravel() for name, rows in remembers.items()}
    return Moved(SoftmaxHead(after[:-1], after[-1]), kept, _control(algorithm, remembers))


def _middle(choice: AlgorithmChoice, totals: Totals, held_back: NDArray[np.bool_], members: int) -> Gathered | None:
    """What the shards say together, of all rows, if a robust rule is chosen and there are shards.

    Rows that are held back are made zero beforehand: those of other classes must not depend on them.
    """
    if choice.combine == "mean" or not totals.shards:
        return None
    robust, shards = ROBUST[choice.combine], totals.shards

    def middle(parts: Sequence[tuple[Integers, float]]) -> NDArray[np.float64]:
        means = np.empty((len(parts), parts[0][0].size))
        for mean, (steps, unit) in zip(means, parts, strict=True):
            np.multiply(steps, unit, out=mean)
        means.reshape(len(parts), -1, len(held_back))[:, :, held_back] = 0.0
        return robust(means)

    controls = [(shard.control, shard.control_unit) for shard in shards if shard.control is not None]
    local_steps = [shard.local_steps for shard in shards if shard.local_steps is not None]
    return Gathered(
        middle([(shard.steps, shard.unit) for shard in shards if shard.steps is not None]),
        count=totals.count,
        members=members,
        control=middle(controls) if controls else None,
        steps=float(np.median(local_steps)) if local_steps else None,
    )


def _begun(algorithm: Algorithm, memory: Memory, size: int) -> Memory:
    """The memory that the round starts from: what the algorithm begins with, if there is none that fits."""
    begins = algorithm.init(np.zeros(1)).memory
    if begins.keys() == memory.keys() and all(vector.size == size for vector in memory.values()):
        return memory
    return {name: np.full(size, vector[0]) for name, vector in begins.items()}


def _pieces(head: SoftmaxHead) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Which rows they are, and the rows; the last one is the bias."""
    for first in range(0, head.features, _ROWS):
        some = slice(first, min(first + _ROWS, head.features))
        yield some, head.weight[some]
    yield slice(head.features, head.features + 1), head.bias[np.newaxis]


def _gathered(totals: Totals, some: slice, held_back: NDArray[np.bool_], members: int) -> Gathered:
    """What the round says of some rows."""

    def mean(steps: Integers, unit: float) -> NDArray[np.float64]:
        rows = steps.reshape(-1, len(held_back))[some]
        found: NDArray[np.float64] = np.where(held_back, 0.0, np.multiply(rows, unit, dtype=np.float64))
        return found.ravel()

    assert totals.steps is not None
    return Gathered(
        mean(totals.steps, totals.unit),
        count=totals.count,
        members=members,
        control=None if totals.control is None else mean(totals.control, totals.control_unit),
        steps=totals.local_steps,
    )


def _of_rows(whole: Gathered, some: slice, classes: int) -> Gathered:
    """The same of some rows alone."""

    def part(values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(values, np.float64).reshape(-1, classes)[some].ravel()

    control = None if whole.control is None else part(whole.control)
    return replace(whole, mean=part(whole.mean), control=control)


def _control(algorithm: Algorithm, remembers: dict[str, NDArray[np.float64]]) -> SoftmaxHead | None:
    """What of the memory devices get with the version."""
    for name in algorithm.publishes:
        table = remembers[name].astype(np.float32)
        return SoftmaxHead(table[:-1], table[-1])
    return None
