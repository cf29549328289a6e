from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.errors import DataError, NotPossibleNow
from fanlight.learning import model_file
from fanlight.learning.heads import head_layout
from fanlight.protocol.closing import Result
from fanlight.protocol.plan import Kind
from fanlight.services.device import pictures, status
from fanlight.services.device.role import DeviceRole
from tests.unit.device.federation import PLAN, FakeFederation, first_model
from tests.unit.device.joined import announced, done, failed, turn


def slug(step: object) -> str:
    assert callable(step)
    with pytest.raises(NotPossibleNow) as caught:
        step()
    assert caught.value.next
    return caught.value.slug


def test_nothing_is_possible_before_main_was_reached(device: DeviceRole) -> None:
    assert [slug(step) for step in (device.steps.train, device.steps.announce, device.steps.send)] == [
        "no-model-yet"
    ] * 3
    assert [view.possible for view in device.steps.views()] == [False] * 3


def test_steps_need_one_another(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    assert slug(device.steps.announce) == "round-idle"
    assert slug(device.steps.send) == "round-idle"
    done(device, device.steps.train())
    assert slug(device.steps.send) == "round-trained"
    done(device, device.steps.announce())
    assert len(federation.ready) == 1
    assert slug(device.steps.send) == "no-manifest"
    federation.open_round()
    turn(device)
    assert [view.possible for view in device.steps.views()] == [True] * 3
    done(device, device.steps.send())
    assert slug(device.steps.send) == "already-sent"


def test_what_was_labelled_can_be_trained_on_at_once_whether_or_not_main_answers(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    (tmp_path / "data").mkdir()
    role = federation.device(tmp_path / "device-2", tmp_path / "data")
    turn(role)
    role.jobs.wait(role.steps.look_at_model().id, 60)
    assert slug(role.steps.train) == "nothing-to-learn-from"
    federation.down = {"main"}
    for name in ("bright", "dark"):
        role.library.add(
            [(path.name, io.BytesIO(path.read_bytes())) for path in sorted((drawn / name).iterdir())], name
        )
    assert [view.possible for view in role.steps.views()] == [True, False, False]
    done(role, role.steps.train())
    role.stop()


def test_a_model_that_came_before_the_first_labels_is_measured_when_they_are_there(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    (tmp_path / "data").mkdir()
    role = federation.device(tmp_path / "device-2", tmp_path / "data")

    def tested() -> int | None:
        turn(role)
        held = role.store.held
        return held.measured.metrics.total if held and held.measured else None

    assert tested() == 0
    [first, *others] = sorted((drawn / "bright").iterdir())
    role.library.add([(first.name, io.BytesIO(first.read_bytes()))], "bright")
    assert tested() == 0, "the only picture of its kind is trained with"
    role.library.add([(path.name, io.BytesIO(path.read_bytes())) for path in others], "bright")
    assert tested() == 1
    role.stop()


def test_the_report_says_what_was_learned_and_nothing_else(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    signed = federation.open_round()
    turn(device)
    sent = done(device, device.steps.send()).result
    totals = federation.look_into(signed)
    prepared = device.offers.prepared
    assert prepared is not None
    local, start = (model_file.decode(data) for data in (device.store.local_file(prepared.head), federation.model))
    layout = head_layout(PLAN.features, 2)
    update = layout.flatten({"head.weight": local.weight, "head.bias": local.bias}) - layout.flatten(
        {"head.weight": start.weight, "head.bias": start.bias}
    )
    assert totals.weight == 6
    assert totals.mean is not None
    assert np.abs(update).max() > 0
    np.testing.assert_allclose(totals.mean, update, atol=2e-2)
    assert totals.supporters is not None
    assert totals.supporters.tolist() == [1, 1]
    assert totals.received is not None
    assert totals.received.confusion.sum() == 2
    assert sent["fingerprint"] == federation.envelope().report_id.hex()
    assert sent["state"] == "confirmed"
    assert federation.beacons == [device.store.past.reports()[0].receipt]


def test_training_starts_from_the_current_global_head(federation: FakeFederation, device: DeviceRole) -> None:
    federation.model = first_model(bias=3.0)
    turn(device)
    done(device, device.steps.train())
    prepared = device.offers.prepared
    assert prepared is not None
    local = model_file.decode(device.store.local_file(prepared.head))
    assert local.bias[0] > 2.0


def test_a_new_model_makes_the_training_void(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    federation.publish(first_model(version=1, bias=0.5))
    turn(device)
    assert slug(device.steps.send) == "round-idle"
    assert status.learning(device)["local"]["from_version"] == 0


def test_a_vanished_folder_is_named_and_changes_nothing(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    data = shutil.copytree(drawn, tmp_path / "data")
    role = federation.device(tmp_path / "device-2", data)
    announced(role)
    before = role.store.prepared
    shutil.rmtree(data)
    with pytest.raises(DataError, match="with the pictures is not there"):
        role.steps.train()
    assert role.store.prepared == before
    assert status.status(role)["pictures"]["error"]["slug"] == "data-folder-gone"
    assert not role.steps.view("/modeltrain").possible
    assert str(data) in role.steps.view("/modeltrain").reason
    role.stop()


def test_a_folder_that_vanishes_during_training_fails_the_job(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    data = shutil.copytree(drawn, tmp_path / "data")
    role = federation.device(tmp_path / "device-2", data)
    turn(role)
    held = role.store.held
    (data / "unknown").mkdir()
    assert failed(role, role.steps.train()) == "unknown-class"
    assert (role.store.held, role.store.prepared) == (held, None)
    role.stop()


def test_without_training_pictures_there_is_nothing_to_learn_from(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(drawn, data / "test")
    role = federation.device(tmp_path / "device-2", data)
    turn(role)
    assert slug(role.steps.train) == "nothing-to-learn-from"
    signed = federation.open_round(Kind.MEASURE)
    turn(role)
    totals = federation.look_into(signed)
    assert totals.received is not None
    assert totals.local is not None
    assert (totals.received.confusion.sum(), totals.local.confusion.sum()) == (10, 0)
    role.stop()


def test_pictures_put_there_later_are_found(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(drawn, data / "test")
    role = federation.device(tmp_path / "device-2", data)
    turn(role)
    shutil.copytree(drawn, data / "train")
    for picture in (data / "train").rglob("*.png"):
        picture.write_bytes(picture.read_bytes() + b"another file")
    done(role, role.steps.train())
    role.stop()


def test_pages_read_no_pictures_and_the_loop_finds_new_ones(
    federation: FakeFederation, tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(drawn, data / "test")
    role = federation.device(tmp_path / "device-2", data)
    turn(role)
    shutil.copytree(drawn, data / "train")

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a page read the folder")

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "scan", refuse)
        assert not role.steps.view("/modeltrain").possible
        status.status(role)
        status.learning(role)
    turn(role)
    assert role.steps.view("/modeltrain").possible
    role.stop()


def test_measuring_rounds_are_answered_by_hand_too(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    signed = federation.open_round(Kind.MEASURE)
    turn(device)
    totals = federation.look_into(signed)
    assert totals.mean is None
    assert totals.local is not None
    assert totals.local.confusion.sum() == 2
    assert device.store.past.rounds()[0].learned.local is not None
    assert slug(device.steps.send) == "already-sent"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"demo": False, "k_min": 2}, "below-floor"),
        ({"suite": 2}, "unknown-suite"),
        ({"fid": bytes(32)}, "foreign-manifest"),
        ({"model": bytes(32)}, "other-model"),
    ],
)
def test_a_refused_manifest_says_why(
    federation: FakeFederation, device: DeviceRole, changes: dict[str, Any], expected: str
) -> None:
    announced(device)
    federation.open_round(**changes)
    turn(device)
    assert slug(device.steps.send) == expected
    assert federation.uploads == []
    kept = [refusal.slug for refusal in device.store.refusals.newest()]
    assert kept == ([] if expected == "other-model" else [expected])


def test_a_demonstration_is_refused_unless_the_owner_says_so(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    role = federation.device(tmp_path / "device-2", drawn, accept_demo=False)
    announced(role)
    federation.open_round()
    turn(role)
    assert slug(role.steps.send) == "demo-refused"
    assert status.refusals(role)["refusals"][0]["slug"] == "demo-refused"
    role.stop()


def test_a_plan_and_model_are_answered_once_unless_abandoned(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    federation.open_round()
    turn(device)
    done(device, device.steps.send())
    federation.end_round(Result.ABANDONED)
    turn(device)
    federation.open_round()
    turn(device)
    done(device, device.steps.send())
    federation.end_round(Result.RELEASED)
    turn(device)
    federation.open_round()
    announced(device)
    assert slug(device.steps.send) == "answered-before"
    federation.open_round(attempt=1)
    turn(device)
    done(device, device.steps.send())
    lines = status.learning(device)["rounds"]
    assert [(line["result"], line["included"]) for line in lines] == [
        ("abandoned", False),
        ("released", True),
        (None, None),
    ]


def test_answers_a_day_are_limited(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    role = federation.device(tmp_path / "device-2", drawn, answers_per_day=1)
    announced(role)
    federation.open_round()
    turn(role)
    done(role, role.steps.send())
    federation.end_round(Result.FAILED)
    announced(role)
    federation.open_round(attempt=1)
    turn(role)
    assert slug(role.steps.send) == "answers-per-day"
    role.stop()
