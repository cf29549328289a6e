"""Softmax regression on frozen features, in NumPy: what a device does between two rounds.

The update rule is mini-batch gradient descent with momentum (Polyak's heavy ball) on

    mean over the batch of  c[y] * cross-entropy(softmax(x W + b), y)  +  l2/2 * |W|^2,

where c weighs the classes that occur among the training pictures, so that each of them counts the same: here, or, where
its counts are known, in the whole federation. A device of one class can do nothing by its own counts, and the sum of
such devices is as uneven as ever; by those of the federation, the sum of all devices' gradients is that of the balanced
loss over all pictures, however they are spread (docs/adr/0023). Classes that do not occur get no weight: they are none
of this device's business. A federated algorithm may add to the gradient, or have
tensors stand still (``Correction``; see ``algorithms.local``).

Rules:

1. Training starts from the head it is given, the current global one, never afresh.
2. Batch order comes from a device-private generator that is handed in: a predictable update could be isolated by
   comparing two cohorts.
3. Nothing that is not finite comes in or goes out.
4. The result is the epoch with the least loss on the validation split, whose classes weigh as in training; without one
   it is the last epoch, and so it is where an algorithm asks for that.
5. Where pictures come with variants (``augmentation``), each pass sees every picture once: itself or one of its
   variants, drawn from the same generator. Losses and accuracies count pictures; validation pictures have no variants.
6. ``on_epoch`` may raise: that is how a training is cancelled. Nothing outside has changed then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.errors import DataError, ModelError
from fanlight.learning.heads import Floats, Labels, SoftmaxHead, checked_examples, checked_head, log_softmax
from fanlight.learning.training_settings import TrainingSettings, weights_of


@dataclass(frozen=True)
class Correction:
    """What a federated algorithm asks of a training; by default nothing.

    Attributes:
        shift: added to each gradient.
        pull: with ``anchor``, pull·(w - anchor) is added to each gradient.
        frozen: names of tensors that stand still, of ``head.weight`` and ``head.bias``.
        watch: is the mean of the gradients, without what is added here, wanted?
        to_the_end: is the last epoch wanted, whatever validation says of it?
    """

    shift: SoftmaxHead | None = None
    pull: float = 0.0
    anchor: SoftmaxHead | None = None
    frozen: frozenset[str] = frozenset()
    watch: bool = False
    to_the_end: bool = False


_NONE = Correction()


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
    """weight (f, K) and bias (K,) float32 of ``best_epoch``, and every epoch that ran.

    ``steps`` led to the best epoch; ``mean_gradient`` is the mean over them, if it was watched.
    """

    weight: Floats
    bias: Floats
    history: tuple[EpochProgress, ...]
    best_epoch: int
    steps: int
    mean_gradient: SoftmaxHead | None


def ignore_progress(_: EpochProgress) -> None:
    """The ``on_epoch`` of those who do not watch."""


def train(  # noqa: PLR0913 one argument for each thing that a training depends on
    start: SoftmaxHead,
    train_x: NDArray[Any],
    train_y: NDArray[Any],
    valid_x: NDArray[Any],
    valid_y: NDArray[Any],
    settings: TrainingSettings,
    stream: Keystream,
    on_epoch: Callable[[EpochProgress], None] = ignore_progress,
    *,
    correction: Correction = _NONE,
    variants: Sequence[NDArray[Any]] = (),
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
        correction: what a federated algorithm asks of it.
        variants: of the training pictures, (n, f) each.

    Raises:
        DataError: no training pictures, shapes or labels that do not fit, or features that are not finite.
        ModelError: the start is no proper head, or training ran away (the learning rate is too high).
    """
    head = checked_head(start.weight, start.bias)
    x, y = checked_examples("training pictures", train_x, train_y, head)
    vx, vy = checked_examples("validation pictures", valid_x, valid_y, head)
    if y.size == 0:
        raise DataError("there are no training pictures", next="Label some pictures first.")
    varied = (checked_examples("variants of training pictures", sight, y, head)[0] for sight in variants)
    sights = (x, *varied)
    weights = class_weights_of(y, head.classes, settings)
    run = _Run(head, settings, weights, correction)
    best, best_epoch, best_loss = run.snapshot(), 0, math.inf
    history: list[EpochProgress] = []
    for epoch in range(1, settings.epochs + 1):
        train_loss, train_accuracy = run.epoch(sights, y, stream)
        valid_loss, valid_accuracy = _measure(run.head, vx, vy, weights)
        history.append(EpochProgress(epoch, settings.epochs, train_loss, train_accuracy, valid_loss, valid_accuracy))
        on_epoch(history[-1])
        if valid_loss is None or correction.to_the_end or valid_loss < best_loss:
            best, best_epoch, best_loss = run.snapshot(), epoch, valid_loss if valid_loss is not None else math.inf
        elif epoch - best_epoch >= settings.patience:
            break
    return TrainingResult(best.head.weight, best.head.bias, tuple(history), best_epoch, best.steps, best.mean_gradient)


