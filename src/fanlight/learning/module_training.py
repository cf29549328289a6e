"""Training of a whole ``torch.nn.Module`` of somebody's own, as what federated algorithms call ``descend``.

The module needs nothing of Fanlight's: it takes (n, …) float32 and gives (n, K) logits. All its parameters, and buffers
of floating point such as the running statistics of batch norm, lie in one vector, in the order of its own names; a
parameter is a view of it, so that to load a model is to copy one vector. The rule is that of ``training``, and so are
its settings; what a module draws by itself, as dropout does, follows from the device's generator too.

What it takes on one core (measured in benchmarks/simulation.py):

1. *Channels last.* Convolutions and above all pooling are faster with channels side by side; for one channel PyTorch
   takes both layouts for the same and chooses the slow one, unless the strides say otherwise.
2. *No pages given back.* glibc returns large blocks to the system and takes them again in every step (``mallopt``).
3. *One gather an epoch*, of all examples in their order; batches are slices of it.
4. *Gradients as a list*, and one fused step over all parameters, without an optimiser object and its state.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.errors import DataError, ModelError, SettingsError
from fanlight.learning.algorithms.local import Descended, Descent
from fanlight.learning.evaluation import LOSS_CAP, Counts
from fanlight.learning.training import class_weights_of, ran_away, validation_weights
from fanlight.learning.training_settings import TrainingSettings

_AT_ONCE: Final = 256
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE: Final = 32 << 20
_MOST: Final = 2**31 - 1
_SEEDS: Final = 1 << 62

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class Network:
    """A module whose state is one vector; ``first`` is that of the beginning.

    ``normalisation`` names the tensors that belong to batch normalisation, by the type of their module: what FedBN
    means. Layer and group normalisation keep no statistics of pictures, and are not among them.

    Args:
        module: the user's.

    Raises:
        ModelError: it is no module, has no parameters, or some that are not float32.
    """

    def __init__(self, module: Any) -> None:
        import torch

        if not isinstance(module, torch.nn.Module):
            raise ModelError(f"the factory made a {type(module).__name__}, not a torch.nn.Module")
        self.module = module.to(memory_format=torch.contiguous_format)
        named = list(module.named_parameters())
        buffers = [(name, each) for name, each in module.named_buffers() if each.dtype.is_floating_point]
        if not named or any(each.dtype != torch.float32 for _, each in [*named, *buffers]):
            raise ModelError("a module has parameters, and all are float32")
        self.parameters = [each for _, each in named]
        self.names = tuple(name for name, _ in named)
        self.layout = TensorLayout(tuple(TensorSpec(name, tuple(each.shape)) for name, each in [*named, *buffers]))
        self.flat = torch.cat([each.detach().reshape(-1) for _, each in [*named, *buffers]])
        self.normalisation = _normalisation(module) & frozenset(self.layout.names)
        start = 0
        for _, each in [*named, *buffers]:
            each.data = self.flat[start : start + each.numel()].view(each.shape)
            start += each.numel()
        whole = [each for _, each in module.named_buffers() if not each.dtype.is_floating_point]
        self._counters = [(each, each.clone()) for each in whole]
        self.first = self.state()

    def load(self, vector: NDArray[Any]) -> None:
        """Take (d,) as its state; what it counts in whole numbers, such as batches, begins anew."""
        self.flat.numpy()[...] = vector
        for counter, first in self._counters:
            counter.copy_(first)

    def logits(self, x: Any, classes: int) -> Any:
        """(n, K) of examples, a tensor (n, …).

        Raises:
            ModelError: the module fails on them, or gives something else.
        """
        try:
            found = self.module(x)
        except Exception as error:  # whatever somebody's own code raises
            raise ModelError(
                f"the module fails on examples {tuple(x.shape)}: {type(error).__name__}: {error}",
                next="Call it on zeros of this shape, by itself.",
            ) from error
        shape = tuple(getattr(found, "shape", ()))
        if shape != (len(x), classes):
            raise ModelError(f"the module gives {shape or type(found).__name__}, not ({len(x)}, {classes}) logits")
        return found

    def state(self) -> Floats:
        """(d,), a copy."""
        copy: Floats = self.flat.numpy().copy()
        return copy

    def tensors(self, vector: NDArray[np.float64]) -> list[Any]:
        """The parameters' parts of a (d,) vector."""
        import torch

        parts = self.layout.unflatten(vector)
        return [torch.from_numpy(parts[name]) for name in self.names]


def _normalisation(module: Any) -> frozenset[str]:
    """Names of all tensors of batch normalisation; a subclass of PyTorch's is one too."""
    from torch.nn.modules.batchnorm import _BatchNorm

    found = [(name, each) for name, each in module.named_modules() if isinstance(each, _BatchNorm)]
    return frozenset(
        f"{name}.{tensor}".lstrip(".") for name, each in found for tensor in each.state_dict(keep_vars=True)
    )


