"""The parameters after a round, worked out where the sum of the updates lies, by the rule of the task's algorithm.

The rule works on each parameter by itself, given a few numbers of the round. So a long model is worked on piece by
piece, and each piece of the sum gives way to the parameters that come of it: float32 takes the room of int32. As a
whole, in float64 and with all that lies between, it would take many times the room of the vector that has come.

The vector holds what learns of the backbone, if anything does, then the head, a row for each feature and that of the
bias. Classes are columns of the head alone: what a backbone learns, it learns of all of them.

Columns of classes that are held back stay in what is published, and the others move only against each other, or they
would tell of these (``learning.held_back``). An algorithm is shown no more of the sum than that. What the server
remembers is its own: where that sums up what devices remember (``mirrors``), it is shown everything, for devices go on
with everything; else the two would differ for good. Then the same is taken from its result instead. It shows in a
version once the class has enough supporters again, summed with as many new contributions as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.learning.algorithms.algorithm import Algorithm, Gathered, Memory, State, frozen_vector
from fanlight.learning.algorithms.robust import ROBUST
from fanlight.learning.heads import Floats, SoftmaxHead
from fanlight.learning.held_back import NONE, HeldBack
from fanlight.learning.model_file import Control
from fanlight.protocol.contribution import Totals
from fanlight.protocol.extras import Integers
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice

_PIECE: Final = 1 << 15
"""Numbers that are worked on at once, or the rows of a head that hold as many: 256 KiB in float64, which stay in the
cache. One thread does it: each step on a piece takes microseconds, and two threads waited for each other between them
(FedAvg on 3.5M parameters: 11 ms in one, 17 to 30 in two)."""


class Moved(NamedTuple):
    """What a round made.

    Attributes:
        head: (f, K).
        memory: what the algorithm remembers with it.
        control: what of that devices get with the version.
        tuned: what has become of the backbone's tensors.
    """

    head: SoftmaxHead
    memory: Memory
    control: Control | None
    tuned: Mapping[str, Floats]


def move(
    head: SoftmaxHead,
    memory: Memory,
    choice: AlgorithmChoice,
    totals: Totals,
    *,
    held_back: HeldBack,
    members: int,
    tuned: Mapping[str, Floats] = MappingProxyType({}),
) -> Moved:
    """A head after a round, and what learns with it; they lie in the place of ``totals.steps``.

    Args:
        head, memory: (f, K), from which the round started, and what the algorithm remembers with it.
        choice: by which rule, and how shards become one.
        totals: of a training round.
        held_back: classes whose rows stay as they are, while the others move only against each other, also in what is
            published of the memory; and in the rest of it, unless that mirrors what devices remember.
        members: devices in the federation.
        tuned: the tensors of the backbone that learn, by name, from which the round started.

    Raises:
        ModelError: a parameter that would not be a finite float32.
    """
    assert totals.steps is not None
    algorithm = choice.algorithm
    middle = _middle(choice, totals, held_back, members, before_head=sum(tensor.size for tensor in tuned.values()))
    known = _begun(algorithm, memory, totals.steps.size)
    steps = totals.steps.astype(np.int32, copy=False)  # which they are: they came out of a ring of 32 bits at most
    after = steps.view(np.float32)
    remembers = {name: np.empty(after.size) for name in known}

    def work(piece: _Piece) -> None:
        some, start = piece.place, piece.start
        unseen = NONE if algorithm.mirrors else piece.held_back
        said = _gathered(totals, some, unseen, members) if middle is None else _of_piece(middle, some)
        before = State(frozen_vector("the model", start), MappingProxyType({name: known[name][some] for name in known}))
        state = algorithm.apply(before, said)
        layout = TensorLayout((TensorSpec("piece", start.shape),))
        moved = _published(algorithm, piece.held_back, before.parameters, state.parameters)
        after[some] = layout.unflatten(moved)["piece"]
        for name, vector in state.memory.items():
            hidden = piece.held_back if name in algorithm.publishes else NONE
            remembers[name][some] = _published(algorithm, hidden, before.memory[name], vector)

    for piece in _pieces(head, tuned, held_back):
        work(piece)
    shapes = {name: tensor.shape for name, tensor in tuned.items()}
    made, backbone = _parts(after, shapes, head.classes)
    return Moved(made, remembers, _control(algorithm, remembers, shapes, head.classes), backbone)


def _middle(
    choice: AlgorithmChoice, totals: Totals, held_back: HeldBack, members: int, *, before_head: int
) -> Gathered | None:
    """What the shards say together, of all that learns, if a robust rule is chosen and there are shards.

    They are made what may be published beforehand: rows of other classes must not depend on those held back.
    """
    if choice.combine == "mean" or not totals.shards:
        return None
    parts = [(shard.steps, shard.unit) for shard in totals.shards if shard.steps is not None]
    means = np.empty((len(parts), parts[0][0].size))
    for mean, (steps, unit) in zip(means, parts, strict=True):
        mean[:] = steps
        if held_back:
            rows = mean[before_head:].reshape(-1, len(held_back.classes))
            rows[:] = held_back.published(rows)
        np.multiply(mean, unit, out=mean)
    local_steps = [shard.local_steps for shard in totals.shards if shard.local_steps is not None]
    return Gathered(
        ROBUST[choice.combine](means),
        count=totals.count,
        members=members,
        weight=totals.weight or 0,
        steps=float(np.median(local_steps)) if local_steps else None,
    )


def _begun(algorithm: Algorithm, memory: Memory, size: int) -> Memory:
    """The memory that the round starts from: what the algorithm begins with, if there is none that fits."""
    begins = algorithm.init(np.zeros(1)).memory
    if begins.keys() == memory.keys() and all(vector.size == size for vector in memory.values()):
        return memory
    return {name: np.full(size, vector[0]) for name, vector in begins.items()}


def _published(
    algorithm: Algorithm, held_back: HeldBack, before: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What of a piece's result may be published: all of other classes' rows, unless the algorithm was shown more."""
    if not held_back:
        return after
    old, new = (rows.reshape(-1, len(held_back.classes)) for rows in (before, after))
    if algorithm.mirrors and held_back.hides:
        new = old + held_back.published(new - old)
    return np.where(held_back.classes, old, new).ravel()


