"""The device's part of an algorithm: what it gets, what local training is to it, what it sends and keeps.

Local training is a function that is handed in, so that an algorithm reads like its pseudo-code::

    done = descend(Descent(received.parameters, pull=mu, anchor=received.parameters))

It minimises this device's own objective F by stochastic gradient descent from ``start``. To each gradient it adds

    shift + pull · (w - anchor),

which is the gradient of the terms that algorithms add to F: ⟨shift, w⟩ + pull/2 ‖w - anchor‖².
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Received:
    """What a device has of the global model.

    Attributes:
        parameters: (d,).
        layout: names and shapes of the tensors in it.
        memory: what the version carries beside it, by name, (d,) each.
        staleness: versions that were published since this one.
        normalisation: names of the tensors that belong to normalisation layers, whose statistics are of pictures.
    """

    parameters: _Vector
    layout: TensorLayout
    memory: Mapping[str, _Vector] = field(default_factory=lambda: MappingProxyType({}))
    staleness: int = 0
    normalisation: frozenset[str] = frozenset()

    def remembered(self, memory: Mapping[str, _Vector], name: str) -> _Vector:
        """A vector of a memory, or zeros where it is not in it yet, or of a model of another size."""
        vector = memory.get(name)
        return np.zeros_like(self.parameters) if vector is None or vector.size != self.parameters.size else vector


@dataclass(frozen=True)
class Descent:
    """One local training.

    Attributes:
        start: (d,), where it begins.
        shift: (d,), added to each gradient; None = nothing.
        pull: how strongly w is drawn to ``anchor``, (d,); 0 = not at all.
        frozen: names of tensors that stay as they are.
        watch: is the mean of the gradients wanted?
        to_the_end: is the last pass wanted, even if an earlier one did better on the device's validation pictures?
    """

    start: _Vector
    shift: _Vector | None = None
    pull: float = 0.0
    anchor: _Vector | None = None
    frozen: frozenset[str] = frozenset()
    watch: bool = False
    to_the_end: bool = False


@dataclass(frozen=True)
class Descended:
    """What a local training brought.

    Attributes:
        parameters: (d,), the local model.
        steps: gradient steps that led there, at least 1.
        momentum: of those steps, 0 to below 1.
        mean_gradient: (d,), mean over the steps of the gradient of F alone, if it was watched.
    """

    parameters: _Vector
    steps: int
    momentum: float = 0.0
    mean_gradient: _Vector | None = None


@dataclass(frozen=True)
class Outcome:
    """What a device has of its part in a round.

    Attributes:
        update: (d,), goes into the sum, clipped and weighted.
        own: (d,), the model that this home uses from now on.
        memory: what it will know in later rounds, if this one is released with its report, its update sent whole.
        follows: how far that goes with the update, by name: where the update is clipped, so is this (see ``as_sent``).
        control: (d,), change of its control variate; goes into the sum as it is.
        steps: what it says of its steps; goes into the sum, weighted.
    """

    update: _Vector
    own: _Vector
    memory: Mapping[str, _Vector] = field(default_factory=lambda: MappingProxyType({}))
    follows: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    control: _Vector | None = None
    steps: float | None = None


Descend = Callable[[Descent], Descended]
Local = Callable[[Received, Mapping[str, _Vector], Descend], Outcome]
"""The device's part: what it received, what it remembers, local training."""


def plain(received: Received, _memory: Mapping[str, _Vector], descend: Descend) -> Outcome:
    """Train from the global model, send the difference (McMahan et al. 1602.05629, ClientUpdate)."""
    local = descend(Descent(received.parameters)).parameters
    return Outcome(local - received.parameters, local)


def as_sent(
    memory: Mapping[str, _Vector], follows: Mapping[str, float], update: _Vector, share: float
) -> Mapping[str, _Vector]:
    """What a device knows in later rounds, where ``share`` (0 to 1) of the length of its (d,) update has been sent.

    The server has only that share of it; were the device to know the whole, the two would never agree again.
    """
    if share == 1.0:
        return memory
    return {
        name: vector + follows[name] * (share - 1.0) * update if name in follows else vector
        for name, vector in memory.items()
    }


def mixed(names: frozenset[str], received: Received, inside: _Vector, outside: _Vector) -> _Vector:
    """A (d,) vector: the tensors called ``names`` from ``inside``, the others from ``outside``."""
    if not names:
        return outside
    both = outside.copy()
    target, source = received.layout.views(both), received.layout.views(inside)
    for name in names:
        target[name][...] = source[name]
    return both
