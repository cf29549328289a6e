"""What is it worth that the last blocks learn, by who has what, by the length of steps, and beside plain PyTorch?

    make bench NAME=tuned_blocks BIN=.venv-torch/bin ARGS="--json"
    make bench NAME=tuned_blocks BIN=.venv-torch/bin ARGS="--dataset stamps --pictures 90 --step 0.003 --way evenly"

Local training is the product's own; the rest is the mean of two devices, weighed by their pictures, in one process:
no masks, no rounding, no clipping. What these add is in ``fine_tuning``, which runs the real system.

*as dealt*: as a demonstration shares them out; of digits and Fashion-MNIST each of the two devices has its own half of
the classes. *evenly*: the same pictures, but both have all classes. *one place*: a single device with all pictures.
*Plain* is an ordinary PyTorch loop on all pictures in one place: the original network, with batch normalisation, of
which the same layers learn; AdamW, batches of 32, cross-entropy, as many passes.

The rival of each figure is the head alone on the same pictures, shared out alike, after as many rounds; of *plain* it
is the head alone in one place. Balanced accuracy of the last round on the test pictures of both.

It needs PyTorch, for which ``make test-torch`` has an environment of its own, ``.venv-torch``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.report import Figure, Report, say
from fanlight.core.metrics import Metrics
from fanlight.core.randomness import Keystream
from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.learning.algorithms.local import Descend, Descent
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE, compile_backbone
from fanlight.learning.checkpoint import locate
from fanlight.learning.datasets import NAMES, prepare
from fanlight.learning.evaluation import evaluate
from fanlight.learning.features import FeatureExtractor
from fanlight.learning.folders import scan
from fanlight.learning.heads import head_layout, zero_head
from fanlight.learning.local_training import SoftmaxDescent
from fanlight.learning.split import PARTS
from fanlight.learning.tail import Tail
from fanlight.learning.torch_extra import has_torch
from fanlight.learning.training_settings import TrainingSettings
from fanlight.learning.tuned_backbone import BatchNorm, Cut, cut

DEVICES = 2
WAYS = ("as dealt", "evenly", "one place")
BATCH = 32
PLAIN_STEP = 0.001

Floats = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Some:
    """Pictures of one part: what is kept of them, (n, activations) float32, and labels (n,)."""

    x: Floats
    y: NDArray[np.int64]

    def of(self, which: Any) -> Some:
        """Those at some places."""
        return Some(self.x[which], self.y[which])


Parts = Mapping[str, Some]


@dataclass(frozen=True)
class Pictures:
    """A data set behind the front of a backbone.

    Attributes:
        made: the backbone. size: pictures' side. classes: their names.
        devices: what each has, as they are dealt out.
    """

    made: Cut
    size: int
    classes: tuple[str, ...]
    devices: tuple[Parts, ...]

    @cached_property
    def layout(self) -> TensorLayout:
        """Of the tensors that learn of the backbone, and the head."""
        start = tuple(TensorSpec(name, tensor.shape) for name, tensor in self.start.items())
        return TensorLayout((*start, *head_layout(self.made.features, len(self.classes)).specs))

    @cached_property
    def start(self) -> dict[str, Floats]:
        """The backbone's tensors as they come."""
        return self.made.start(BatchNorm.FROZEN)

    @cached_property
    def whole(self) -> Parts:
        """All in one place."""
        return {part: _together([device[part] for device in self.devices]) for part in PARTS}

    def shared(self, way: str) -> Sequence[Parts]:
        """Who has what."""
        if way == "as dealt":
            return self.devices
        if way == "one place":
            return [self.whole]
        order = {part: np.random.default_rng(7).permutation(some.y.size) for part, some in self.whole.items()}
        return [
            {part: some.of(order[part][number::DEVICES]) for part, some in self.whole.items()}
            for number in range(DEVICES)
        ]

    def score(self, tuned: Mapping[str, Floats], weight: Floats, bias: Floats) -> float:
        """Balanced accuracy on all test pictures."""
        x = Tail(self.made, tuned, self.size).run(self.whole["test"].x)
        counts = evaluate(weight, bias, x, self.whole["test"].y, list(self.classes))
        found = Metrics.from_confusion(counts.confusion).balanced_accuracy
        return float("nan") if found is None else found