def class_weights_of(y: Labels, classes: int, settings: TrainingSettings) -> Floats:
    """(K,) weights: 0 for classes that do not occur; their mean over the pictures, here or of all devices, is 1."""
    counts = np.bincount(y, minlength=classes)
    occurs = counts > 0
    if not settings.class_weights:
        return occurs.astype(np.float32)
    if settings.class_counts:
        if len(settings.class_counts) != classes:
            raise DataError(f"counts of {len(settings.class_counts)} classes, where there are {classes}")
        return np.where(occurs, weights_of(settings.class_counts), 0).astype(np.float32)
    weights = np.zeros(classes, np.float32)
    weights[occurs] = y.size / (int(occurs.sum()) * counts[occurs])
    return weights


def validation_weights(y: Labels, class_weights: Floats) -> NDArray[np.float64]:
    """(m,) by which validation pictures count in the loss that training stops by: as in training, their mean is 1.

    Where training knows none of their classes, all count alike: what they say is all there is to stop by.
    """
    weights = class_weights[y].astype(np.float64)
    total = float(weights.sum())
    return weights * (y.size / total) if total else np.ones(y.size)


def _measure(head: SoftmaxHead, x: Floats, y: Labels, class_weights: Floats) -> tuple[float | None, float | None]:
    if y.size == 0:
        return None, None
    logarithms = log_softmax(head.logits(x))
    loss = -float((validation_weights(y, class_weights) * logarithms[np.arange(y.size), y]).mean())
    if not math.isfinite(loss):
        raise ran_away()
    return loss, float((logarithms.argmax(axis=1) == y).mean())


def ran_away() -> ModelError:
    """What a training ends with whose numbers are not finite any more."""
    return ModelError(
        "training ran away: the weights are not finite", next="Lower the learning rate in the task's plan."
    )


@dataclass(frozen=True)
class _Snapshot:
    head: SoftmaxHead
    steps: int
    mean_gradient: SoftmaxHead | None


