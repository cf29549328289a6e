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
    best_epoch, best_loss = 0, math.inf
    history: list[EpochProgress] = []
    for epoch in range(1, settings.epochs + 1):
        train_loss, train_accuracy = run.epoch(sights, y, stream)
        valid_loss, valid_accuracy = _measure(run.head, vx, vy, weights)
        history.append(EpochProgress(epoch, settings.epochs, train_loss, train_accuracy, valid_loss, valid_accuracy))
        on_epoch(history[-1])
        if valid_loss is None or correction.to_the_end or valid_loss < best_loss:
            run.keep()
            best_epoch, best_loss = epoch, valid_loss if valid_loss is not None else math.inf
        elif epoch - best_epoch >= settings.patience:
            break
    return run.kept(history, best_epoch)


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


class _Run:
    """The moving weights and their velocity.

    All lies class by class here, weights (K, f) and scores (K, b): of 1,280 features and ten classes the two products
    of a step take two thirds and half as long as with (f, K). The bias lies behind the weights, so that one operation
    moves both.
    """

    def __init__(
        self, head: SoftmaxHead, settings: TrainingSettings, class_weights: Floats, correction: Correction
    ) -> None:
        self._settings = settings
        self._class_weights = class_weights
        self._features, self._classes = head.weight.shape
        self._moving = _joined(head)
        self._weight, self._bias = self._parts(self._moving)
        self._velocity = np.zeros_like(self._moving)
        self._step = np.empty_like(self._moving)
        self._step_of_weight, self._step_of_bias = self._parts(self._step)
        self._scratch = np.empty_like(self._weight)
        self._sum = np.zeros_like(self._moving) if correction.watch else None
        self._kept, self._kept_sum = np.empty_like(self._moving), np.zeros_like(self._moving)
        self._rate = np.float32(settings.learning_rate)
        self._decay = self._rate * np.float32(settings.l2)
        self._shift = None if correction.shift is None else self._rate * _joined(correction.shift)
        self._anchor = None if correction.anchor is None else _joined(correction.anchor)
        self._pull = self._rate * np.float32(correction.pull)
        self._still = [
            part
            for name, part in (("head.weight", self._step_of_weight), ("head.bias", self._step_of_bias))
            if name in correction.frozen
        ]
        self._steps = self._kept_steps = 0

    @property
    def head(self) -> SoftmaxHead:
        """As it is now: views."""
        return SoftmaxHead(self._weight.T, self._bias)

    def keep(self) -> None:
        """As it is now is how it may end."""
        np.copyto(self._kept, self._moving)
        if self._sum is not None:
            np.copyto(self._kept_sum, self._sum)
        self._kept_steps = self._steps

    def kept(self, history: Sequence[EpochProgress], best_epoch: int) -> TrainingResult:
        """As it was when it was kept last."""
        mean = None if self._sum is None else self._head(self._kept_sum / (self._rate * np.float32(self._kept_steps)))
        head = self._head(self._kept)
        return TrainingResult(head.weight, head.bias, tuple(history), best_epoch, self._kept_steps, mean)

    def epoch(self, sights: Sequence[Floats], y: Labels, stream: Keystream) -> tuple[float, float]:
        """One pass in random order; returns mean loss and accuracy along the way."""
        order, size = stream.permutation(y.size), self._settings.batch_size
        drawn = stream.uint32(y.size) % len(sights) if len(sights) > 1 else None
        labels, places = y[order], np.arange(y.size)
        weights = self._class_weights[labels]
        targets = np.zeros((self._classes, y.size), np.float32)
        targets[labels, places] = weights
        scores, totals = np.empty_like(targets), np.empty_like(weights)
        with np.errstate(over="ignore", invalid="ignore"):  # the outcome is looked at below
            for first in range(0, y.size, size):
                part = slice(first, first + size)
                batch = order[part]
                x = sights[0][batch] if drawn is None else np.stack([sights[drawn[i]][i] for i in batch])
                slopes = self._exponentials(x, scores[:, part], totals[part])
                slopes *= weights[part] / totals[part]
                slopes -= targets[:, part]
                slopes *= self._rate / np.float32(batch.size)
                self._move(slopes, x)
            loss = float(np.log(totals).sum(dtype=np.float64) - scores[labels, places].sum(dtype=np.float64))
        if not (math.isfinite(loss) and np.isfinite(self._moving).all()):
            raise ran_away()
        return loss / y.size, np.count_nonzero(scores.argmax(axis=0) == labels) / y.size

    def _exponentials(self, x: Floats, scores: Floats, totals: Floats) -> Floats:
        """(K, b) exp of scores less each picture's highest; ``scores`` gets these, ``totals`` each picture's sum.

        ``reduce`` itself in place of ``max`` and ``sum``: with so few numbers the way there takes as long.
        """
        np.matmul(self._weight, x.T, out=scores)
        scores += self._bias[:, None]
        scores -= np.maximum.reduce(scores, axis=0)
        exponentials: Floats = np.exp(scores)
        np.add.reduce(exponentials, axis=0, out=totals)
        return exponentials

    def _move(self, slopes: Floats, x: Floats) -> None:
        """A step; slopes are those of the loss by the scores, times the learning rate, which all else here has, too."""
        step = self._step
        np.matmul(slopes, x, out=self._step_of_weight)
        np.add.reduce(slopes, axis=1, out=self._step_of_bias)
        if self._decay:
            self._step_of_weight += np.multiply(self._weight, self._decay, out=self._scratch)
        if self._sum is not None:
            self._sum += step
        if self._shift is not None:
            step += self._shift
        if self._pull and self._anchor is not None:
            step += self._pull * (self._moving - self._anchor)
        for part in self._still:
            part[...] = 0
        self._velocity *= np.float32(self._settings.momentum)
        self._velocity -= step
        self._moving += self._velocity
        self._steps += 1

    def _parts(self, joined: Floats) -> tuple[Floats, Floats]:
        """(K, f) weight and (K,) bias: views."""
        end = self._classes * self._features
        return joined[:end].reshape(self._classes, self._features), joined[end:]

    def _head(self, joined: Floats) -> SoftmaxHead:
        weight, bias = self._parts(joined)
        return SoftmaxHead(np.ascontiguousarray(weight.T), bias.copy())


def _joined(head: SoftmaxHead) -> Floats:
    """((f + 1)K,) weight class by class, then the bias: a copy."""
    return np.concatenate([head.weight.T.reshape(-1), head.bias])
