"""Federated averaging in a hundred readable lines, and the same by the package: the models are equal, bit for bit.

    python examples/fedavg_by_hand.py

Twenty devices have pictures of mostly different classes. In each round they train a softmax regression further from the
global one, and the global model moves by the mean of what they learned, each weighing as many pictures as it has
(McMahan et al. 2017, 1602.05629). What a paper leaves out is here, too: an update is clipped, and rounded at random
to integers before it is added up, so that the sum could be made under masks, and is the same in whatever order.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core.adaptive_clip import next_clip
from fanlight.core.quantise import clip, quantise
from fanlight.core.randomness import Keystream
from fanlight.core.segments import quantisation_steps, update_scale
from fanlight.simulation import Data, Study, simulate
from fanlight.simulation.cheats import Cheats
from fanlight.simulation.population import Population, divide
from fanlight.simulation.seeds import stream

Array = NDArray[Any]
CLASSES, FEATURES = 4, 12
STUDY = Study.of(
    {
        "partition": "dirichlet:0.3",
        "devices": 20,
        "rounds": 5,
        "valid_percent": 0,
        "training": {"learning_rate": 0.05, "epochs": 2},
    }
)


def make_data(examples: int = 600) -> Data:
    """Clouds around four corners of a cube of twelve dimensions."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, CLASSES, examples)
    return Data.of(generator.standard_normal((examples, FEATURES)) + 2 * np.eye(CLASSES, FEATURES)[y], y)


def train(weights: Array, bias: Array, x: Array, y: Array, order_of: Keystream) -> tuple[Array, Array]:
    """Local training: mini-batch gradient descent with momentum on softmax regression, each class counting the same."""
    how = STUDY.training
    counts = np.bincount(y, minlength=CLASSES)
    class_weights = np.zeros(CLASSES, np.float32)
    class_weights[counts > 0] = y.size / ((counts > 0).sum() * counts[counts > 0])
    weights, bias = weights.copy(), bias.copy()
    weight_velocity, bias_velocity = np.zeros_like(weights), np.zeros_like(bias)
    for _ in range(how.epochs):
        order = order_of.permutation(y.size)
        for first in range(0, y.size, how.batch_size):
            batch = order[first : first + how.batch_size]
            logits = x[batch] @ weights + bias
            slope = np.exp(logits - logits.max(axis=1, keepdims=True))
            slope /= slope.sum(axis=1, keepdims=True)
            slope[np.arange(batch.size), y[batch]] -= 1.0
            slope *= (class_weights[y[batch]] / batch.size)[:, None]
            weight_velocity *= how.momentum
            weight_velocity -= how.learning_rate * (x[batch].T @ slope + how.l2 * weights)
            bias_velocity *= how.momentum
            bias_velocity -= how.learning_rate * slope.sum(axis=0)
            weights += weight_velocity
            bias += bias_velocity
    return weights, bias


def one_round(number: int, model: Array, bound: float, devices: Population) -> tuple[Array, float]:
    """The next global model, and the next bound on the length of an update."""
    weights, bias = model[:-CLASSES].reshape(FEATURES, CLASSES), model[-CLASSES:]
    most = devices.most_pictures
    levels = quantisation_steps(STUDY.n_max)
    scale = Fraction(*update_scale(levels, round(bound * 1e6)))  # integer levels for each unit of an update
    total, pictures, within = np.zeros(model.size, np.int64), 0, 0
    for device in range(STUDY.devices):
        own = devices.train(device)
        local = train(weights, bias, own.x, own.y, stream(STUDY.seed, "training", device, number))
        update = np.concatenate([part.ravel() for part in local]).astype(np.float64) - model
        clipped = clip(update, bound)
        rounding = stream(STUDY.seed, "rounding", device, number)
        total += quantise(clipped.vector, scale, -levels, levels, rounding, weight=own.y.size / most)
        pictures += own.y.size
        within += clipped.within
    mean = total * (most * scale.denominator / scale.numerator / pictures)
    after = (model.astype(np.float64) + mean).astype(np.float32)
    return after, round(next_clip(bound, within / STUDY.devices) * 1e6) / 1e6


def by_hand(data: Data) -> Array:
    """All rounds."""
    devices = divide(STUDY, data, Cheats())
    model, bound = np.zeros((FEATURES + 1) * CLASSES, np.float32), STUDY.clip
    for number in range(1, STUDY.rounds + 1):
        model, bound = one_round(number, model, bound, devices)
        scores = devices.test.x @ model[:-CLASSES].reshape(FEATURES, CLASSES) + model[-CLASSES:]
        print(f"round {number}: {(scores.argmax(axis=1) == devices.test.y).mean():.3f} of the held-out examples right")
    return model


if __name__ == "__main__":
    examples = make_data()
    mine, theirs = by_hand(examples), simulate(STUDY, examples, engine="inline").parameters
    print("the package makes the same model" if np.array_equal(mine, theirs) else "the package makes another model")
    sys.exit(not np.array_equal(mine, theirs))
