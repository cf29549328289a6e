"""Softmax regression on frozen features, in NumPy: what a device does between two rounds.

The update rule is mini-batch gradient descent with momentum (Polyak's heavy ball) on

    mean over the batch of  c[y] * cross-entropy(softmax(x W + b), y)  +  l2/2 * |W|^2,

where c weighs the classes that occur among the training pictures, so that each of them counts the same. Classes that do
not occur get no weight: they are none of this device's business.

Rules:

1. Training starts from the head it is given, the current global one, never afresh.
2. Batch order comes from a device-private generator that is handed in: a predictable update could be isolated by
   comparing two cohorts.
3. Nothing that is not finite comes in or goes out.
4. The result is the epoch with the least loss on the validation split; without one it is the last epoch.
5. ``on_epoch`` may raise: that is how a training is cancelled. Nothing outside has changed then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.errors import DataError, ModelError, SettingsError
from fanlight.learning.heads import Floats, Labels, SoftmaxHead, checked_examples, checked_head, log_softmax


@dataclass(frozen=True)
class TrainingSettings:
    """How a device trains in one round; part of the plan that the whole federation shares.

    The defaults were chosen for 1,280 standardised features. Two devices with different classes pull the head apart:
    at a learning rate of 0.003 ``digits`` gets worse from round to round (.84 to .65 in ten), at 0.001 it gets better
    (.83 to .89; .90 after twenty), and homes with alike pictures need no more than three rounds.

    Attributes:
        epochs: most passes over the training pictures, 1 to 1,000.
        batch_size: pictures a step, 1 to 4,096.
        learning_rate: step length, above 0, at most 10; meant for features of mean 0 and deviation 1.
        momentum: 0 to below 1.
        l2: weight decay towards zero on ``weight`` (not on ``bias``), 0 to 10.
        patience: epochs without a better validation loss after which training stops, 1 to 1,000.
        class_weights: whether each class that occurs counts the same, however many pictures it has.

    Raises:
        SettingsError: a value is out of range.
    """

    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.001
    momentum: float = 0.9
    l2: float = 1e-3
    patience: int = 3
    class_weights: bool = True

    def __post_init__(self) -> None:
        _within("epochs", self.epochs, 1, 1000)
        _within("batch_size", self.batch_size, 1, 4096)
        _within("learning_rate", self.learning_rate, 1e-9, 10.0)
        _within("momentum", self.momentum, 0.0, 0.9999)
        _within("l2", self.l2, 0.0, 10.0)
        _within("patience", self.patience, 1, 1000)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for NaN too
        raise SettingsError(f"training setting {name} = {value} is not within {low} to {high}")


@dataclass(frozen=True)
class EpochProgress:
    """One finished epoch, 1 to ``epochs``; losses in nats a picture, accuracies as fractions.

    The training figures were gathered while the weights moved; the validation figures hold for the epoch's end and are
    None without validation pictures.
    """

    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None


@dataclass(frozen=True)
class TrainingResult:
    """weight (f, K) and bias (K,) float32 of ``best_epoch``, and every epoch that ran."""

    weight: Floats
    bias: Floats
    history: tuple[EpochProgress, ...]
    best_epoch: int


def ignore_progress(_: EpochProgress) -> None:
    """The ``on_epoch`` of those who do not watch."""


def train(
    start: SoftmaxHead,
    train_x: NDArray[Any],
    train_y: NDArray[Any],
    valid_x: NDArray[Any],
    valid_y: NDArray[Any],
    settings: TrainingSettings,
    stream: Keystream,
    on_epoch: Callable[[EpochProgress], None] = ignore_progress,
) -> TrainingResult:
    """Train a head further on one device's pictures.

    Args:
        start: the head to start from; not changed.
        train_x: (n, f) float32, n at least 1.
        train_y: (n,) labels, 0 to K-1.
        valid_x: (m, f) float32, m may be 0.
        valid_y: (m,) labels.
        settings: how.
        stream: device-private generator for the batch order.
        on_epoch: called after each epoch; whatever it raises ends the training and passes through.

    Raises:
        DataError: no training pictures, shapes or labels that do not fit, or features that are not finite.
        ModelError: the start is no proper head, or training ran away (the learning rate is too high).
    """
    head = checked_head(start.weight, start.bias)
    x, y = checked_examples("training pictures", train_x, train_y, head)
    vx, vy = checked_examples("validation pictures", valid_x, valid_y, head)
    if y.size == 0:
        raise DataError("there are no training pictures", next="Label some pictures first.")
    run = _Descent(head, settings, _class_weights(y, head.classes, settings.class_weights))
    best, best_epoch, best_loss = head, 0, math.inf
    history: list[EpochProgress] = []
    for epoch in range(1, settings.epochs + 1):
        train_loss, train_accuracy = run.epoch(x, y, stream.permutation(y.size))
        valid_loss, valid_accuracy = _measure(run.head, vx, vy)
        history.append(EpochProgress(epoch, settings.epochs, train_loss, train_accuracy, valid_loss, valid_accuracy))
        on_epoch(history[-1])
        if valid_loss is None or valid_loss < best_loss:
            best, best_epoch, best_loss = run.snapshot(), epoch, valid_loss if valid_loss is not None else math.inf
        elif epoch - best_epoch >= settings.patience:
            break
    return TrainingResult(best.weight, best.bias, tuple(history), best_epoch)


def _class_weights(y: Labels, classes: int, balanced: bool) -> Floats:
    """(K,) weights: 0 for classes that do not occur; their mean over the pictures is 1."""
    counts = np.bincount(y, minlength=classes)
    occurs = counts > 0
    if not balanced:
        return occurs.astype(np.float32)
    weights = np.zeros(classes, np.float32)
    weights[occurs] = y.size / (int(occurs.sum()) * counts[occurs])
    return weights


def _measure(head: SoftmaxHead, x: Floats, y: Labels) -> tuple[float | None, float | None]:
    if y.size == 0:
        return None, None
    logarithms = log_softmax(head.logits(x))
    loss = -float(logarithms[np.arange(y.size), y].mean(dtype=np.float64))
    if not math.isfinite(loss):
        raise _ran_away()
    return loss, float((logarithms.argmax(axis=1) == y).mean())


def _ran_away() -> ModelError:
    return ModelError(
        "training ran away: the weights are not finite", next="Lower the learning rate in the task's plan."
    )


class _Descent:
    """The moving weights and their velocity."""

    def __init__(self, head: SoftmaxHead, settings: TrainingSettings, class_weights: Floats) -> None:
        self.head = head
        self._settings = settings
        self._class_weights = class_weights
        self._weight_velocity = np.zeros_like(head.weight)
        self._bias_velocity = np.zeros_like(head.bias)

    def snapshot(self) -> SoftmaxHead:
        return SoftmaxHead(self.head.weight.copy(), self.head.bias.copy())

    def epoch(self, x: Floats, y: Labels, order: NDArray[np.intp]) -> tuple[float, float]:
        """One pass in the given order; returns mean loss and accuracy along the way."""
        loss, correct = 0.0, 0
        for first in range(0, y.size, self._settings.batch_size):
            batch = order[first : first + self._settings.batch_size]
            batch_loss, batch_correct = self._step(x[batch], y[batch])
            loss += batch_loss
            correct += batch_correct
        if not (math.isfinite(loss) and np.isfinite(self.head.weight).all() and np.isfinite(self.head.bias).all()):
            raise _ran_away()
        return loss / y.size, correct / y.size

    def _step(self, x: Floats, y: Labels) -> tuple[float, int]:
        settings, rows = self._settings, np.arange(y.size)
        with np.errstate(over="ignore", invalid="ignore"):  # ``epoch`` looks at the outcome
            logarithms = log_softmax(self.head.logits(x))
            slope = np.exp(logarithms)
            slope[rows, y] -= 1.0
            slope *= (self._class_weights[y] / y.size)[:, None]
            self._weight_velocity *= settings.momentum
            self._weight_velocity -= settings.learning_rate * (x.T @ slope + settings.l2 * self.head.weight)
            self._bias_velocity *= settings.momentum
            self._bias_velocity -= settings.learning_rate * slope.sum(axis=0)
            self.head.weight[...] += self._weight_velocity
            self.head.bias[...] += self._bias_velocity
        return -float(logarithms[rows, y].sum(dtype=np.float64)), int((logarithms.argmax(axis=1) == y).sum())
