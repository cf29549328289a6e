"""Modules of one's own in a simulation: PyTorch's own optimiser is the reference, and bits do not depend on engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fanlight.cli import main
from fanlight.core.randomness import Keystream
from fanlight.errors import LocalError, ModelError, SettingsError
from fanlight.learning.algorithms.local import Descent
from fanlight.learning.datasets import shapes
from fanlight.learning.module_training import ModuleDescent, Network, measure, network
from fanlight.learning.training import class_weights_of
from fanlight.learning.training_settings import TrainingSettings
from fanlight.simulation import Data, Study, simulate

SEED = bytes(32)
NAME = f"{__name__}:small"


def small() -> nn.Module:
    """Pictures of two channels, so that channels last is another order in memory."""
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16, 3))


def drawing() -> nn.Module:
    """One that draws by itself, and keeps statistics."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 64, 3)
    )


def examples(count: int = 40) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, count)
    x = generator.standard_normal((count, 2, 8, 8)) + y[:, None, None, None]
    return x.astype(np.float32), y


def settings(**changes: Any) -> TrainingSettings:
    fields: dict[str, Any] = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "class_weights": False}
    return TrainingSettings(**{**fields, **changes})


def by_pytorch(how: TrainingSettings, start: Any, **added: Any) -> Any:
    """The same by a plain loop with torch.optim.SGD, whose momentum has the learning rate outside."""
    module = small()
    x, y = (torch.from_numpy(each) for each in examples())
    torch.nn.utils.vector_to_parameters(torch.from_numpy(start.copy()), module.parameters())
    decayed = [each for each in module.parameters() if each.dim() > 1]
    others = [each for each in module.parameters() if each.dim() == 1]
    optimiser = torch.optim.SGD(
        [{"params": decayed, "weight_decay": how.l2}, {"params": others}],
        lr=how.learning_rate,
        momentum=how.momentum,
    )
    stream = Keystream(SEED)
    stream.below(1 << 62)
    for _ in range(how.epochs):
        order = torch.from_numpy(stream.permutation(len(y)))
        for first in range(0, len(y), how.batch_size):
            batch = order[first : first + how.batch_size]
            loss = functional.cross_entropy(module(x[batch]), y[batch])
            w = torch.nn.utils.parameters_to_vector(module.parameters())
            if "shift" in added:
                loss = loss + (w * torch.from_numpy(added["shift"]).float()).sum()
            if "anchor" in added:
                loss = loss + added["pull"] / 2 * ((w - torch.from_numpy(added["anchor"]).float()) ** 2).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()


def descent(how: TrainingSettings, valid: int = 0) -> ModuleDescent:
    x, y = examples()
    return ModuleDescent(network(NAME, 0), x, y, x[:valid], y[:valid], 3, how, Keystream(SEED))


@pytest.mark.parametrize("how", [settings(momentum=0.0, l2=0.0), settings(momentum=0.9, l2=0.01)])
def test_training_is_that_of_pytorch(how: TrainingSettings) -> None:
    start = network(NAME, 0).first
    ours = descent(how)(Descent(start.astype(np.float64)))
    np.testing.assert_allclose(ours.parameters, by_pytorch(how, start), atol=2e-6)
    assert ours.steps == 2 * 3
    assert not np.array_equal(ours.parameters, start)


def test_what_algorithms_add_is_added() -> None:
    start, how = network(NAME, 0).first, settings(momentum=0.0, l2=0.0)
    shift, anchor = np.linspace(-1, 1, start.size), np.linspace(1, -1, start.size)
    ours = descent(how)(Descent(start.astype(np.float64), shift=shift, pull=0.5, anchor=anchor, watch=True))
    theirs = by_pytorch(how, start, shift=shift, pull=0.5, anchor=anchor)
    np.testing.assert_allclose(ours.parameters, theirs, atol=5e-6)