class _Run:
    """The moving weights and their velocity.

    Weights lie class by class here, (K, f): of 1,280 features and ten classes the two products of a step take two
    thirds and half as long as with (f, K).
    """

    def __init__(
        self, head: SoftmaxHead, settings: TrainingSettings, class_weights: Floats, correction: Correction
    ) -> None:
        self._settings = settings
        self._class_weights = class_weights
        self._weight, self._bias = np.ascontiguousarray(head.weight.T), head.bias
        self._velocity = np.zeros_like(self._weight), np.zeros_like(self._bias)
        self._gradient = np.empty_like(self._weight)
        self._scratch = np.empty_like(self._weight)
        self._sums = (np.zeros_like(self._weight), np.zeros_like(self._bias)) if correction.watch else None
        self._pull = np.float32(correction.pull if correction.anchor is not None else 0.0)
        self._shift, self._anchor = _transposed(correction.shift), _transposed(correction.anchor)
        self._frozen = correction.frozen
        self._steps = 0

    @property
    def head(self) -> SoftmaxHead:
        """As it is now: views."""
        return SoftmaxHead(self._weight.T, self._bias)

    def snapshot(self) -> _Snapshot:
        """As it is now, for good."""
        mean = None
        if self._sums is not None:
            count = np.float32(max(self._steps, 1))
            weight, bias = self._sums
            mean = SoftmaxHead(np.ascontiguousarray(weight.T) / count, bias / count)
        return _Snapshot(SoftmaxHead(np.ascontiguousarray(self._weight.T), self._bias.copy()), self._steps, mean)

    def epoch(self, sights: Sequence[Floats], y: Labels, stream: Keystream) -> tuple[float, float]:
        """One pass in random order; returns mean loss and accuracy along the way."""
        order, size = stream.permutation(y.size), self._settings.batch_size
        drawn = stream.uint32(y.size) % len(sights) if len(sights) > 1 else None
        labels, rows = y[order], np.arange(y.size)
        weights = self._class_weights[labels][:, None]
        targets = np.zeros((y.size, self._bias.size), np.float32)
        targets[rows, labels] = weights[:, 0]
        scores, totals = np.empty_like(targets), np.empty_like(weights)
        with np.errstate(over="ignore", invalid="ignore"):  # the outcome is looked at below
            for first in range(0, y.size, size):
                part = slice(first, first + size)
                batch = order[part]
                x = sights[0][batch] if drawn is None else np.stack([sights[drawn[i]][i] for i in batch])
                slopes = self._exponentials(x, scores[part], totals[part])
                slopes *= weights[part] / totals[part]
                slopes -= targets[part]
                slopes *= np.float32(1 / batch.size)
                self._move(np.matmul(slopes.T, x, out=self._gradient), np.add.reduce(slopes, axis=0))
            loss = float(np.log(totals).sum(dtype=np.float64) - scores[rows, labels].sum(dtype=np.float64))
        if not (math.isfinite(loss) and np.isfinite(self._weight).all() and np.isfinite(self._bias).all()):
            raise ran_away()
        return loss / y.size, np.count_nonzero(scores.argmax(axis=1) == labels) / y.size

    def _exponentials(self, x: Floats, scores: Floats, totals: Floats) -> Floats:
        """(b, K) exp of scores less the highest of each row; ``scores`` gets these, ``totals`` the sums of rows.

        ``reduce`` itself in place of ``max`` and ``sum``: with so few numbers the way there takes as long.
        """
        np.matmul(x, self._weight.T, out=scores)
        scores += self._bias
        scores -= np.maximum.reduce(scores, axis=1, keepdims=True)
        exponentials: Floats = np.exp(scores)
        np.add.reduce(exponentials, axis=1, keepdims=True, out=totals)
        return exponentials

    def _move(self, weight: Floats, bias: Floats) -> None:
        """A step against a gradient, which is overwritten."""
        settings, scratch = self._settings, self._scratch
        if settings.l2:
            weight += np.multiply(self._weight, np.float32(settings.l2), out=scratch)
        if self._sums is not None:
            self._sums[0][...] += weight
            self._sums[1][...] += bias
        if self._shift is not None:
            weight += self._shift[0]
            bias += self._shift[1]
        if self._pull and self._anchor is not None:
            weight += self._pull * (self._weight - self._anchor[0])
            bias += self._pull * (self._bias - self._anchor[1])
        if "head.weight" not in self._frozen:
            self._descend(self._weight, self._velocity[0], weight)
        if "head.bias" not in self._frozen:
            self._descend(self._bias, self._velocity[1], bias)
        self._steps += 1

    def _descend(self, moving: Floats, velocity: Floats, gradient: Floats) -> None:
        velocity *= np.float32(self._settings.momentum)
        gradient *= np.float32(self._settings.learning_rate)
        velocity -= gradient
        moving += velocity


def _transposed(head: SoftmaxHead | None) -> tuple[Floats, Floats] | None:
    """Weight class by class, and bias."""
    return None if head is None else (np.ascontiguousarray(head.weight.T), head.bias)