@functools.lru_cache(maxsize=4)
def network(factory: str, seed: int) -> Network:
    """The network that ``package.module:function`` makes; one for each process.

    Args:
        factory: names a function that takes nothing and gives a module.
        seed: of the parameters that it draws.

    Raises:
        SettingsError: there is no such function, or no PyTorch. ModelError: see ``Network``.
    """
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise SettingsError(
            "Modules need PyTorch, which is not installed.", next="pip install 'fanlight[torch]'", slug="no-torch"
        ) from error
    _keep_memory()
    where, _, name = factory.partition(":")
    try:
        make = getattr(importlib.import_module(where), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"There is no {factory}: {error}", next="Name it as package.module:function, from this folder."
        ) from error
    with _drawing(seed):
        return Network(make())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold PyTorch to one thread, in this process and in those that it forks; without PyTorch nothing happens."""
    try:
        import torch
    except ImportError:  # whoever wants a network is told
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class ModuleDescent:
    """Local training of a module on one device's examples.

    Attributes:
        network: what is trained; its state is overwritten.
        train_x, train_y, valid_x, valid_y: (n, …) float32 and (n,) labels; validation may be empty.
        classes: K.
        settings: as for heads; ``l2`` is on tensors of two axes and more.
        stream: device-private generator.
    """

    network: Network
    train_x: Floats
    train_y: Labels
    valid_x: Floats
    valid_y: Labels
    classes: int
    settings: TrainingSettings
    stream: Keystream

    def __call__(self, descent: Descent) -> Descended:
        """Train.

        Raises:
            DataError: there is nothing to train on. ModelError: training ran away.
        """
        if self.train_y.size == 0:
            raise DataError("there are no training examples", next="Give every device some.")
        network, settings = self.network, self.settings
        network.load(descent.start)
        steps, weights = _Steps(network, settings, descent), class_weights_of(self.train_y, self.classes, settings)
        best, best_loss, best_epoch = None, math.inf, 0
        with _drawing(self.stream.below(_SEEDS)):
            for epoch in range(1, settings.epochs + 1):
                self._epoch(steps, weights)
                if self.valid_y.size == 0 or descent.to_the_end:
                    continue
                loss = self._valid_loss(weights)
                if loss < best_loss:
                    best, best_loss, best_epoch = (network.state(), steps.taken, steps.mean()), loss, epoch
                elif epoch - best_epoch >= settings.patience:
                    break
        parameters, taken, mean = best or (network.state(), steps.taken, steps.mean())
        if not np.isfinite(parameters).all():
            raise ran_away()
        return Descended(parameters.astype(np.float64), taken, settings.momentum, mean)

    def _epoch(self, steps: _Steps, class_weights: Floats) -> None:
        import torch
        from torch.nn import functional

        network, size = self.network, self.settings.batch_size
        network.module.train()
        order = self.stream.permutation(self.train_y.size)
        x, y = _tensor(self.train_x[order]), torch.from_numpy(self.train_y[order])
        weights = torch.from_numpy(class_weights) if self.settings.class_weights else None
        for first in range(0, len(y), size):
            logits, labels = network.logits(x[first : first + size], self.classes), y[first : first + size]
            if weights is None:
                loss = functional.cross_entropy(logits, labels)
            else:
                loss = (functional.cross_entropy(logits, labels, reduction="none") * weights[labels]).mean()
            steps.take(loss)

    def _valid_loss(self, class_weights: Floats) -> float:
        _, losses = _answers(self.network, self.valid_x, self.valid_y, self.classes)
        return float((validation_weights(self.valid_y, class_weights) * losses).mean())


class _Steps:
    """Gradient steps with momentum and what an algorithm adds to them."""

    def __init__(self, network: Network, settings: TrainingSettings, descent: Descent) -> None:
        import torch

        self._torch, self._network, self._settings, self._descent = torch, network, settings, descent
        moving = [name not in descent.frozen for name in network.names]
        self._moving = [each for each, moves in zip(network.parameters, moving, strict=True) if moves]
        self._shift = self._some(descent.shift)
        self._anchor = self._some(descent.anchor) if descent.pull else None
        self._decayed = [place for place, each in enumerate(self._moving) if each.dim() > 1] if settings.l2 else []
        self._velocity = [torch.zeros_like(each) for each in self._moving] if settings.momentum else []
        self._sum = [torch.zeros_like(each) for each in network.parameters] if descent.watch else None
        self.taken = 0

    def take(self, loss: Any) -> None:
        """One step down from here."""
        torch, settings, moving = self._torch, self._settings, self._moving
        wanted = self._network.parameters if self._sum is not None else moving
        gradients = list(torch.autograd.grad(loss, wanted))
        with torch.no_grad():
            if self._decayed:
                torch._foreach_add_(
                    [gradients[place] for place in self._places(wanted)],
                    [moving[place].detach() for place in self._decayed],
                    alpha=settings.l2,
                )
            if self._sum is not None:
                torch._foreach_add_(self._sum, gradients)
                gradients = [gradients[place] for place in self._chosen(wanted)]
            if self._shift is not None:
                torch._foreach_add_(gradients, self._shift)
            if self._anchor is not None:
                torch._foreach_add_(gradients, torch._foreach_sub(moving, self._anchor), alpha=self._descent.pull)  # noqa: SLF001
            if self._velocity:
                torch._foreach_mul_(self._velocity, settings.momentum)
                torch._foreach_sub_(self._velocity, gradients, alpha=settings.learning_rate)
                torch._foreach_add_(moving, self._velocity)
            else:
                torch._foreach_sub_(moving, gradients, alpha=settings.learning_rate)
        self.taken += 1

    def mean(self) -> NDArray[np.float64] | None:
        """(d,), of the gradients so far, if they were watched; zeros where there is no gradient."""
        if self._sum is None:
            return None
        parts = [each.reshape(-1).numpy() / max(self.taken, 1) for each in self._sum]
        found = np.zeros(self._network.layout.size)
        whole = np.concatenate(parts)
        found[: whole.size] = whole
        return found

    def _some(self, vector: NDArray[np.float64] | None) -> list[Any] | None:
        if vector is None:
            return None
        names = self._network.names
        parts = zip(names, self._network.tensors(vector), strict=True)
        return [part for name, part in parts if name not in self._descent.frozen]

    def _chosen(self, wanted: Sequence[Any]) -> list[int]:
        """Where among the parameters those lie that move."""
        if wanted is self._moving:
            return list(range(len(self._moving)))
        return [place for place, name in enumerate(self._network.names) if name not in self._descent.frozen]

    def _places(self, wanted: Sequence[Any]) -> list[int]:
        """Of those that decay."""
        chosen = self._chosen(wanted)
        return [chosen[place] for place in self._decayed]


def measure(network: Network, vector: NDArray[Any] | None, x: Floats, y: Labels, classes: int) -> Counts:
    """Hits and misses of a network with this state; None = as it is.

    Raises:
        ModelError: it does not give (n, K) logits.
    """
    if vector is not None:
        network.load(vector)
    confusion = np.zeros((classes, classes), np.int64)
    answers, losses = _answers(network, x, y, classes)
    np.add.at(confusion, (y, answers), 1)
    return Counts(confusion, float(losses.sum()))


def _answers(network: Network, x: Floats, y: Labels, classes: int) -> tuple[Labels, NDArray[np.float64]]:
    """(n,) the most likely class and (n,) the loss, at most ``LOSS_CAP``; raises as ``measure``."""
    import torch

    network.module.eval()
    answers, losses = np.empty(len(y), np.int64), np.empty(len(y))
    with torch.no_grad():
        for first in range(0, len(y), _AT_ONCE):
            labels = y[first : first + _AT_ONCE]
            logits = network.logits(_tensor(x[first : first + _AT_ONCE]), classes)
            logarithms = torch.log_softmax(logits.float(), 1).numpy()
            some = slice(first, first + len(labels))
            answers[some] = logarithms.argmax(axis=1)
            found = np.nan_to_num(-logarithms[np.arange(len(labels)), labels], nan=LOSS_CAP)
            losses[some] = np.minimum(found, LOSS_CAP)
    return answers, losses


def _tensor(x: Floats) -> Any:
    """(n, …) as a tensor; pictures (n, C, H, W) with their channels side by side."""
    import torch

    if x.ndim != 4:
        return torch.from_numpy(np.ascontiguousarray(x))
    count, channels, height, width = x.shape
    beside = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    strides = (channels * height * width, 1, width * channels, channels)
    return torch.from_numpy(beside).as_strided((count, channels, height, width), strides)


@contextlib.contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """What a module draws follows from the seed; then PyTorch's generator is what it was.

    Of the processor alone: ``torch.manual_seed`` would note down the call stack for devices that were never used.
    """
    import torch

    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


@functools.cache
def _keep_memory() -> None:
    """Have glibc keep what a step frees for the next one, for as long as the process lives; elsewhere nothing happens.

    What was set before cannot be asked for.
    """
    with contextlib.suppress(OSError, AttributeError):
        allocator = ctypes.CDLL(None).mallopt
        allocator(_M_MMAP_THRESHOLD, _LARGE)
        allocator(_M_TRIM_THRESHOLD, _MOST)
