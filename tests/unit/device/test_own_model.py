"""Where the algorithm gives homes models of their own, a device answers with its own, once a round has brought one."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete

from fanlight.errors import StorageError
from fanlight.learning import model_file
from fanlight.protocol.closing import Result
from fanlight.protocol.plan import PlannedAlgorithm
from fanlight.services.device import status
from fanlight.services.device.own_model import own_model, read_own_model
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.try_it import TryIt
from fanlight.storage.database import DATABASE_FILE, Database
from fanlight.storage.tables.device import memories
from tests.unit.device.federation import NOW, FakeFederation
from tests.unit.device.joined import done, turn
from tests.unit.device.own_models import DITTO, FEDPER, FEDREP, ditto_federation, sends, takes_part, vector, version


@pytest.fixture
def federation(tmp_path: Path) -> FakeFederation:
    return ditto_federation(tmp_path / "federation")


@pytest.fixture
def device(federation: FakeFederation, tmp_path: Path, drawn: Path) -> Iterator[DeviceRole]:
    role = federation.device(tmp_path / "device", drawn)
    yield role
    role.stop()


def own_round(device: DeviceRole) -> int | None:
    """The round that the model is of that answers, if it is the home's own; suggestions go by the same."""
    answering, (asked, digest) = device.rounds.answering(), device.home.asked()
    assert (digest, vector(asked).tolist()) == (answering.digest, vector(answering.model).tolist())
    assert (answering.own is None) == (digest == device.rounds.held().sha256)
    return answering.own.round if answering.own else None


@pytest.mark.parametrize("algorithm", [DITTO, FEDPER, FEDREP])
def test_it_answers_from_the_round_on_that_it_was_in(tmp_path: Path, drawn: Path, algorithm: PlannedAlgorithm) -> None:
    federation = ditto_federation(tmp_path / "federation", algorithm)
    device = federation.device(tmp_path / "device", drawn)
    local = sends(federation, device)
    assert own_round(device) is None, "nobody knows yet whether the round counts"
    assert status.learning(device)["answers"] == {
        "version": 0,
        "words": "Version 0, the model of all devices",
        "own": None,
    }
    federation.end_round(Result.RELEASED)
    federation.publish(version(1, (1, 1), algorithm=algorithm.name))
    turn(device)
    assert own_round(device) == 1
    np.testing.assert_array_equal(vector(device.rounds.answering().model), local)
    title = {"ditto": "Ditto", "fedper": "FedPer", "fedrep": "FedRep"}[algorithm.name]
    told = status.learning(device)["answers"]
    assert told["words"] == f"This home's own model ({title}, learned in round 1)"
    assert told["own"] == {"algorithm": title, "round": 1, "learned_at": NOW}
    device.stop()


def test_it_stays_that_of_the_last_released_round_while_another_is_trained_for(
    federation: FakeFederation, device: DeviceRole
) -> None:
    first = takes_part(federation, device, version(1, (1, 1)))
    second = sends(federation, device)
    assert np.abs(second - first).max() > 1e-4
    assert own_round(device) == 1
    federation.end_round(Result.FAILED)
    turn(device)
    assert own_round(device) == 1
    picture = next(device.pictures.folder.glob("dark/*.png")).read_bytes()
    answers = {answer.which: answer for answer in TryIt(device).look(picture).answers}
    assert answers["own"].learned is not None
    assert answers["own"].learned.round == 1
    assert dict(answers["own"].scores)["dark"] > 0.05
    assert dict(answers["global"].scores)["dark"] < 0.001
    assert answers["global"].learned is None
    np.testing.assert_array_equal(vector(TryIt(device).models().heads["own"]), first)