def test_the_mean_gradient_is_that_of_plain_steps() -> None:
    start, how = network(NAME, 0).first, settings(momentum=0.0, l2=0.01)
    done = descent(how)(Descent(start.astype(np.float64), watch=True))
    assert done.mean_gradient is not None
    walked = (start - done.parameters) / (done.steps * how.learning_rate)
    np.testing.assert_allclose(done.mean_gradient, walked, atol=1e-5)


def test_frozen_tensors_stand_still() -> None:
    start = network(NAME, 0).first
    done = descent(settings())(Descent(start.astype(np.float64), frozen=frozenset({"4.weight"}), watch=True))
    before, after = (network(NAME, 0).layout.unflatten(each) for each in (start, done.parameters))
    assert np.array_equal(before["4.weight"], after["4.weight"])
    assert not np.array_equal(before["4.bias"], after["4.bias"])


@pytest.mark.parametrize("weighs", [False, True])
def test_validation_pictures_weigh_as_in_training(weighs: bool) -> None:
    """Most are of class 0, also of those held out, where half of them would rather be something else: who counts
    pictures stops before the other classes are known.
    """
    x, y = examples(60)
    few = np.concatenate([np.flatnonzero(y == label)[:count] for label, count in enumerate((12, 3, 2))])
    held_out = np.concatenate([np.flatnonzero(y == label)[12:15] for label in (0, 1, 1, 2)])
    held_y = np.repeat([0, 0, 1, 2], 3)

    def trained(epochs: int, held_out: Any, held_y: Any) -> Any:
        how = settings(epochs=epochs, patience=epochs, learning_rate=0.02, class_weights=weighs)
        net = network(NAME, 0)
        run = ModuleDescent(net, x[few], y[few], x[held_out], held_y, 3, how, Keystream(SEED))
        return run(Descent(net.first.astype(np.float64))).parameters

    weights = class_weights_of(y[few], 3, settings(class_weights=weighs))[held_y]
    epochs, nobody = 12, np.array([], np.int64)
    after = [trained(1 + epoch, nobody, nobody) for epoch in range(epochs)]
    losses: dict[str, list[float]] = {"weighted": [], "plain": []}
    for parameters in after:
        measure(network(NAME, 0), parameters, x[:0], y[:0], 3)
        with torch.no_grad():
            logits = network(NAME, 0).module(torch.from_numpy(x[held_out]))
        each = functional.cross_entropy(logits, torch.from_numpy(held_y), reduction="none").numpy()
        losses["weighted"].append(float(np.average(each, weights=weights)))
        losses["plain"].append(float(each.mean()))
    best = {name: int(np.argmin(found)) for name, found in losses.items()}
    assert (best["weighted"] != best["plain"]) == weighs
    assert np.array_equal(trained(epochs, held_out, held_y), after[best["weighted"]])


def test_validation_keeps_the_best_epoch() -> None:
    start = network(NAME, 0).first
    done = descent(settings(epochs=30, patience=1, learning_rate=0.5), valid=20)(Descent(start.astype(np.float64)))
    x, y = examples()
    best = measure(network(NAME, 0), done.parameters, x[:20], y[:20], 3).loss_sum
    assert best <= measure(network(NAME, 0), start, x[:20], y[:20], 3).loss_sum


def test_to_the_end_means_the_last_epoch_whatever_validation_says() -> None:
    start, how = network(NAME, 0).first.astype(np.float64), settings(epochs=30, patience=1, learning_rate=0.5)
    done, best = (descent(how, valid=20)(Descent(start, to_the_end=to_the_end)) for to_the_end in (True, False))
    unasked = descent(how)(Descent(start))
    assert done.steps == unasked.steps > best.steps
    assert np.array_equal(done.parameters, unasked.parameters)