def _together(parts: Sequence[Some]) -> Some:
    return Some(np.concatenate([each.x for each in parts]), np.concatenate([each.y for each in parts]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    options = _parse(arguments)
    if not has_torch():
        raise SystemExit("This benchmark needs PyTorch: make test-torch installs it, then add BIN=.venv-torch/bin.")
    with tempfile.TemporaryDirectory(prefix="fanlight-tuned-blocks-") as folder:
        pictures = read(Path(folder), options.dataset, options.blocks, options.pictures, options.test)
    return Report("tuned_blocks", tuple(map(say, figures(pictures, options)))).show(as_json=options.json)


def figures(pictures: Pictures, options: argparse.Namespace) -> Iterator[Figure]:
    """Each as soon as it is found."""
    name, rounds = f"{options.dataset}, {options.pictures} pictures a device", options.rounds
    for way in options.way or WAYS:
        alone = head_alone(pictures, way, rounds)
        yield Figure(f"{name}, {way}, {rounds} rounds: the head alone", alone, "fraction")
        for step in options.step or (0.001,):
            words = f"{name}, {way}, {rounds} rounds: the last {options.blocks}, step length {step}"
            yield Figure(words, tuned(pictures, way, rounds, step), "fraction", rival=alone)
        for frozen in (True, False) if way == "one place" else ():
            passes = rounds * TrainingSettings().epochs
            words = f"{name}, plain PyTorch, {passes} passes, statistics {'kept' if frozen else 'of batches'}"
            yield Figure(words, plain(pictures, passes, options.blocks, frozen=frozen), "fraction", rival=alone)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tuned_blocks", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", choices=NAMES, default="digits")
    parser.add_argument("--pictures", type=int, default=400, help="training pictures of each device, at most")
    parser.add_argument("--test", type=int, default=300, help="test pictures of each device, at most")
    parser.add_argument("--blocks", type=int, default=1, help="of the backbone's last ones that learn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", action="append", choices=WAYS, help="who has what; may be given repeatedly; all")
    parser.add_argument("--step", action="append", type=float, help="the backbone's step length; repeatedly; 0.001")
    parser.add_argument("--json", action="store_true", help="the last line of the output is for programs")
    return parser.parse_args(arguments)


def read(folder: Path, name: str, blocks: int, most: int, most_test: int) -> Pictures:
    """What the front makes of some pictures of a data set; a third as many as for training are for validation."""
    compiled, data = compile_backbone(DEFAULT_BACKBONE, folder), prepare(name, DEVICES, 0, folder)
    made, draw, devices = cut(compiled.id, compiled.read(), compiled.features, blocks), np.random.default_rng(0), []
    extractor = FeatureExtractor(made.front(data.picture_size), data.picture_size, threads=1)
    for place in data.device_folders:
        found, device = scan(place, data.classes), {}
        for part, number in (("train", most), ("valid", most // 3), ("test", most_test)):
            some = [found.part(part)[at] for at in draw.permutation(len(found.part(part)))[:number]]
            labels = np.array([each.label for each in some], np.int64)
            device[part] = Some(extractor.extract([each.path for each in some]), labels)
        devices.append(device)
    return Pictures(made, data.picture_size, data.classes, tuple(devices))


def head_alone(pictures: Pictures, way: str, rounds: int) -> float:
    """The backbone as it comes."""
    frozen, layout = (
        Tail(pictures.made, pictures.start, pictures.size),
        head_layout(pictures.made.features, len(pictures.classes)),
    )
    homes = [{part: Some(frozen.run(some.x), some.y) for part, some in home.items()} for home in pictures.shared(way)]

    def descend(home: Parts, stream: Keystream) -> Descend:
        train, valid = home["train"], home["valid"]
        return SoftmaxDescent(layout, train.x, train.y, valid.x, valid.y, TrainingSettings(), stream)

    found = layout.unflatten(averaged(homes, np.zeros(layout.size), rounds, descend))
    return pictures.score(pictures.start, found["head.weight"], found["head.bias"])


def tuned(pictures: Pictures, way: str, rounds: int, step: float) -> float:
    """The last blocks learn, too."""
    from fanlight.learning.torch_descent import TorchDescent

    layout = pictures.layout

    def descend(home: Parts, stream: Keystream) -> Descend:
        train, valid = home["train"], home["valid"]
        some = train.x, train.y, valid.x, valid.y
        return TorchDescent(pictures.made, layout, pictures.size, *some, TrainingSettings(), step, stream)

    return _score(pictures, averaged(pictures.shared(way), _first(pictures), rounds, descend))


def averaged(
    homes: Sequence[Parts], start: Vector, rounds: int, descend: Callable[[Parts, Keystream], Descend]
) -> Vector:
    """The model (d,) after some rounds of FedAvg."""
    model, shares = start, np.array([home["train"].y.size for home in homes], np.float64)
    for number in range(rounds):
        own = [
            descend(home, Keystream(bytes([number, place]) + bytes(30)))(Descent(start=model)).parameters
            for place, home in enumerate(homes)
        ]
        model = np.average(own, axis=0, weights=shares)
    return model


def plain(pictures: Pictures, passes: int, blocks: int, *, frozen: bool) -> float:
    """The original network in an ordinary loop, which has nothing of Fanlight's but what comes into its last blocks.

    Args:
        pictures: all of their training pictures are learned from, in one place.
        passes: over them.
        blocks: that learn, and the convolution behind them.
        frozen: does its batch normalisation keep the statistics that it came with?
    """
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = EfficientNet.from_name("efficientnet-lite0", image_size=pictures.size)
    network.load_state_dict(torch.load(locate(BACKBONES[DEFAULT_BACKBONE].source), weights_only=True))
    parts = dict(network.named_children())
    last, conv_head, bn1 = parts["_blocks"][-blocks:], parts["_conv_head"], parts["_bn1"]
    fresh = torch.nn.Linear(pictures.made.features, len(pictures.classes))
    learning = torch.nn.ModuleList([*last, conv_head, bn1, fresh])

    def logits(rows: Floats) -> torch.Tensor:
        x = torch.from_numpy(rows).reshape(-1, *pictures.made.shape(pictures.size))
        for block in last:
            x = block(x)
        answers: torch.Tensor = fresh(functional.relu6(bn1(conv_head(x))).mean((2, 3)))
        return answers

    optimiser, train = torch.optim.AdamW(learning.parameters(), lr=PLAIN_STEP), pictures.whole["train"]
    for _ in range(passes):
        learning.train(not frozen)
        order = torch.randperm(train.y.size).numpy()
        for at in range(0, order.size, BATCH):
            some = train.of(order[at : at + BATCH])
            optimiser.zero_grad()
            functional.cross_entropy(logits(some.x), torch.from_numpy(some.y)).backward()
            optimiser.step()
    learning.eval()
    test = pictures.whole["test"]
    with torch.no_grad():
        found = np.concatenate(
            [logits(test.x[at : at + BATCH]).argmax(1).numpy() for at in range(0, len(test.y), BATCH)]
        )
    confusion = np.zeros((len(pictures.classes),) * 2, np.int64)
    np.add.at(confusion, (test.y, found), 1)
    accuracy = Metrics.from_confusion(confusion).balanced_accuracy
    return float("nan") if accuracy is None else accuracy


def _first(pictures: Pictures) -> Vector:
    head = zero_head(pictures.made.features, len(pictures.classes))
    return pictures.layout.flatten(pictures.start | {"head.weight": head.weight, "head.bias": head.bias})


def _score(pictures: Pictures, model: Vector) -> float:
    found = pictures.layout.unflatten(model)
    return pictures.score({name: found[name] for name in pictures.start}, found["head.weight"], found["head.bias"])


if __name__ == "__main__":
    sys.exit(main())