def test_an_answer_names_the_round_of_the_model_that_gave_it(
    federation: FakeFederation, device: DeviceRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a round ends between the choice of the models and their answer."""
    takes_part(federation, device, version(1, (1, 1)))
    trying = TryIt(device)
    models = trying.models()
    takes_part(federation, device, version(2, (1, 2)))
    assert own_round(device) == 2
    monkeypatch.setattr(trying, "models", lambda: models)
    picture = next(device.pictures.folder.glob("dark/*.png")).read_bytes()
    learned = {answer.which: answer.learned for answer in trying.look(picture).answers}["own"]
    assert learned is not None
    assert learned.round == 1


def test_a_round_without_its_report_brings_none(federation: FakeFederation, device: DeviceRole) -> None:
    sends(federation, device)
    federation.end_round(Result.RELEASED, included=False)
    federation.publish(version(1, (1, 1)))
    turn(device)
    assert own_round(device) is None
    picture = next(device.pictures.folder.glob("dark/*.png")).read_bytes()
    answers = {answer.which: answer for answer in TryIt(device).look(picture).answers}
    assert answers["own"].learned is None, "it is only there to be compared"


def test_after_going_back_it_is_what_it_was(federation: FakeFederation, device: DeviceRole) -> None:
    first = takes_part(federation, device, version(1, (1, 1)))
    second = takes_part(federation, device, version(2, (1, 2)))
    np.testing.assert_array_equal(vector(device.rounds.answering().model), second)
    for back, round_number in ((version(1, (1, 1)), 1), (version(0), None), (version(3, (3, 3)), None)):
        federation.publish(back)
        turn(device)
        assert own_round(device) == round_number
        if round_number:
            np.testing.assert_array_equal(vector(device.rounds.answering().model), first)


def test_of_another_algorithm_it_is_none(federation: FakeFederation, device: DeviceRole) -> None:
    takes_part(federation, device, version(1, (1, 1)))
    ditto = federation.plan
    for algorithm in (None, FEDPER):
        federation.plan = ditto.with_(algorithm=algorithm)
        federation.publish(federation.model)
        turn(device)
        assert own_round(device) is None
    federation.plan = ditto
    federation.publish(federation.model)
    turn(device)
    assert own_round(device) == 1
    federation.publish(version(2))  # a round of another algorithm was in between
    turn(device)
    assert own_round(device) is None


def test_of_a_model_of_another_size_it_is_none(federation: FakeFederation, device: DeviceRole) -> None:
    takes_part(federation, device, version(1, (1, 1)))
    held, memories = device.rounds.held(), device.store.memories
    current = device.rounds.learner.global_model(held)
    assert own_model(memories, held, current) is not None
    more = replace(
        current, classes=("a", "b", "c"), weight=np.zeros((1280, 3), np.float32), bias=np.zeros(3, np.float32)
    )
    assert own_model(memories, held, more) is None


def test_it_is_read_from_the_folder_for_the_model_that_is_there(federation: FakeFederation, device: DeviceRole) -> None:
    local = takes_part(federation, device, version(1, (1, 1)))
    found = read_own_model(device.settings.state, federation.model)
    assert found is not None
    np.testing.assert_array_equal(vector(found.model), local)
    assert (found.model.version, found.model.lineage) == (1, None)
    assert read_own_model(device.settings.state, version(0)) is None


def test_reading_it_changes_nothing(federation: FakeFederation, device: DeviceRole, tmp_path: Path) -> None:
    takes_part(federation, device, version(1, (1, 1)))
    file = device.settings.state / DATABASE_FILE
    file.chmod(0o640)
    assert read_own_model(device.settings.state, federation.model) is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    read = Database(file, read_only=True)
    with read, pytest.raises(StorageError, match="readonly"), read.transaction() as tx:
        tx.execute(delete(memories))
    with pytest.raises(StorageError, match="unable to open"):
        read_own_model(tmp_path / "none", federation.model)
    assert not (tmp_path / "none").exists()


def test_own_names_stand_on_it_and_are_learned_anew_when_it_comes(
    federation: FakeFederation, device: DeviceRole
) -> None:
    """The version is here before it is known that the round counts; then the own model comes, of the same version."""
    takes_part(federation, device, version(1, (1, 1)))
    device.library.refresh()
    done(device, device.home.learn())
    sends(federation, device)
    manifest, federation.manifest = federation.manifest, None
    federation.publish(version(2, (1, 2)))
    turn(device)
    assert device.home.job is not None
    done(device, device.home.job)
    kept = device.home.models.kept
    assert kept is not None
    assert (kept.findings.version, kept.findings.own_round) == (2, 1)
    before = device.home.asked()
    federation.manifest = manifest
    federation.end_round(Result.RELEASED)
    turn(device)
    done(device, device.home.job)
    kept = device.home.models.kept
    assert kept is not None
    assert (kept.findings.version, kept.findings.own_round) == (2, 2)
    own = device.rounds.answering().model
    np.testing.assert_array_equal(vector(kept.model.head), vector(own))
    assert device.home.asked()[1] != before[1], "suggestions are asked for anew"
    federation.plan = federation.plan.with_(algorithm=None)
    federation.publish(federation.model)
    turn(device)
    done(device, device.home.job)
    kept = device.home.models.kept
    assert kept is not None
    assert kept.findings.own_round is None
    current = model_file.decode(federation.model)
    np.testing.assert_array_equal(vector(kept.model.head), vector(current))
    assert hashlib.sha256(federation.model).digest() == device.rounds.answering().digest
