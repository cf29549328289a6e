"""Training of a head and the last layers of its backbone, in PyTorch, as what federated algorithms call ``descend``.

Needs the extra ``torch``; nothing else imports it. The rule is that of ``training``: mini-batches with momentum
(Polyak's heavy ball) on the same objective, with the same rules 1 to 5. What differs:

- The gradient goes through the backbone's tail, node by node as the graph has it, into the convolutions.
- The backbone has a step length of its own. Weight decay is the head's alone: to draw convolutions towards zero would
  undo what they came with.
- A home's own normalisation (``BatchNorm.LOCAL``) is by each batch's statistics while training, and by their running
  means (PyTorch's momentum 0.1) otherwise. A batch of one picture has none and goes by the running means. One that is
  as the federation has it is first made this home's: it gets mean and deviation of what the convolution gives on the
  training pictures as statistics *and* as scale and shift, so that the home starts from the very function it received.

It works on one thread: those of OpenMP wait by spinning, which on cores that are shared took 70 times as long. So equal
inputs give equal bits on one machine, for nothing is drawn but the order of the batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from fanlight.core.randomness import Keystream
from fanlight.core.tensors import TensorLayout
from fanlight.errors import DataError
from fanlight.learning.algorithms.local import Descended, Descent
from fanlight.learning.heads import Floats, Labels
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT
from fanlight.learning.onnx_reading import Node
from fanlight.learning.training import EpochProgress, class_weights_of, ignore_progress, ran_away, validation_weights
from fanlight.learning.training_settings import TrainingSettings
from fanlight.learning.tuned_backbone import EPSILON, NORM, PREFIX, Cut, neutral, normalised

Tensor = Any
Vector = NDArray[np.float64]

_MOMENTUM_OF_MEANS: Final = 0.1
_BATCH: Final = 64
"""Pictures at once where nothing is learned."""
_STATISTICS: Final = ("running_mean", "running_var")


@dataclass(frozen=True)
class TorchDescent:
    """Local training on one device's pictures.

    Attributes:
        cut: the backbone, and what of it learns. layout: of the model, see ``HeadModel.layout``.
        size: pictures' side in pixels.
        train_x, valid_x: (n, C·h·w) float32, activations at the cut. train_y, valid_y: (n,) labels.
        settings: how; its step length is the head's. learning_rate: the backbone's step length.
        stream, on_epoch, variants: see ``training.train``; variants are activations, too.
    """

    cut: Cut
    layout: TensorLayout
    size: int
    train_x: Floats
    train_y: Labels
    valid_x: Floats
    valid_y: Labels
    settings: TrainingSettings
    learning_rate: float
    stream: Keystream
    on_epoch: Callable[[EpochProgress], None] = ignore_progress
    variants: Sequence[Floats] = ()

    def __call__(self, descent: Descent) -> Descended:
        """Train; errors as in ``training.train``."""
        if self.train_y.size == 0:
            raise DataError("there are no training pictures", next="Label some pictures first.")
        torch.set_num_threads(1)
        with torch.no_grad():
            return self._train(_Run(self, descent), to_the_end=descent.to_the_end)

    def _train(self, run: _Run, *, to_the_end: bool) -> Descended:
        run.make_normalisation_own()
        best, best_epoch, best_loss = run.snapshot(), 0, math.inf
        for epoch in range(1, self.settings.epochs + 1):
            train_loss, train_accuracy = run.epoch()
            valid_loss, valid_accuracy = run.measure()
            progress = (train_loss, train_accuracy, valid_loss, valid_accuracy)
            self.on_epoch(EpochProgress(epoch, self.settings.epochs, *progress))
            if valid_loss is None or to_the_end or valid_loss < best_loss:
                best, best_epoch, best_loss = run.snapshot(), epoch, math.inf if valid_loss is None else valid_loss
            elif epoch - best_epoch >= self.settings.patience:
                break
        return best


class _Run:
    """The moving tensors and their velocity."""

    def __init__(self, of: TorchDescent, descent: Descent) -> None:
        self._of = of
        self._descent = descent
        self._steps = 0
        self._tensors = self._split(descent.start)
        self._shift = {} if descent.shift is None else self._split(descent.shift)
        self._anchor = {} if descent.anchor is None or not descent.pull else self._split(descent.anchor)
        self._learning = [name for name in self._tensors if self._learns(name)]
        self._velocity = {name: torch.zeros_like(self._tensors[name]) for name in self._learning}
        self._gradients = {name: torch.zeros_like(x) for name, x in self._tensors.items()} if descent.watch else None
        self._class_weights = torch.from_numpy(
            class_weights_of(of.train_y, self._tensors["head.bias"].numel(), of.settings)
        )

    def snapshot(self) -> Descended:
        """The model as it is now."""
        mean = None
        if self._gradients is not None:
            mean = self._vector({name: x / max(self._steps, 1) for name, x in self._gradients.items()})
        return Descended(self._vector(self._tensors), max(self._steps, 1), self._of.settings.momentum, mean)

    def epoch(self) -> tuple[float, float]:
        """One pass in an order of its own; mean loss and accuracy along the way."""
        of, loss, correct = self._of, 0.0, 0
        order, sights = of.stream.permutation(of.train_y.size), (of.train_x, *of.variants)
        drawn = of.stream.uint32(order.size) % len(sights) if of.variants else None
        for first in range(0, order.size, of.settings.batch_size):
            batch = order[first : first + of.settings.batch_size]
            rows = of.train_x[batch] if drawn is None else np.stack([sights[drawn[i]][i] for i in batch])
            batch_loss, batch_correct = self._step(self._activations(rows), of.train_y[batch])
            loss += batch_loss
            correct += batch_correct
        if not (math.isfinite(loss) and all(bool(torch.isfinite(x).all()) for x in self._tensors.values())):
            raise ran_away()
        return loss / order.size, correct / order.size

    def measure(self) -> tuple[float | None, float | None]:
        """Mean loss, classes weighing as in training, and accuracy on the validation pictures, if there are any."""
        of, loss, correct = self._of, 0.0, 0
        if of.valid_y.size == 0:
            return None, None
        weights = torch.from_numpy(validation_weights(of.valid_y, self._class_weights.numpy()))
        for first, x in self._batches(of.valid_x):
            y = torch.from_numpy(of.valid_y[first : first + len(x)])
            logits = self._logits(x, training=False)
            losses = functional.cross_entropy(logits, y, reduction="none")
            loss += float((weights[first : first + len(x)] * losses).sum())
            correct += int((logits.argmax(dim=1) == y).sum())
        if not math.isfinite(loss):
            raise ran_away()
        return loss / of.valid_y.size, correct / of.valid_y.size

    def make_normalisation_own(self) -> None:
        """See the module's text; does nothing where there is none, or where it is this home's already."""
        found: dict[str, Tensor] = {}
        fresh = [node for node in self._of.cut.convolutions if self._is_neutral(normalised(node))]
        for _, x in self._batches(self._of.train_x) if fresh else ():
            values = self._forward(x, training=False)
            for node in fresh:
                y = values[_before_norm(node)].double()
                counted = torch.full((y.shape[1],), y.numel() / y.shape[1], dtype=y.dtype)
                found[node.output] = found.get(node.output, 0.0) + torch.stack(
                    [counted, y.sum((0, 2, 3)), (y * y).sum((0, 2, 3))]
                )
        for node in fresh:
            count, total, squares = found[node.output]
            mean = total / count
            variance = (squares / count - mean * mean).clamp(min=0)
            parts = ((variance + EPSILON).sqrt(), mean, mean, variance)
            for part, values_of in zip(NORM, parts, strict=True):
                self._tensors[normalised(node) + part].copy_(values_of)

    def _is_neutral(self, name: str) -> bool:
        if name + NORM[0] not in self._tensors:
            return False
        parts = neutral(name, self._tensors[name + NORM[0]].numel())
        return all(bool((self._tensors[part] == torch.from_numpy(x)).all()) for part, x in parts.items())

    def _step(self, x: Tensor, labels: Labels) -> tuple[float, int]:
        settings, y = self._of.settings, torch.from_numpy(labels)
        with torch.enable_grad():
            learning = [self._tensors[name].requires_grad_() for name in self._learning]
            logits, weight = self._logits(x, training=True), self._tensors["head.weight"]
            losses = functional.cross_entropy(logits, y, reduction="none")
            objective = (self._class_weights[y] * losses).mean() + settings.l2 / 2 * (weight * weight).sum()
            gradients = torch.autograd.grad(objective, learning)
        for name, gradient in zip(self._learning, gradients, strict=True):
            self._move(name, gradient)
        self._steps += 1
        return float(losses.double().sum()), int((logits.argmax(dim=1) == y).sum())

    def _move(self, name: str, gradient: Tensor) -> None:
        settings, tensor, velocity = self._of.settings, self._tensors[name], self._velocity[name]
        if self._gradients is not None:
            self._gradients[name] += gradient
        if name in self._shift:
            gradient = gradient + self._shift[name]
        if name in self._anchor:
            gradient = gradient + self._descent.pull * (tensor - self._anchor[name])
        step = self._of.learning_rate if name.startswith(PREFIX) else settings.learning_rate
        velocity.mul_(settings.momentum).sub_(step * gradient)
        tensor.add_(velocity)

    def _logits(self, x: Tensor, *, training: bool) -> Tensor:
        features = self._forward(x, training=training)[FEATURES_OUTPUT]
        return features @ self._tensors["head.weight"] + self._tensors["head.bias"]

    def _forward(self, x: Tensor, *, training: bool) -> dict[str, Tensor]:
        """All values of the tail, by name."""
        cut = self._of.cut
        values: dict[str, Tensor] = {cut.value: x}

        def value(name: str) -> Tensor:
            if name in values:
                return values[name]
            learned = self._tensors.get(PREFIX + name)
            return torch.tensor(cut.contents.constants[name]) if learned is None else learned

        for node in cut.tail:
            y = _OPERATORS[node.operator](node, *map(value, node.inputs))
            if node.operator == "Conv":
                values[_before_norm(node)] = y
                y = self._normalise(node, y, training=training and len(x) > 1)
            values[node.output] = y
        return values

    def _normalise(self, node: Node, y: Tensor, *, training: bool) -> Tensor:
        name = normalised(node)
        if name + NORM[0] not in self._tensors:
            return y
        gamma, beta, mean, variance = (self._tensors[name + part] for part in NORM)
        training = training and name + NORM[2] not in self._descent.frozen
        return functional.batch_norm(y, mean, variance, gamma, beta, training, _MOMENTUM_OF_MEANS, EPSILON)

    def _activations(self, rows: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows)).reshape(-1, *self._of.cut.shape(self._of.size))

    def _batches(self, rows: Floats) -> Iterator[tuple[int, Tensor]]:
        """Pictures of some batches, and the place of the first one."""
        for first in range(0, len(rows), _BATCH):
            yield first, self._activations(rows[first : first + _BATCH])

    def _learns(self, name: str) -> bool:
        return not name.endswith(_STATISTICS) and name not in self._descent.frozen

    def _split(self, vector: Vector) -> dict[str, Tensor]:
        return {name: torch.from_numpy(x.copy()) for name, x in self._of.layout.unflatten(vector).items()}

    def _vector(self, tensors: Mapping[str, Tensor]) -> Vector:
        return self._of.layout.flatten({name: x.detach().numpy() for name, x in tensors.items()})


def _before_norm(node: Node) -> str:
    return f"{node.output}, not normalised"


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    stride, groups, padding = node.attributes["strides"], node.attributes["group"], node.attributes.get("pads")
    if isinstance(padding, tuple):  # the same on both sides, as PyTorch does it
        return functional.conv2d(x, weight, bias, stride, padding[:2], 1, groups)
    assert isinstance(stride, tuple)
    sides: list[int] = []  # TensorFlow's "SAME": of the last axis first
    for length, kernel, step in zip(reversed(x.shape), reversed(weight.shape[2:]), reversed(stride), strict=False):
        total = max((-(-length // step) - 1) * step + kernel - length, 0)
        sides += [total // 2, total - total // 2]
    return functional.conv2d(functional.pad(x, sides), weight, bias, stride, 0, 1, groups)


_OPERATORS: Final[Mapping[str, Callable[..., Tensor]]] = {
    "Conv": _conv,
    "Clip": lambda _, x, low, high: torch.clamp(x, low, high),
    "Add": lambda _, x, y: x + y,
    "Mul": lambda _, x, y: x * y,
    "Sub": lambda _, x, y: x - y,
    "GlobalAveragePool": lambda _, x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda _, x: x.flatten(1),
    "Concat": lambda node, *parts: torch.cat(parts, dim=node.attributes["axis"]),
}
"""What a tail may have in it; see ``tuned_backbone``."""
