"""Going back to an older version, forward again, notes, and the policy while the server runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fanlight.errors import FanlightError, NotFound, NotPossibleNow, SettingsError
from fanlight.services.main_server import device_models
from fanlight.services.main_server.app import MainServerParts, create_app
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.storage.tables import main as tables
from tests.unit.main_server.past import add_member, add_report, add_round, server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "federation"


@pytest.fixture
def parts(folder: Path) -> MainServerParts:
    _app, made = server(folder)
    for number in (1, 2):
        add_round(made, number)
    return made


def current(parts: MainServerParts) -> int:
    with parts.service.database.transaction() as tx:
        return parts.service.models.current(tx).number


def test_going_back_deletes_nothing_and_lasts(parts: MainServerParts, folder: Path) -> None:
    assert parts.service.make_current(1)
    assert current(parts) == 1
    assert [line["version"] for line in parts.records.models()["models"]] == [2, 1, 0]
    assert [(change["from"], change["to"]) for change in parts.records.models()["changes"]] == [(2, 1)]
    assert parts.records.log.page()["entries"][0]["type"] == "current-model"
    parts.service.close()
    _app, again = create_app(MainServerSettings(state=folder / "main"))
    assert current(again) == 1


def test_a_round_after_going_back_starts_there_and_its_version_is_current(parts: MainServerParts) -> None:
    parts.service.make_current(1)
    add_round(parts, 3)
    assert current(parts) == 3
    assert parts.records.model(3)["lineage"] == [1, 0]
    assert parts.records.model(1)["children"] == [2, 3]


def test_going_forward_again(parts: MainServerParts) -> None:
    parts.service.make_current(0)
    assert parts.service.make_current(2)
    assert current(parts) == 2


def test_devices_that_go_back_have_not_trained_from_the_version_that_comes_back(parts: MainServerParts) -> None:
    device = add_member(parts, 1)
    plan = parts.service.task.plan.hash
    with parts.service.database.transaction() as tx:
        first = parts.service.models.version(tx, 0).sha256
        device_models.note_ready(tx, device, first, 0.0, 1.0)
        tx.execute(tables.devices.update().values(ready_plan=plan, ready_model=first))
    parts.service.make_current(0)
    [line] = parts.overview.devices()
    assert line["ready"] is False
    with parts.service.database.reading() as tx:
        assert tx.execute(tables.device_models.select()).one().ready_at is None


def test_a_measuring_round_leaves_the_current_version_as_it_is(parts: MainServerParts) -> None:
    parts.service.make_current(0)
    add_round(parts, 3, kind="measure")
    with parts.service.database.transaction() as tx:
        parts.service.models.publish(tx, 3)
    assert current(parts) == 0


@pytest.mark.parametrize(("number", "error"), [(2, NotPossibleNow), (9, NotFound)])
def test_what_cannot_become_current(parts: MainServerParts, number: int, error: type[FanlightError]) -> None:
    with pytest.raises(error):
        parts.service.make_current(number)


def test_an_open_round_without_a_report_gives_way(parts: MainServerParts) -> None:
    add_round(parts, 3, state="open", kind="measure")
    assert not parts.service.make_current(1), "only when the round is over"
    assert parts.records.model(2)["waiting"] == 1


def test_under_an_open_round_with_reports_nothing_changes(parts: MainServerParts) -> None:
    add_round(parts, 3, state="open", kind="measure")
    add_report(parts, 3, add_member(parts, 1))
    with pytest.raises(NotPossibleNow, match="Round 3 is under way") as caught:
        parts.service.make_current(1)
    assert caught.value.slug == "round-not-over"
    assert current(parts) == 2
    assert not parts.service.promotion.change_now()


def test_notes_are_kept_changed_and_forgotten(parts: MainServerParts) -> None:
    for text, kept in (("  good at night ", "good at night"), ("better", "better"), ("  ", "")):
        parts.service.promotion.write_note(1, text)
        assert parts.records.model(1)["note"] == kept
        assert parts.records.card(1)["note"] == kept
    with pytest.raises(NotFound):
        parts.service.promotion.write_note(7, "x")
    with pytest.raises(SettingsError, match="at most"):
        parts.service.promotion.write_note(1, "x" * 10_001)


def test_a_changed_policy_is_seen_everywhere_and_kept(parts: MainServerParts, folder: Path) -> None:
    parts.service.change_policy(by_itself=True, k_min=7)
    assert parts.service.task.policy.k_min == 7
    assert json.loads((folder / "main" / "task.json").read_text())["policy"]["k_min"] == 7
    assert parts.records.log.page()["entries"][0]["type"] == "policy"
    parts.service.close()
    _app, again = create_app(MainServerSettings(state=folder / "main"))
    assert again.service.task.policy.by_itself


@pytest.mark.parametrize(
    "changes", [{"k_min": 1}, {"k_min": 50, "n_max": 10}, {"n_max": 40_001}, {"x": 1}, {"demo": True}]
)
def test_a_policy_that_cannot_be_changes_nothing(parts: MainServerParts, folder: Path, changes: dict[str, Any]) -> None:
    before = (folder / "main" / "task.json").read_bytes()
    with pytest.raises(SettingsError):
        parts.service.change_policy(**changes)
    assert (folder / "main" / "task.json").read_bytes() == before
    assert parts.service.task.policy.k_min == 5


def test_a_policy_that_came_into_force_without_a_log_entry_is_logged_at_the_next_start(
    parts: MainServerParts, folder: Path
) -> None:
    parts.service.change_policy(wait_s=30)
    parts.service.change_policy(wait_s=30)
    parts.service.close()
    path = folder / "main" / "task.json"
    path.write_text(path.read_text().replace('"wait_s": 30', '"wait_s": 31'))  # as before a crash, or by hand
    for _ in range(2):
        _app, again = create_app(MainServerSettings(state=folder / "main"))
        with again.service.database.reading() as tx:
            said = [entry.payload for entry in again.service.log.entries(tx) if entry.type == "policy"]
        assert [json.loads(policy)["wait_s"] for policy in said] == [30, 31]
        again.service.close()


def test_a_file_edited_by_hand_is_not_overwritten(parts: MainServerParts, folder: Path) -> None:
    path = folder / "main" / "task.json"
    edited = json.loads(path.read_text())
    edited["policy"]["k_min"] = 9
    path.write_text(json.dumps(edited))
    with pytest.raises(NotPossibleNow, match="edited by hand"):
        parts.service.change_policy(k_min=6)
    assert json.loads(path.read_text())["policy"]["k_min"] == 9


def test_a_server_starts_with_a_task_of_too_few_shards_warns_and_can_be_corrected(
    parts: MainServerParts, folder: Path
) -> None:
    """The last release allowed such a task."""
    parts.service.close()
    path = folder / "main" / "task.json"
    old = json.loads(path.read_text())
    old["algorithm"]["combine"] = "median"
    path.write_text(json.dumps(old))
    for warnings in (1, 0):
        with capture_logs() as lines:
            _app, again = create_app(MainServerSettings(state=folder / "main"))
        said = [line["problem"] for line in lines if line["log_level"] == "warning"]
        assert len(said) == warnings
        assert all("the policy must say shards=always" in problem for problem in said)
        again.service.change_policy(paused=True)
        again.service.change_policy(shards="always")
        with pytest.raises(SettingsError, match="shards=always"):
            again.service.change_policy(shards="never")
        again.service.close()