class _Piece(NamedTuple):
    """Some of the parameters: where they lie, what they were, and of which of their classes they stay so."""

    place: slice
    start: Floats
    held_back: HeldBack


def _pieces(head: SoftmaxHead, tuned: Mapping[str, Floats], held_back: HeldBack) -> Iterator[_Piece]:
    end, rows_each = 0, max(1, _PIECE // head.classes)
    for tensor in tuned.values():
        flat = tensor.reshape(-1)
        for first in range(0, flat.size, _PIECE):
            part = flat[first : first + _PIECE]
            yield _Piece(slice(end, end := end + part.size), part, NONE)
    for first in range(0, head.features, rows_each):
        rows = head.weight[first : first + rows_each]
        yield _Piece(slice(end, end := end + rows.size), rows.reshape(-1), held_back)
    yield _Piece(slice(end, end + head.classes), head.bias, held_back)


def _gathered(totals: Totals, some: slice, unseen: HeldBack, members: int) -> Gathered:
    """What the round says of some parameters, if it is to tell nothing of these classes."""

    def mean(steps: Integers, unit: float) -> NDArray[np.float64]:
        found: NDArray[np.float64] = unseen.published(steps[some].reshape(-1, len(unseen.classes))).ravel() * unit
        return found

    assert totals.steps is not None
    return Gathered(
        mean(totals.steps, totals.unit),
        count=totals.count,
        members=members,
        weight=totals.weight or 0,
        control=None if totals.control is None else mean(totals.control, totals.control_unit),
        steps=totals.local_steps,
    )


def _of_piece(whole: Gathered, some: slice) -> Gathered:
    """The same of some parameters alone."""

    def part(values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(values, np.float64)[some]

    control = None if whole.control is None else part(whole.control)
    return replace(whole, mean=part(whole.mean), control=control)


def _parts(
    vector: Floats, shapes: Mapping[str, tuple[int, ...]], classes: int
) -> tuple[SoftmaxHead, Mapping[str, Floats]]:
    """The head and the tensors of the backbone that lie in a vector."""
    end, tuned = 0, {}
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape))
        tuned[name] = vector[start:end].reshape(shape)
    rows = vector[end:].reshape(-1, classes)
    return SoftmaxHead(rows[:-1], rows[-1]), tuned


def _control(
    algorithm: Algorithm,
    remembers: Mapping[str, NDArray[np.float64]],
    shapes: Mapping[str, tuple[int, ...]],
    classes: int,
) -> Control | None:
    """What of the memory devices get with the version."""
    for name in algorithm.publishes:
        return Control(*_parts(remembers[name].astype(np.float32), shapes, classes))
    return None