@pytest.mark.parametrize("make", ["small", "drawing"])
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_engines_and_fidelities_make_the_same_model(make: str, algorithm: str) -> None:
    x, y = examples(200)
    fields: dict[str, Any] = {"partition": "iid", "devices": 6, "rounds": 2, "module": f"{__name__}:{make}"}
    study = Study.of({**fields, "algorithm": algorithm, "training": {"epochs": 1, "learning_rate": 0.05}})
    runs = [
        simulate(study, Data.of(x, y), engine="inline"),
        simulate(study, Data.of(x, y), engine="forked", workers=2),
        simulate(study.model_copy(update={"fidelity": "protocol"}), Data.of(x, y), engine="forked", workers=2),
    ]
    assert len({run.model_sha256 for run in runs}) == 1


def test_pytorch_has_one_thread_while_a_study_runs_and_as_many_as_before_after_it() -> None:
    before, seen = torch.get_num_threads(), list[int]()
    study = Study.of({"partition": "iid", "devices": 2, "rounds": 1, "module": NAME, "training": {"epochs": 1}})
    torch.set_num_threads(3)
    try:
        for engine in ("inline", "forked"):
            watch: dict[str, Any] = {"on_round": lambda _: seen.append(torch.get_num_threads())}
            simulate(study, Data.of(*examples()), engine=engine, workers=2, **watch)
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]


def test_statistics_of_batch_norm_are_federated_too() -> None:
    made = Network(drawing())
    assert {"1.running_mean", "1.running_var"} <= set(made.layout.names)
    assert "1.num_batches_tracked" not in made.layout.names


@pytest.mark.parametrize("factory", ["nowhere.at_all:make", f"{__name__}:nothing", "small"])
def test_a_factory_that_is_not_there_is_named(factory: str) -> None:
    with pytest.raises(SettingsError, match="There is no"):
        network(factory, 0)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(ModelError, match=r"not a torch\.nn\.Module"):
        network(f"{__name__}:settings", 0)


