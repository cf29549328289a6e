"""What every algorithm is: a record of pure functions, and the frozen values that they take and give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fanlight.core.tensors import TensorLayout
from fanlight.errors import ModelError
from fanlight.learning.algorithms.local import Local, plain

Vector = NDArray[np.float64]
Memory = Mapping[str, Vector]
NOTHING: Final[Memory] = MappingProxyType({})


@dataclass(frozen=True)
class State:
    """What the server knows between two rounds.

    Attributes:
        parameters: (d,) float64, read-only: the model.
        memory: (d,) vectors by name, read-only, that belong to this version of the model.
        rounds: applied so far.
    """

    parameters: Vector
    memory: Memory = field(default_factory=lambda: NOTHING)
    rounds: int = 0

    def moved(self, parameters: Vector, **memory: Vector) -> State:
        """The state after one more round.

        Raises:
            ModelError: a vector is not finite, or of another length; the old state stands.
        """
        return State(
            _fitting("the new model", parameters, self.parameters),
            MappingProxyType({name: _fitting(name, vector, self.parameters) for name, vector in memory.items()}),
            self.rounds + 1,
        )


@dataclass(frozen=True)
class Gathered:
    """What the sum of a round says.

    Attributes:
        mean: (d,), sum of n_k (update of k) divided by the sum of n_k.
        count: devices in the sum, at least 1.
        members: devices in the federation, at least ``count``; 0 = as many as in the sum.
        weight: sum of the n_k, above 0; 0 = as if each were 1.
        control: (d,), mean of the devices' changes of their control variates, each counting the same.
        steps: mean of what the devices said of their steps, weighted as the update.
    """

    mean: ArrayLike
    count: int = 1
    members: int = 0
    weight: float = 0.0
    control: ArrayLike | None = None
    steps: float | None = None

    @property
    def federation(self) -> int:
        """N, devices in the federation now."""
        return max(self.count, self.members)

    @property
    def summed_weight(self) -> float:
        """Σ n_k of the devices in the sum."""
        return self.weight or float(self.count)

    @property
    def federation_weight(self) -> float:
        """Σ n_k of the federation, if those in the sum are like the others."""
        return self.summed_weight * self.federation / self.count


AtHome = Callable[[TensorLayout, frozenset[str]], frozenset[str]]
"""Names of the tensors of a model that never leave a device: of its layout, and of which tensors are of normalisation.

Raises:
    SettingsError: the algorithm makes nothing of such a model.
"""


def nothing_at_home(_layout: TensorLayout, _normalisation: frozenset[str]) -> frozenset[str]:
    """Where all of a model is shared."""
    return frozenset()


@dataclass(frozen=True)
class Algorithm:
    """An algorithm with its parameters filled in.

    Attributes:
        init: the state before the first round, of (d,) parameters.
        apply: the state after one more round.
        local: what a device does in a round.
        control_clip: devices send the change of a control variate, of this L2 norm at most; 0 = they send none.
        sends_steps: do they say their numbers of steps?
        publishes: names in the server's memory that travel to the devices with the model.
        mirrors: does the server's memory sum up what devices remember? Then it must see all that they see.
        descents: how often ``local`` trains.
        at_home: which tensors of a model never leave a device.
        own: name, in what a device remembers, of the model that its home answers with; empty = with the global one.
        concurrency: devices that are at work at once, where the server waits for none of them but takes updates as they
            come; 0 = twice as many as it takes at once. None = it takes rounds.
    """

    init: Callable[[ArrayLike], State]
    apply: Callable[[State, Gathered], State]
    local: Local = plain
    control_clip: float = 0.0
    sends_steps: bool = False
    publishes: tuple[str, ...] = ()
    mirrors: bool = False
    descents: int = 1
    at_home: AtHome = nothing_at_home
    own: str = ""
    concurrency: int | None = None

    @property
    def is_plain_on_devices(self) -> bool:
        """Do devices just train and send the difference? Then they need not be told which algorithm it is."""
        return self.local is plain


def first(parameters: ArrayLike, *memory: str) -> State:
    """The state before the first round; what is remembered starts at zero.

    Raises:
        ModelError: not a vector of finite numbers.
    """
    start = frozen_vector("the model", parameters)
    return State(start, MappingProxyType({name: frozen_vector(name, np.zeros(start.size)) for name in memory}))


def frozen_vector(what: str, values: ArrayLike) -> Vector:
    """A read-only (d,) float64 copy; errors as in ``checked_vector``."""
    vector = checked_vector(what, np.array(values, np.float64))
    vector.setflags(write=False)
    return vector


def checked_vector(what: str, values: ArrayLike) -> Vector:
    """The (d,) values as float64, not copied where they are.

    Raises:
        ModelError: not one-dimensional, empty, or not finite.
    """
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ModelError(f"{what} of shape {vector.shape} is not a vector")
    if not np.isfinite(vector).all():
        raise ModelError(f"{what} holds numbers that are not finite")
    return vector


def mean_update(state: State, gathered: Gathered) -> Vector:
    """The mean of a round that fits the model; not copied.

    Raises:
        ModelError: it has another length, or is not finite.
    """
    return _of_length("the mean update", gathered.mean, state.parameters)


def mean_control(state: State, gathered: Gathered) -> Vector:
    """The mean change of control variates; errors as in ``mean_update``, and if the round has none."""
    if gathered.control is None:
        raise ModelError("the round has no control variates")
    return _of_length("the mean control variate", gathered.control, state.parameters)


def mean_steps(gathered: Gathered) -> float:
    """The mean of the devices' steps.

    Raises:
        ModelError: the round has none, or they are not positive.
    """
    if gathered.steps is None or not 0 < gathered.steps < np.inf:
        raise ModelError(f"the round has no number of steps, but {gathered.steps}")
    return gathered.steps


def _of_length(what: str, values: ArrayLike, like: Vector) -> Vector:
    vector = checked_vector(what, values)
    if vector.shape != like.shape:
        raise ModelError(f"{what} of {vector.size} numbers does not fit a model of {like.size}")
    return vector


def _fitting(what: str, vector: Vector, like: Vector) -> Vector:
    vector = _of_length(what, vector, like)
    vector.setflags(write=False)
    return vector
