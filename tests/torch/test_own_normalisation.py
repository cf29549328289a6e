"""Batch normalisation kept at home (FedBN): a device answers with its own, exactly as PyTorch does with it put in.

The global model has what this home has trained, but its normalisation: so nothing else makes the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fanlight.cli import main as fanlight
from fanlight.core.randomness import Keystream
from fanlight.learning import model_file
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE, compile_backbone
from fanlight.learning.features import open_session
from fanlight.learning.model_file import HeadModel
from fanlight.learning.pictures import content_hash, load
from fanlight.learning.tuned_backbone import EPSILON, NORM, PREFIX, BatchNorm, Cut, cut, normalisation, normalised
from fanlight.protocol.closing import Result
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.try_it import TryIt
from tests.torch.test_fine_tuning import NORMS, Original
from tests.unit.device.federation import FakeFederation, draw_pictures
from tests.unit.device.joined import turn
from tests.unit.device.own_models import sends
from tests.unit.device.test_fine_tuning import tuned_model, tuned_plan

ENTRY = BACKBONES[DEFAULT_BACKBONE]
EXACTLY = 1e-5
"""Of a probability: what is left are float32 and another order of sums."""
Floats = NDArray[np.float32]


class Home(NamedTuple):
    """A device that was in a round; a picture; and the probabilities that PyTorch finds by its model and the global."""

    role: DeviceRole
    picture: Path
    own: Floats
    shared: Floats


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    graph = compile_backbone(ENTRY.id, folder / "backbones").read()
    plan = tuned_plan(graph, BatchNorm.LOCAL).with_(epochs=5, patience=5)
    first = tuned_model(graph, BatchNorm.LOCAL)
    federation = FakeFederation(folder / "federation", plan=plan, by_itself=True, model=model_file.encode(first))
    pictures = draw_pictures(folder / "pictures", each=8)
    role = federation.device(folder / "device", pictures, randomness=Keystream(b"\x05" * 32).bytes)  # learns the same
    sends(federation, role)
    prepared = role.store.prepared
    assert prepared is not None
    own = model_file.decode(role.store.local_file(prepared.head))
    at_home = normalisation(own.layout)
    elsewhere = {name: first.tensors[name] * np.float32(2) for name in at_home}  # pictures are other ones there
    mean = own.with_tensors({**own.tensors, **elsewhere})
    federation.end_round(Result.RELEASED)
    federation.publish(model_file.encode(replace(mean, version=1, lineage=Lineage("fedbn", ((1, 1),)))))
    turn(role)
    picture = role.pictures.folder / "dark" / "5.png"
    pixels, made = load(picture.read_bytes(), own.picture_size)[None], cut(ENTRY.id, graph, ENTRY.features, 1)
    yield Home(role, picture, by_torch(made, own, pixels), by_torch(made, mean, pixels))
    role.stop()


def by_torch(made: Cut, model: HeadModel, pixels: NDArray[np.uint8]) -> Floats:
    """Probabilities, by the original network: the model's kernels, and behind each a BatchNorm2d of its own numbers."""
    constants = made.contents.constants
    network = Original(model, constants["feature_scale"], constants["feature_shift"])
    modules = dict(network.network.named_modules())
    for node in made.convolutions:
        kernel, bias = (torch.tensor(model.tuned[f"{PREFIX}{name}"]) for name in node.inputs[1:])
        weight, shift, mean, variance = (torch.tensor(model.tuned[normalised(node) + part]) for part in NORM)
        before, _, last = node.output.rpartition(".")
        norm = modules[f"{before}.{NORMS[last]}" if before else NORMS[last]]
        modules[node.output].weight.data = kernel
        norm.weight.data, norm.bias.data, norm.eps = weight, shift, EPSILON
        norm.running_mean, norm.running_var = mean - bias, variance  # these convolutions have no bias of their own
    with torch.no_grad():
        found: Floats = torch.softmax(network(pixels), 1)[0].numpy()
    return found


def test_its_normalisation_makes_a_difference(home: Home) -> None:
    """Else the other tests would tell nothing."""
    model, shared = home.role.rounds.answering().model, home.role.rounds.learner.global_model(home.role.rounds.held())
    differ = {name for name in model.layout.names if not np.array_equal(model.tensors[name], shared.tensors[name])}
    assert differ == normalisation(model.layout)
    assert np.abs(home.own - home.shared).max() > 1000 * EXACTLY


def test_predict_answers_with_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for more, expected in (([], home.own), (["--shared"], home.shared)):
        run("predict", home.picture, "--state", home.role.settings.state, "--json", *more)
        said = capsys.readouterr()
        scores = json.loads(said.out)[0]["scores"]
        np.testing.assert_allclose(list(scores.values()), expected, atol=EXACTLY)
        assert ("This home's own model (FedBN, learned in round 1) answers" in said.err) == (not more)


def test_export_writes_it(home: Home, tmp_path: Path) -> None:
    pixels = load(home.picture.read_bytes(), home.role.rounds.held().plan.picture_size)[None]
    for name, more, expected in (("own-model", [], home.own), ("model", ["--shared"], home.shared)):
        run("export", "--state", home.role.settings.state, "--out", tmp_path, *more)
        session = open_session((tmp_path / f"fanlight-{name}-1.onnx").read_bytes(), threads=1)
        (found,) = session.run(["probabilities"], {"images": pixels})[0]
        np.testing.assert_allclose(found, expected, atol=EXACTLY)
        assert ("own_model" in session.get_modelmeta().custom_metadata_map) == (name == "own-model")


def test_try_it_shows_it_beside_the_global_one(home: Home) -> None:
    classes = home.role.rounds.held().plan.classes
    trying = TryIt(home.role)
    looked = {answer.which: answer for answer in trying.look(home.picture.read_bytes()).answers}
    kept = {answer.which: answer for answer in trying.kept(content_hash(home.picture))}
    for answers in (looked, kept):
        for answer, expected in ((answers["own"], home.own), (answers["global"], home.shared)):
            scores = dict(answer.scores)
            np.testing.assert_allclose([scores[name] for name in classes], expected, atol=EXACTLY)
        assert answers["own"].learned is not None
        assert answers["own"].learned.algorithm == "FedBN"


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        fanlight([str(word) for word in words])
    assert ended.value.code == 0