class Named(nn.Module):  # type: ignore[misc]
    """Names as EfficientNet's (``_bn0``) and torchvision's MobileNetV2 and ResNet (numbers; ``downsample.1``) have."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(2, 4, 3), SubclassedNorm(4)), nn.ReLU())
        self.downsample = nn.Sequential(nn.Conv2d(4, 4, 1), nn.SyncBatchNorm(4))
        self._bn0 = nn.BatchNorm2d(4, track_running_stats=False)
        self.normalised_twice = nn.Linear(4, 4)
        self.layer = nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.BatchNorm1d(4, affine=False))


class SubclassedNorm(nn.BatchNorm2d):  # type: ignore[misc]
    pass


def test_normalisation_is_known_by_its_type_not_by_its_name() -> None:
    assert Network(Named()).normalisation == {
        *(f"features.0.1.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
        *(f"downsample.1.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
        "_bn0.weight",
        "_bn0.bias",
        "layer.2.running_mean",
        "layer.2.running_var",
    }
    assert Network(nn.BatchNorm1d(3)).normalisation == {"weight", "bias", "running_mean", "running_var"}
    assert Network(small()).normalisation == frozenset()


def study(factory: str, algorithm: str) -> Study:
    training = {"epochs": 1, "batch_size": 16}
    return Study.of(
        {"module": factory, "devices": 3, "partition": "iid", "rounds": 2, "training": training, "algorithm": algorithm}
    )


def test_fedbn_keeps_batch_normalisation_of_a_module_at_home() -> None:
    """Of the global model it stays as the factory made it, the rest moves; and it is not FedAvg."""
    data, factory = Data(*examples(60), ("a", "b", "c")), f"{__name__}:drawing"
    found, plain = (simulate(study(factory, name), data, engine="inline").parameters for name in ("fedbn", "fedavg"))
    made = network(factory, 0)
    start, after = (made.layout.unflatten(each) for each in (made.first, found))
    still = {name for name in made.layout.names if np.array_equal(start[name], after[name])}
    assert made.normalisation == {f"1.{part}" for part in ("weight", "bias", "running_mean", "running_var")}
    assert still == made.normalisation | {"0.bias"}  # what normalisation takes off again has no gradient
    assert not np.array_equal(found, plain)


def test_fedbn_is_refused_where_there_is_none_and_fedper_where_nothing_is_shared() -> None:
    data = Data(*examples(60), ("a", "b", "c"))
    with pytest.raises(SettingsError, match="no batch normalisation"):
        simulate(study(NAME, "fedbn"), data)
    with pytest.raises(SettingsError, match="4 of the model's 4 tensors"):
        simulate(study(NAME, "fedper:personal=4"), data)


def counting() -> nn.Module:
    """Whose batch norm keeps the plain mean of all batches, and counts them."""
    return nn.Sequential(nn.BatchNorm2d(2, momentum=None), nn.Flatten(), nn.Linear(2 * 64, 3))


def test_what_a_module_counts_begins_anew_on_each_device() -> None:
    data, asked = Data(*examples(60), ("a", "b", "c")), study(f"{__name__}:counting", "fedavg")
    inline = simulate(asked, data, engine="inline")
    assert inline.model_sha256 == simulate(asked, data, workers=3).model_sha256
    assert inline.model_sha256 == simulate(asked, data, engine="inline").model_sha256


def few_logits() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 64, 2))


def many_logits() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 64, 4))


def other_pictures() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))


class Tuple(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.inner = few_logits()

    def forward(self, x: Any) -> Any:
        return self.inner(x), x


@pytest.mark.parametrize("engine", ["inline", "forked"])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        ("few_logits", r"gives \(\d+, 2\), not \(\d+, 3\) logits"),
        ("many_logits", r"gives \(\d+, 4\), not \(\d+, 3\) logits"),
        ("other_pictures", r"fails on examples \(\d+, 2, 8, 8\): RuntimeError: mat1 and mat2"),
        ("Tuple", "gives tuple, not"),
    ],
)
def test_a_module_that_does_not_fit_is_said_to_be_what_failed(make: str, why: str, engine: str) -> None:
    """With a folder it would be asked before; here the first to find out is a device, perhaps in another process."""
    asked = study(f"{__name__}:{make}", "fedavg").model_copy(update={"valid_percent": 0})
    with pytest.raises(LocalError, match=why):
        simulate(asked, Data(*examples(60), ("a", "b", "c")), engine=engine, workers=2)


CHANGED = {"inputs": nn.ReLU}


def changing() -> nn.Module:
    return nn.Sequential(nn.Flatten(), CHANGED["inputs"](), nn.Linear(2 * 64, 3))


def test_a_run_does_not_go_on_with_a_module_that_was_changed(tmp_path: Path) -> None:
    """Its numbers have the same names and places: it is what it answers that tells."""
    data, asked = Data(*examples(60), ("a", "b", "c")), study(f"{__name__}:changing", "fedavg")
    simulate(asked, data, folder=tmp_path, engine="inline")
    assert len(simulate(asked, data, folder=tmp_path, engine="inline").rounds) == 2
    CHANGED["inputs"] = nn.Tanh
    network.cache_clear()
    with pytest.raises(SettingsError, match="another module"):
        simulate(asked, data, folder=tmp_path, engine="inline")


class Talking(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        print("a module is made")  # noqa: T201
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, len(shapes.CLASSES)))

    def forward(self, x: Any) -> Any:
        print("a module learns")  # noqa: T201
        return self.inner(x)


def test_what_a_module_prints_is_not_in_the_line_of_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--module", f"{__name__}:Talking", "--dataset", "shapes", "--set", "picture_size=16"]
    words += ["--devices", "4", "--rounds", "1", "--set", "training.epochs=1"]
    main_exit = 0
    try:
        main(["simulate", *words, "--state", str(tmp_path), "--workers", "2", "--json"])
    except SystemExit as ended:
        main_exit = int(ended.code or 0)
    said = capfd.readouterr()
    assert main_exit == 0, said.err
    (line,) = said.out.splitlines()
    assert json.loads(line)["versions"].keys() >= {"numpy", "torch"}
    assert "a module is made" in said.err
    assert "a module learns" in said.err
