"""Fine-tuning against PyTorch's own layers: one step, normalisation, and what is compiled back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.errors import DataError, ModelError
from fanlight.learning.algorithms.fedbn import fedbn
from fanlight.learning.algorithms.local import Descent, Received
from fanlight.learning.backbones import BACKBONES, compile_backbone
from fanlight.learning.checkpoint import locate
from fanlight.learning.features import open_session
from fanlight.learning.model_file import HeadModel
from fanlight.learning.tail import Tail
from fanlight.learning.torch_descent import TorchDescent
from fanlight.learning.training import EpochProgress, class_weights_of
from fanlight.learning.training_settings import TrainingSettings
from fanlight.learning.tuned_backbone import ALL, EPSILON, NORM, BatchNorm, Cut, compiled_back, cut, normalisation

SIZE, COUNT, CLASSES = 64, 12, ("a", "b", "c")
ENTRY = BACKBONES["efficientnet-lite0"]
Y = np.arange(COUNT, dtype=np.int64) % len(CLASSES)
HALF = TrainingSettings(epochs=1, batch_size=COUNT, learning_rate=0.01, momentum=0.0, l2=0.1, class_weights=False)
NORMS = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compile_backbone(ENTRY.id, tmp_path_factory.mktemp("backbones")).read()


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    draw = np.random.default_rng(7)
    coarse = draw.integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)


def model_of(parts: Cut, kind: BatchNorm) -> HeadModel:
    draw = np.random.default_rng(8)
    weight = draw.normal(0, 0.03, (ENTRY.features, len(CLASSES))).astype(np.float32)
    bias = draw.normal(0, 0.1, len(CLASSES)).astype(np.float32)
    tuned = parts.start(kind)
    return HeadModel("t", 0, CLASSES, ENTRY.id, ENTRY.compiled_sha256, SIZE, weight, bias, tuned=tuned)


class World:
    """A model of a cut backbone, and pictures at the cut."""

    def __init__(self, graph: bytes, pictures: NDArray[np.uint8], blocks: int, kind: BatchNorm) -> None:
        self.cut = cut(ENTRY.id, graph, ENTRY.features, blocks)
        self.model = model_of(self.cut, kind)
        self.start = self.model.layout.flatten(self.model.tensors)
        self.x: Floats = open_session(self.cut.front(SIZE).read(), 1).run(["features"], {"pictures": pictures})[0]

    def descent(self, settings: TrainingSettings = HALF, rate: float = 0.02, count: int = COUNT, **more: Any) -> Any:
        empty = self.x[:0], Y[:0]
        arguments = {"valid_x": empty[0], "valid_y": empty[1], "stream": Keystream(bytes(32)), **more}
        return TorchDescent(
            self.cut, self.model.layout, SIZE, self.x[:count], Y[:count],
            settings=settings, learning_rate=rate, **arguments,
        )  # fmt: skip

    def after(self, vector: NDArray[np.float64]) -> HeadModel:
        return self.model.with_tensors(self.model.layout.unflatten(vector))

    def logits(self, model: HeadModel) -> Floats:
        """In ONNX Runtime."""
        return model.head.logits(Tail(self.cut, model.tuned, SIZE).run(self.x))


class Original(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """The original network with our head, its batch normalisation as it is at evaluation."""

    def __init__(self, model: HeadModel, scale: Floats, shift: Floats) -> None:
        super().__init__()
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=SIZE)
        self.network.load_state_dict(torch.load(locate(ENTRY.source), weights_only=True, map_location="cpu"))
        self.eval()
        self.scale, self.shift = torch.tensor(scale), torch.tensor(shift)
        self.weight = torch.nn.Parameter(torch.tensor(model.weight))
        self.bias = torch.nn.Parameter(torch.tensor(model.bias))

    def forward(self, pictures: NDArray[np.uint8]) -> Any:
        x = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127) / 128
        places = self.network.extract_features(x) * self.scale + self.shift
        return places.mean((2, 3)) @ self.weight + self.bias


def original_of(world: World) -> Original:
    constants = world.cut.contents.constants
    return Original(world.model, constants["feature_scale"], constants["feature_shift"])


@pytest.mark.parametrize("blocks", [1, 3, ALL])
def test_one_step_is_that_of_autograd_through_the_original_network(
    graph: bytes, pictures: NDArray[np.uint8], blocks: int
) -> None:
    """The folded kernel is W' = s·W with s = γ/√(σ²+ε): so the gradient of W' is that of W, divided by s."""
    world = World(graph, pictures, blocks, BatchNorm.FROZEN)
    network = original_of(world)
    loss = torch.nn.functional.cross_entropy(network(pictures), torch.from_numpy(Y))
    (loss + HALF.l2 / 2 * (network.weight**2).sum()).backward()
    moved = world.after(world.descent(rate=1.0)(Descent(world.start)).parameters)
    np.testing.assert_allclose(moved.weight, network.weight.detach() - 0.01 * network.weight.grad, atol=2e-6)
    np.testing.assert_allclose(moved.bias, network.bias.detach() - 0.01 * network.bias.grad, atol=2e-6)
    modules = dict(network.network.named_modules())
    for node in world.cut.convolutions:
        before, _, last = node.output.rpartition(".")
        norm = modules[f"{before}.{NORMS[last]}" if before else NORMS[last]]
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        kernel, shift = f"backbone.{node.inputs[1]}", f"backbone.{node.inputs[2]}"
        gradient = (modules[node.output].weight.grad / scale[:, None, None, None]).numpy()
        step = world.model.tuned[kernel] - moved.tuned[kernel]
        assert np.abs(gradient).max() > 1e-4
        np.testing.assert_allclose(step, gradient, rtol=1e-2, atol=2e-3 * np.abs(gradient).max() + 1e-5)
        step = world.model.tuned[shift] - moved.tuned[shift]
        np.testing.assert_allclose(
            step, norm.bias.grad, rtol=1e-2, atol=2e-3 * float(norm.bias.grad.abs().max()) + 1e-5
        )


@pytest.mark.parametrize("kind", list(BatchNorm))
@pytest.mark.parametrize("blocks", [1, ALL])
def test_what_is_compiled_back_gives_torchs_logits(
    graph: bytes, pictures: NDArray[np.uint8], blocks: int, kind: BatchNorm
) -> None:
    world = World(graph, pictures, blocks, kind)
    settings = replace(HALF, epochs=3, batch_size=5, momentum=0.9)
    trained = world.after(world.descent(settings, 0.001)(Descent(world.start)).parameters)
    run = _tensors_of(world, trained)
    theirs = run._logits(run._activations(world.x), training=False).detach().numpy()
    assert np.abs(theirs - world.logits(world.model)).max() > 0.05
    np.testing.assert_allclose(world.logits(trained), theirs, atol=1e-3)
    whole = compiled_back(graph, trained.tuned)
    features = open_session(whole, 1).run(["features"], {"pictures": pictures})[0]
    np.testing.assert_allclose(trained.head.logits(features), theirs, atol=1e-3)


def _tensors_of(world: World, model: HeadModel) -> Any:
    from fanlight.learning.torch_descent import _Run

    return _Run(world.descent(), Descent(model.layout.flatten(model.tensors)))


def test_frozen_normalisation_stays(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    """Folded into convolutions, it has no statistics that a batch could move: no picture depends on another."""
    world = World(graph, pictures, 1, BatchNorm.FROZEN)
    assert not any("norm" in name for name in world.model.layout.names)
    run = _tensors_of(world, world.model)
    together = run._logits(run._activations(world.x), training=True)
    alone = torch.cat([run._logits(run._activations(world.x[i : i + 1]), training=True) for i in range(COUNT)])
    np.testing.assert_allclose(together.detach(), alone.detach(), atol=1e-4)


def test_a_homes_own_normalisation_begins_as_what_came_and_is_by_its_pictures(
    graph: bytes, pictures: NDArray[np.uint8]
) -> None:
    world = World(graph, pictures, 1, BatchNorm.LOCAL)
    run = _tensors_of(world, world.model)
    before = run._logits(run._activations(world.x), training=False)
    with torch.no_grad():
        run.make_normalisation_own()
        whole = run._logits(run._activations(world.x), training=False)
    head = {part: run._tensors[f"backbone._conv_head.{part}"].clone() for part in NORM}
    np.testing.assert_allclose(head["norm.weight"], (head["norm.running_var"] + EPSILON).sqrt(), rtol=1e-5)
    with torch.no_grad():
        batch = run._logits(run._activations(world.x), training=True)
    np.testing.assert_allclose(whole, before.detach(), atol=1e-3)
    np.testing.assert_allclose(batch, before.detach(), atol=1e-3)  # the batch is all pictures: the same statistics
    again = {name: tensor.clone() for name, tensor in run._tensors.items()}
    with torch.no_grad():
        run.make_normalisation_own()  # it is this home's by now
    assert all(bool((run._tensors[name] == tensor).all()) for name, tensor in again.items())


def test_fedbn_keeps_normalisation_at_home(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    world = World(graph, pictures, 1, BatchNorm.LOCAL)
    settings = replace(HALF, epochs=2, batch_size=5)
    layout = world.model.layout
    received = Received(world.start, layout, normalisation=normalisation(layout))
    outcome = fedbn().local(received, {}, world.descent(settings, 0.001))
    update, own = (world.model.layout.unflatten(vector) for vector in (outcome.update, outcome.own))
    for name in world.model.layout.names:
        if name.endswith(NORM):
            assert not update[name].any(), name
            assert not np.array_equal(own[name], world.model.tensors[name]), name
        elif name.endswith("weight"):  # what a convolution adds, the statistics of a batch take off again
            assert update[name].any(), name
    next_round = fedbn().local(received, outcome.memory, world.descent(settings, 0.001))
    assert not np.array_equal(next_round.own, outcome.own)


@pytest.mark.parametrize("count", [1, 6])
def test_a_batch_of_one_picture(graph: bytes, pictures: NDArray[np.uint8], count: int) -> None:
    world = World(graph, pictures, 1, BatchNorm.LOCAL)
    done = world.descent(replace(HALF, batch_size=5), 0.001, count)(Descent(world.start))
    assert done.steps == -(-count // 5)
    assert np.isfinite(done.parameters).all()


def test_what_an_algorithm_asks_is_done(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    world = World(graph, pictures, 1, BatchNorm.FROZEN)
    layout, start = world.model.layout, world.start
    rates = np.concatenate([np.full(s.size, 0.02 if s.name.startswith("backbone.") else 0.01) for s in layout.specs])
    plain = world.descent()(Descent(start, watch=True))
    assert plain.mean_gradient is not None
    np.testing.assert_allclose(plain.parameters, start - rates * plain.mean_gradient, atol=1e-6)
    shift = np.random.default_rng(9).normal(0, 0.1, start.size)
    shifted = world.descent()(Descent(start, shift=shift, watch=True))
    np.testing.assert_allclose(shifted.parameters, plain.parameters - rates * shift, atol=1e-6)
    np.testing.assert_array_equal(shifted.mean_gradient, plain.mean_gradient)
    pulled = world.descent()(Descent(start, pull=0.5, anchor=start + shift))
    np.testing.assert_allclose(pulled.parameters, plain.parameters + rates * 0.5 * shift, atol=1e-6)
    names = frozenset({"backbone._conv_head.weight", "head.bias"})
    still = world.after(world.descent()(Descent(start, frozen=names)).parameters)
    for name, tensor in still.tensors.items():
        assert np.array_equal(tensor, world.model.tensors[name]) == (name in names), name


def test_variants_take_turns_with_their_pictures(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    world = World(graph, pictures, 1, BatchNorm.FROZEN)
    settings = replace(HALF, batch_size=5)
    plain, same, other = (
        world.descent(settings, 0.001, variants=variants)(Descent(world.start)).parameters
        for variants in ((), (world.x,), (world.x * np.float32(0.5),))
    )
    assert np.array_equal(plain, same)
    assert not np.array_equal(plain, other)


def test_the_same_seed_gives_the_same_bits(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    world = World(graph, pictures, 1, BatchNorm.LOCAL)
    settings = replace(HALF, epochs=2, batch_size=5)
    one, two, other = (
        world.descent(settings, 0.001, stream=Keystream(bytes([seed]) * 32))(Descent(world.start)).parameters
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_best_epoch_counts_and_each_is_told(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    world, seen = World(graph, pictures, 1, BatchNorm.FROZEN), list[EpochProgress]()
    settings = replace(HALF, epochs=6, batch_size=5, patience=2)
    descent = world.descent(settings, 0.001, 6, valid_x=world.x[6:], valid_y=Y[6:], on_epoch=seen.append)
    done = descent(Descent(world.start))
    losses = [epoch.valid_loss for epoch in seen if epoch.valid_loss is not None]
    assert [epoch.epoch for epoch in seen] == list(range(1, len(seen) + 1))
    assert done.steps == 2 * (1 + int(np.argmin(losses)))
    logits = world.logits(world.after(done.parameters))[6:]
    weights = class_weights_of(Y[:6], len(CLASSES), settings)
    each = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(Y[6:]), reduction="none")
    np.testing.assert_allclose(np.average(each.numpy(), weights=weights[Y[6:]]), min(losses), rtol=1e-3)


def test_to_the_end_means_the_last_epoch_whatever_validation_says(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    world, settings = World(graph, pictures, 1, BatchNorm.FROZEN), replace(HALF, epochs=6, batch_size=5, patience=2)
    contrary = world.descent(settings, 0.05, 6, valid_x=world.x[:6], valid_y=(Y[:6] + 1) % len(CLASSES))
    done, best = (contrary(Descent(world.start, to_the_end=to_the_end)) for to_the_end in (True, False))
    assert done.steps == 2 * settings.epochs > best.steps


def test_a_training_can_be_cancelled(graph: bytes, pictures: NDArray[np.uint8]) -> None:
    def cancel(_: EpochProgress) -> None:
        raise KeyboardInterrupt

    world = World(graph, pictures, 1, BatchNorm.FROZEN)
    with pytest.raises(KeyboardInterrupt):
        world.descent(on_epoch=cancel)(Descent(world.start))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda world: world.descent(replace(HALF, epochs=3), rate=1e38), ModelError),
        (lambda world: world.descent(count=0), DataError),
    ],
)
def test_what_ends_badly(
    graph: bytes, pictures: NDArray[np.uint8], change: Callable[[World], Any], error: type[Exception]
) -> None:
    world = World(graph, pictures, 1, BatchNorm.FROZEN)
    with pytest.raises(error):
        change(world)(Descent(world.start))


def test_a_cut_elsewhere_has_other_tensors(graph: bytes, pictures: NDArray[np.uint8], tmp_path: Path) -> None:
    world, more = World(graph, pictures, 1, BatchNorm.FROZEN), cut(ENTRY.id, graph, ENTRY.features, 2)
    with pytest.raises(ModelError):
        Tail(more, world.model.tuned, SIZE)
