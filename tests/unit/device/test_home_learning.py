"""A device learns names of its own: by itself, anew when something changes, and without a word to anybody."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import update

from fanlight.errors import DataError, NotFound, NotPossibleNow, SettingsError
from fanlight.learning import model_file
from fanlight.learning.heads import zero_head
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.library import Filter, State
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.try_it import TryIt
from fanlight.storage.tables.device import home_models
from tests.e2e.trained_device import draw
from tests.unit.device.federation import PLAN, FakeFederation
from tests.unit.device.joined import done, turn

SIZE = 64
CLASSES = ("circle", "square")


def drawn_federation(folder: Path) -> FakeFederation:
    """A task of circles and squares, whose model knows nothing yet."""
    plan = PLAN.with_(classes=CLASSES, picture_size=SIZE)
    return FakeFederation(folder / "federation", plan=plan, model=model_of(CLASSES, 0))


def model_of(classes: tuple[str, ...], version: int, weight: NDArray[np.float32] | None = None) -> bytes:
    head = zero_head(PLAN.features, len(classes))
    weight = head.weight if weight is None else weight
    return model_file.encode(
        HeadModel("default", version, classes, PLAN.backbone, PLAN.backbone_hash.hex(), SIZE, weight, head.bias)
    )


@pytest.fixture
def federation(tmp_path: Path) -> FakeFederation:
    return drawn_federation(tmp_path)


@pytest.fixture
def role(tmp_path: Path, federation: FakeFederation) -> Iterator[DeviceRole]:
    """A device with eight circles and eight squares."""
    for name in CLASSES:
        draw(tmp_path / "data" / name, name, 8)
    device = federation.device(tmp_path / "state", tmp_path / "data")
    turn(device)
    device.library.refresh()
    yield device
    device.stop()


def six_stars(role: DeviceRole, tmp_path: Path, name: str = "Minka") -> None:
    """Add a name, and six pictures with it."""
    role.library.add_own(name)
    files = [(path.name, io.BytesIO(path.read_bytes())) for path in draw(tmp_path / "new", "star", 6, "new-")]
    assert role.library.take_in(files, name).labels == {name: 6}


def learned(role: DeviceRole) -> None:
    job = role.home.job
    assert job is not None
    done(role, job)


def test_six_pictures_of_a_name_are_learned_by_themselves(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    kept = role.home.models.kept
    assert kept is not None
    found = {named.name: named for named in kept.findings.named}
    assert {name: named.pictures for name, named in found.items()} == {"circle": 8, "square": 8, "Minka": 6}
    assert found["Minka"].own
    assert not found["circle"].own
    assert found["Minka"].found >= 5
    assert found["circle"].found + found["square"].found >= 14
    answers = {
        answer.which: answer
        for answer in TryIt(role).look(draw(tmp_path / "x", "star", 1, "x-")[0].read_bytes()).answers
    }
    assert answers["home"].label == "Minka"
    assert "Minka" not in dict(answers["global"].scores)


def test_its_pictures_lie_in_a_folder_of_their_own_and_are_none_of_the_tasks(role: DeviceRole, tmp_path: Path) -> None:
    before = role.pictures._scan(CLASSES)
    six_stars(role, tmp_path)
    assert len(list((tmp_path / "data" / "_own" / "Minka").iterdir())) == 6
    assert role.pictures._scan(CLASSES) == before
    counts = role.library.counts()
    assert counts.own == {"Minka": 6}
    assert counts.labels == {"circle": 8, "square": 8}
    assert {picture.part for picture in role.library.page(Filter(State.LABELLED, "Minka")).pictures} == {""}
    assert [finding.kind for finding in role.library.warnings() if "Minka" in finding.text] == []


def test_what_counts_as_a_class_is_split_as_it_is_and_nothing_else(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    (own,) = role.library.own.all
    role.library.change_own(own.number, "Minka", "circle", counts=True)
    found = role.pictures._scan(CLASSES)
    by_part = {
        part: {picture.content_hash for picture in found.part(part) if picture.label == 0}
        for part in ("train", "valid", "test")
    }
    assert sum(map(len, by_part.values())) == 14
    shown = [
        picture for name in ("circle", "Minka") for picture in role.library.page(Filter(State.LABELLED, name)).pictures
    ]
    assert {part: {picture.sha256 for picture in shown if picture.part == part} for part in by_part} == by_part
    assert set(role.library.of_part("circle", "test")) == by_part["test"]
    role.library.change_own(own.number, "Minka", "circle", counts=False)
    assert len([p for p in role.pictures._scan(CLASSES).train if p.label == 0]) < 6


def test_nothing_is_learned_twice_and_changes_are_learned(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    first = role.home.models.kept
    done(role, role.home.learn())
    assert role.home.models.kept is first
    some = [picture.sha256 for picture in role.library.page(Filter(State.LABELLED, "Minka")).pictures[:2]]
    role.library.assign(some, "square")
    learned(role)
    second = role.home.models.kept
    assert second is not None
    assert {named.name: named.pictures for named in second.findings.named} == {"circle": 8, "square": 10, "Minka": 4}


def test_a_new_global_version_is_learned_on(role: DeviceRole, federation: FakeFederation, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    weight = np.random.default_rng(1).normal(0, 0.01, (PLAN.features, 2)).astype(np.float32)
    federation.publish(model_of(CLASSES, 1, weight))
    turn(role)
    learned(role)
    kept = role.home.models.kept
    assert kept is not None
    assert kept.findings.version == kept.model.head.version == 1


def test_it_is_there_after_a_start(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    again = type(role.home.models)(role.store.database, role.store.values).kept
    before = role.home.models.kept
    assert again is not None
    assert before is not None
    assert again.findings == before.findings
    assert np.array_equal(again.model.head.weight, before.model.head.weight)
    assert again.model.threshold == before.model.threshold


def test_what_tells_strangers_in_another_form_is_learned_anew(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    with role.store.database.transaction() as tx:
        tx.execute(update(home_models).values(familiar=model_of(CLASSES, 0)))
    role.home.models = type(role.home.models)(role.store.database, role.store.values)
    assert role.home.models.kept is None
    done(role, role.home.learn())
    kept = role.home.models.kept
    assert kept is not None
    assert kept.model.familiar is not None


def test_a_folder_made_by_hand_is_a_name(role: DeviceRole, tmp_path: Path) -> None:
    draw(tmp_path / "data" / "_own" / "Mauz", "star", 3, "hand-")
    role.library.refresh()
    assert [own.name for own in role.library.own.all] == ["Mauz"]
    assert role.library.names == (*CLASSES, "Mauz")
    learned(role)


def test_a_name_is_changed_with_its_folder(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    (own,) = role.library.own.all
    role.library.change_own(own.number, "Frau Minka", None, counts=False)
    assert role.library.counts().own == {"Frau Minka": 6}
    assert [path.name for path in (tmp_path / "data" / "_own").iterdir()] == ["Frau Minka"]
    assert [each.name for each in role.library.own.all] == ["Frau Minka"]
    learned(role)
    kept = role.home.models.kept
    assert kept is not None
    assert "Frau Minka" in kept.model.head.classes


def test_a_deleted_name_leaves_its_pictures_without_a_label_until_it_is_undone(
    role: DeviceRole, tmp_path: Path
) -> None:
    six_stars(role, tmp_path)
    (own,) = role.library.own.all
    assert role.library.remove_own(own.number) == 6
    assert not role.library.own.all
    assert role.library.counts().states[State.UNLABELLED] == 6
    undone = role.library.undo()
    assert undone is not None
    assert undone.count == 6
    assert [each.name for each in role.library.own.all] == ["Minka"]
    with pytest.raises(NotFound):
        role.library.remove_own(99)


@pytest.mark.parametrize("name", ["circle", "Circle", "_own", "_deleted", ".hidden", "a/b", "", "x" * 65])
def test_names_that_cannot_be(role: DeviceRole, name: str) -> None:
    with pytest.raises(DataError):
        role.library.add_own(name)
    role.library.add_own("Minka")
    with pytest.raises(DataError, match="already"):
        role.library.add_own(" minka ")
    with pytest.raises(DataError, match="no such class"):
        role.library.add_own("Mauz", "cat")


def test_what_only_this_home_knows_cannot_be_proposed(role: DeviceRole) -> None:
    role.library.add_own("Minka")
    with pytest.raises(DataError, match="only this home knows"):
        role.library.propose_class("Minka")


def test_a_name_that_becomes_a_class_of_all_stays_at_home(
    role: DeviceRole, federation: FakeFederation, tmp_path: Path
) -> None:
    six_stars(role, tmp_path)
    learned(role)
    classes = (*CLASSES, "Minka")
    federation.plan = federation.plan.with_(classes=classes)
    federation.publish(model_of(classes, 1))
    turn(role)
    found = role.pictures._scan(classes)
    assert not [each for part in ("train", "valid", "test") for each in found.part(part) if each.label == 2]
    waiting = draw(tmp_path / "data" / "_unlabelled", "star", 1, "later-")
    role.library.refresh()
    assert waiting[0].exists()
    (picture,) = role.library.page(Filter(State.UNLABELLED)).pictures
    role.library.assign([picture.sha256], "Minka")
    assert role.library.counts().own == {"Minka": 7}, "the safe one of both"
    assert role.home.wanted().names == ()


def test_strangers_are_called_unknown_as_the_owner_wants(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    before = role.home.models.kept
    assert before is not None
    assert before.findings.threshold is not None
    assert before.findings.threshold.wanted == 0.1
    role.home.models.let_pass(40)
    role.home.follow()
    learned(role)
    after = role.home.models.kept
    assert after is not None
    assert after.findings.threshold is not None
    assert after.findings.threshold.score < before.findings.threshold.score
    with pytest.raises(SettingsError):
        role.home.models.let_pass(0)


def test_a_device_without_own_names_learns_none_until_it_is_asked(role: DeviceRole) -> None:
    role.library.refresh()
    role.home.notice_model()
    assert role.home.job is None
    done(role, role.home.learn())
    kept = role.home.models.kept
    assert kept is not None
    assert kept.model.head.classes == CLASSES


def test_without_a_model_nothing_is_learned(tmp_path: Path) -> None:
    federation = drawn_federation(tmp_path)
    draw(tmp_path / "data" / "circle", "circle", 2)
    device = federation.device(tmp_path / "state", tmp_path / "data")
    device.library.add_own("Minka")
    with pytest.raises(NotPossibleNow):
        device.home.learn()
    assert device.home.job is None
    device.stop()


def test_a_picture_that_is_gone_is_done_without(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    wanted = role.home.wanted()
    gone = wanted.pictures[0]
    gone.path.write_bytes(b"no picture")
    rows, labels, groups = role.home._features(wanted, lambda *_args: None)
    assert len(rows) == len(labels) == len(groups) == len(wanted.pictures) - 1


def test_suggestions_come_from_the_homes_head(role: DeviceRole, tmp_path: Path) -> None:
    six_stars(role, tmp_path)
    learned(role)
    assert role.home.asked()[0].classes == (*CLASSES, "Minka")
    new = draw(tmp_path / "more", "star", 2, "more-")
    role.library.take_in([(path.name, io.BytesIO(path.read_bytes())) for path in new])
    done(role, role.jobs.start("suggest", role.library._suggest))
    assert [picture.suggestion for picture in role.library.suggestions()] == ["Minka", "Minka"]
    assert role.library.outdated_suggestions() == 0
    assert role.library.confirm([picture.sha256 for picture in role.library.suggestions()]) == 2
    assert role.library.counts().own == {"Minka": 8}
