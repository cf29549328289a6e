"""A federation whose backbone learns, on a device without PyTorch: it says no to training, and uses what is made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fanlight.errors import ModelError, NotPossibleNow, Refused
from fanlight.learning import model_file
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE, CompiledBackbone, compile_backbone
from fanlight.learning.features import FeatureExtractor, open_session
from fanlight.learning.inference import Predictor
from fanlight.learning.model_file import HeadModel
from fanlight.learning.tail import TunedExtractor
from fanlight.learning.tuned_backbone import BatchNorm, backbone_of, cut
from fanlight.protocol.plan import Kind, Plan, PlannedAlgorithm, PlannedFineTuning
from fanlight.services.device.offers import check_fits
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.try_it import TryIt
from tests.unit.device.federation import PLAN, FakeFederation
from tests.unit.device.joined import done, failed, turn

ENTRY = BACKBONES[DEFAULT_BACKBONE]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compile_backbone(ENTRY.id, tmp_path_factory.mktemp("backbones")).read()


def tuned_plan(graph: bytes, kind: BatchNorm = BatchNorm.FROZEN) -> Plan:
    size = cut(ENTRY.id, graph, ENTRY.features, 1).layout(kind).size
    chosen = PlannedFineTuning(blocks=1, batch_norm=kind.value, learning_rate_micro=1000, parameters=size)
    own = PlannedAlgorithm(name="fedbn", parameters=(), steps=False) if kind is BatchNorm.LOCAL else None
    return PLAN.with_(fine_tune=chosen, algorithm=own)


def tuned_model(graph: bytes, kind: BatchNorm = BatchNorm.FROZEN, version: int = 0, factor: float = 1.0) -> HeadModel:
    """Its head knows bright pictures from dark ones by chance; ``factor`` changes its backbone."""
    draw = np.random.default_rng(2)
    weight = draw.normal(0, 0.05, (ENTRY.features, 2)).astype(np.float32)
    tuned = cut(ENTRY.id, graph, ENTRY.features, 1).start(kind)
    tuned = {name: x * np.float32(factor if name.endswith("_project_conv.weight") else 1) for name, x in tuned.items()}
    digest = PLAN.backbone_hash.hex()
    size, bias = PLAN.picture_size, np.zeros(2, np.float32)
    return HeadModel("default", version, PLAN.classes, ENTRY.id, digest, size, weight, bias, tuned=tuned)


@pytest.fixture
def tuned(federation: FakeFederation, graph: bytes) -> FakeFederation:
    federation.plan = tuned_plan(graph)
    federation.publish(model_file.encode(tuned_model(graph)))
    return federation


def without_torch(role: DeviceRole) -> None:
    object.__setattr__(role.rounds.learner, "has_torch", lambda: False)


def test_a_training_round_is_declined_and_a_measuring_round_answered(tuned: FakeFederation, device: DeviceRole) -> None:
    without_torch(device)
    tuned.by_itself = True
    tuned.open_round()
    turn(device)
    turn(device)
    assert tuned.declined_because == ["needs-torch"]
    assert [refusal.slug for refusal in device.store.refusals.newest()] == ["needs-torch"]
    assert "pip install 'fanlight[torch]'" in device.store.refusals.newest()[0].next
    tuned.open_round(Kind.MEASURE)
    turn(device)
    assert len(tuned.uploads) == 1
    assert len(tuned.declined) == 1


def test_by_hand_the_step_says_why(tuned: FakeFederation, device: DeviceRole) -> None:
    without_torch(device)
    turn(device)
    view = device.steps.view("/modeltrain")
    assert not view.possible
    assert "PyTorch" in view.reason
    with pytest.raises(Refused) as refused:
        device.rounds.learner.train(device.rounds.held(), lambda *_: None)
    assert refused.value.slug == "needs-torch"
    assert device.offers.prepared is None


def test_what_is_measured_is_the_backbone_that_has_learned(
    tuned: FakeFederation, device: DeviceRole, graph: bytes
) -> None:
    turn(device)
    counts = []
    for version, factor in ((1, 1.0), (2, 3.0)):
        model = tuned_model(graph, version=version, factor=factor)
        tuned.publish(model_file.encode(model))
        turn(device)
        done(device, device.steps.look_at_model())
        held = device.rounds.held()
        assert held.measured is not None
        counts.append(held.measured.loss_micro)
        paths = sorted((device.settings.data).rglob("*.png"))
        whole = FeatureExtractor(backbone_of(model, _compiled(device, model)), PLAN.picture_size)
        kept = TunedExtractor(model, _compiled(device, model), device.settings.state / "features")
        np.testing.assert_allclose(kept.extract(paths), whole.extract(paths), atol=1e-4)
    assert counts[0] != counts[1]
    # activations of the one front are kept; features of the two versions are not
    assert len(list((device.settings.state / "features").iterdir())) == 1


def _compiled(device: DeviceRole, model: HeadModel) -> CompiledBackbone:
    return device.backbone(model)


def test_the_page_try_it_asks_the_backbone_that_has_learned(
    tuned: FakeFederation, device: DeviceRole, graph: bytes
) -> None:
    model = tuned_model(graph, factor=3.0)
    tuned.publish(model_file.encode(model))
    turn(device)
    done(device, device.steps.look_at_model())
    path = next(device.settings.data.rglob("*.png"))
    compiled = _compiled(device, model)
    wanted = Predictor(model, FeatureExtractor(backbone_of(model, compiled), PLAN.picture_size)).predict(path)
    (answer,) = TryIt(device).look(path.read_bytes()).answers
    assert dict(answer.scores) == pytest.approx(dict(wanted.scores), abs=1e-4)
    plain = replace(model, tuned={})
    other = Predictor(plain, FeatureExtractor(compiled, PLAN.picture_size)).predict(path)
    assert abs(other.confidence - wanted.confidence) > 1e-3


def test_a_head_is_not_put_on_the_backbone_before_it_learned(device: DeviceRole, graph: bytes) -> None:
    one, other = tuned_model(graph), tuned_model(graph, factor=2.0)
    compiled = _compiled(device, one)
    before, after = replace(one, tuned={}), backbone_of(one, compiled)
    for model, backbone in ((one, compiled), (one, backbone_of(other, compiled)), (before, after)):
        with pytest.raises(ModelError, match="learned otherwise"):
            Predictor(model, FeatureExtractor(backbone, PLAN.picture_size))
    Predictor(one, FeatureExtractor(backbone_of(one, compiled), PLAN.picture_size))


@pytest.mark.parametrize("kind", list(BatchNorm))
def test_a_model_without_the_plans_tensors_is_refused(graph: bytes, kind: BatchNorm) -> None:
    plan = tuned_plan(graph, kind)
    check_fits(model_file.encode(tuned_model(graph, kind)), plan)
    (other,) = set(BatchNorm) - {kind}
    for flawed in (replace(tuned_model(graph, kind), tuned={}), tuned_model(graph, other)):
        with pytest.raises(Refused) as refused:
            check_fits(model_file.encode(flawed), plan)
        assert refused.value.slug == "model-refused"
    with pytest.raises(Refused):
        check_fits(model_file.encode(tuned_model(graph, kind)), PLAN)


def test_a_plan_that_would_have_nothing_shared_is_refused(graph: bytes) -> None:
    model, names = model_file.encode(tuned_model(graph)), len(tuned_model(graph).layout.names)
    for personal in (names - 1, names):
        planned = PlannedAlgorithm(name="fedper", parameters=(("personal", personal * 1_000_000),), steps=False)
        plan = tuned_plan(graph).with_(algorithm=planned)
        if personal < names:
            check_fits(model, plan)
        else:
            with pytest.raises(Refused, match="leave nothing to share"):
                check_fits(model, plan)


def test_other_tensors_of_the_same_number_are_found_out(
    tuned: FakeFederation, device: DeviceRole, graph: bytes
) -> None:
    model = tuned_model(graph)
    renamed = {name.replace("_blocks.15", "_blocks.14"): x for name, x in model.tuned.items()}
    tuned.publish(model_file.encode(replace(model, tuned=renamed)))
    with pytest.raises(NotPossibleNow, match="not those that learn"):
        turn(device)
    assert failed(device, device.steps.look_at_model()) == "bad-model"


def test_a_whole_backbone_in_the_front_scales_pixels_only(graph: bytes) -> None:
    parts = cut(ENTRY.id, graph, ENTRY.features, 0)
    pixels = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    (rows,) = open_session(parts.front(32).read(), 1).run(["features"], {"pictures": pixels})
    np.testing.assert_allclose(rows.reshape(3, 32, 32), (pixels[0].transpose(2, 0, 1) - 127.0) / 128, atol=1e-6)


def test_plans_that_cannot_be(graph: bytes) -> None:
    plan = tuned_plan(graph)
    assert plan.parameters == plan.fine_tune.parameters + 1281 * 2  # type: ignore[union-attr]
    assert Plan.decode(plan.encode()) == plan
    assert plan.hash != PLAN.hash
    for head in ("analytic", "prototypes"):
        with pytest.raises(ValueError, match="features of a backbone that learns change"):
            Plan(**{**dict(plan), "head": head})
