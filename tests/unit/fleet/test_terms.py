"""What can be asked for where servers are live, and what is refused, with a word why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.errors import FanlightError, NotFound, SettingsError
from fanlight.learning.backbones import DEFAULT_BACKBONE, backbone
from fanlight.protocol.plan import Plan, PlannedAugmentation, PlannedFineTuning
from fanlight.services.federation import init_federation, issue_token_file, issue_token_files, read_token, revoke
from fanlight.services.fleet.terms import OF_THE_TASK, check_data, check_plan, check_study, in_order_of
from fanlight.services.fleet.tokens import read_tokens
from fanlight.simulation import Data, Study

URL = "http://localhost:1"
EXPIRES = 2_000_000_000


def plan_of(**changes: Any) -> Plan:
    known = backbone(DEFAULT_BACKBONE)
    fields: dict[str, Any] = {
        "task": "t", "kind": "train", "classes": ("cat", "dog"), "backbone": known.id,
        "backbone_hash": bytes.fromhex(known.compiled_sha256), "features": 3, "picture_size": 64, "head": "softmax",
        "epochs": 1, "batch_size": 8, "learning_rate_micro": 1000, "momentum_micro": 0, "l2_micro": 0, "patience": 1,
        "class_weights": True,
    }  # fmt: skip
    return Plan(**{**fields, **changes})


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "fedavg"},
        {"head": "analytic"},
        {"module": "a:b"},
        {"training": {"epochs": 1}},
        {"cohort": 3},
        {"clip": 5},
        {"fidelity": "fast"},
        {"supporters": 2},
    ],
)
def test_what_the_task_says_is_not_asked_for(fields: dict[str, Any]) -> None:
    (name,) = fields
    assert name in OF_THE_TASK <= set(Study.model_fields)
    with pytest.raises(SettingsError, match=name) as refused:
        check_study(Study.of(fields))
    assert refused.value.slug == "of-the-task"


@pytest.mark.parametrize("world", ["diurnal:8", "drop:train=0.1+speeds:mixed", "deadline:5", "over:20", "every:5"])
def test_a_clock_of_its_own_has_no_place(world: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_study(Study.of({"world": world}))
    assert refused.value.slug == "no-live-world"


@pytest.mark.parametrize("world", ["", "always", "random:0.5", "random:0.5+drop:train=0.1,report=0.2"])
def test_who_is_there_and_who_drops_out_can_be_said(world: str) -> None:
    check_study(Study.of({"world": world, "attack": "noise:0.1", "partition": "classes:1", "seed": 3, "devices": 9}))


def test_baselines_need_no_servers() -> None:
    with pytest.raises(SettingsError, match="no servers"):
        check_study(Study.of({"baselines": True}))


@pytest.mark.parametrize(
    ("plan", "study", "slug"),
    [
        (plan_of(backbone="another"), {}, "other-backbone"),
        (plan_of(backbone_hash=bytes(32)), {}, "other-backbone"),
        (
            plan_of(augmentation=PlannedAugmentation(variants=1, flip=True, zoom_percent=0, light_percent=0)),
            {},
            "needs-pictures",
        ),
        (
            plan_of(fine_tune=PlannedFineTuning(blocks=1, batch_norm="frozen", learning_rate_micro=1, parameters=5)),
            {},
            "needs-pictures",
        ),
        (plan_of(), {"picture_size": 96}, "other-picture-size"),
    ],
)
def test_a_task_that_they_cannot_learn_is_refused(plan: Plan, study: dict[str, Any], slug: str) -> None:
    check_plan(plan_of(), Study())
    check_plan(plan_of(), Study.of({"picture_size": 64}))
    with pytest.raises(FanlightError) as refused:
        check_plan(plan, Study.of(study))
    assert refused.value.slug == slug


def test_labels_are_in_the_order_of_the_task() -> None:
    data = Data.of(np.eye(3), np.array([0, 1, 0]), ["dog", "cat"])
    check_data(plan_of(), data)
    assert in_order_of(("cat", "dog"), data).y.tolist() == [1, 0, 1]
    assert in_order_of(("dog", "cat"), data) is data
    for other, slug in (
        (Data.of(np.eye(3), np.array([0, 1, 0]), ["cow", "cat"]), "other-classes"),
        (Data.of(np.eye(3)[:, :2], np.array([0, 1, 0]), ["cat", "dog"]), "other-features"),
    ):
        with pytest.raises(SettingsError) as refused:
            check_data(plan_of(), other)
        assert refused.value.slug == slug


# -- tokens


@pytest.fixture
def home(tmp_path: Path) -> Path:
    init_federation(tmp_path / "home", main_url=URL, aggregator_url="http://localhost:2", task_json=b"{}")
    return tmp_path / "home"


def test_tokens_of_many_are_files_of_their_own_in_the_order_of_their_numbers(home: Path, tmp_path: Path) -> None:
    folder = issue_token_files(home, "crowd", 11, EXPIRES)
    assert folder == home / "tokens" / "crowd"
    tokens = read_tokens(folder, main_url="http://elsewhere:5/")
    assert [token.name for token in tokens] == [f"crowd-{number}" for number in range(1, 12)]
    assert len({token.certificate for token in tokens}) == 11
    assert {(token.main_url, token.aggregator_url) for token in tokens} == {
        ("http://elsewhere:5", "http://localhost:2")
    }
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert issue_token_files(home, "crowd", 12, EXPIRES) == folder
    assert len(list(folder.iterdir())) == 12
    assert before.items() <= {path: path.read_bytes() for path in folder.iterdir()}.items()
    assert len(read_tokens(folder, main_url=URL, count=5)) == 5
    elsewhere = issue_token_files(home, "crowd", 1, EXPIRES, out=tmp_path / "elsewhere")
    assert read_token(elsewhere / "crowd-1.json").certificate not in {token.certificate for token in tokens}


def test_one_of_many_can_be_revoked_by_its_name(home: Path) -> None:
    issue_token_files(home, "crowd", 2, EXPIRES)
    issue_token_file(home, "porch", EXPIRES)
    assert len({revoke(home, name, 1).path for name in ("crowd-1", "crowd-2", "porch")}) == 3
    with pytest.raises(SettingsError):
        revoke(home, "crowd-3", 1)


def test_tokens_that_cannot_be_used_are_named(home: Path, tmp_path: Path) -> None:
    folder = issue_token_files(home, "crowd", 2, EXPIRES)
    with pytest.raises(NotFound, match="no token files"):
        read_tokens(tmp_path / "nowhere", main_url=URL)
    with pytest.raises(SettingsError, match="too few for 3"):
        read_tokens(folder, main_url=URL, count=3)
    with pytest.raises(SettingsError, match="address"):
        read_tokens(folder, main_url="main")
    init_federation(tmp_path / "other", main_url=URL, aggregator_url="http://localhost:2", task_json=b"{}")
    issue_token_file(tmp_path / "other", "x", EXPIRES, out=folder / "x.json")
    with pytest.raises(SettingsError, match="several federations"):
        read_tokens(folder, main_url=URL)
    with pytest.raises(SettingsError, match="device's name"):
        issue_token_files(home, "../crowd", 2, EXPIRES)
