"""Another head or backbone: what begins a new line of models, also over a crash or an edited file, and what cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.errors import NotPossibleNow, SettingsError
from fanlight.services.main_server.app import MainServerParts, create_app
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import Task
from tests.unit.main_server.past import add_round, server

LITE, LEVELS = "efficientnet-lite0", "efficientnet-lite0-levels"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "federation"


@pytest.fixture
def parts(folder: Path) -> Iterator[MainServerParts]:
    _app, made = server(folder, demo=True)
    yield made
    made.service.close()


def again(parts: MainServerParts, folder: Path) -> MainServerParts:
    parts.service.close()
    _app, made = create_app(MainServerSettings(state=folder / "main"))
    return made


def current(parts: MainServerParts) -> tuple[int, str, str]:
    card = parts.records.card(parts.overview.status()["model"]["version"])
    return card["version"], card["head"], card["backbone"]["id"]


def waiting(parts: MainServerParts) -> object:
    with parts.service.database.reading() as tx:
        return parts.service.line.waiting(tx)


def test_an_analytic_head_raises_the_fewest_devices_in_a_sum_and_the_log_tells(tmp_path: Path) -> None:
    _app, made = server(tmp_path / "federation")
    made.service.change_line("analytic", LITE)
    assert made.service.task.policy.k_min == 5
    assert made.conductor.advance()
    assert made.service.task.policy.k_min == 10
    assert [entry["type"] for entry in made.records.log.page()["entries"]][:2] == ["policy", "new-line"]
    made.service.close()


def test_it_begins_between_two_rounds_with_a_version_that_knows_nothing(parts: MainServerParts) -> None:
    add_round(parts, 1)
    parts.service.change_line("analytic", LEVELS)
    assert current(parts) == (1, "softmax", LITE)
    assert parts.conductor.advance()
    assert current(parts) == (2, "analytic", LEVELS)
    assert waiting(parts) is None
    assert parts.records.card(1)["head"] == "softmax", "what was made before stays what it is"
    assert parts.records.card(2)["backbone"]["features"] == 2024
    assert parts.records.log.page()["entries"][0]["type"] == "new-line"
    with pytest.raises(NotPossibleNow, match="another head"):
        parts.service.make_current(1)


def test_what_it_has_already_changes_nothing_and_takes_a_wish_back(parts: MainServerParts) -> None:
    parts.service.change_line("analytic", LITE)
    parts.service.change_line("softmax", LITE)
    assert waiting(parts) is None
    assert not parts.service.line.begin_now()
    assert current(parts)[0] == 0


def test_heads_and_backbones_that_there_are_not_are_refused(parts: MainServerParts) -> None:
    for head, backbone in (("forest", LITE), ("softmax", "alexnet")):
        with pytest.raises(SettingsError):
            parts.service.change_line(head, backbone)
    assert waiting(parts) is None


def test_a_crash_between_the_file_and_the_database_is_made_up_for(parts: MainServerParts, folder: Path) -> None:
    parts.service._tasks.change_line("prototypes", LITE)
    made = again(parts, folder)
    assert current(made) == (1, "prototypes", LITE)
    once_more = again(made, folder)
    assert current(once_more) == (1, "prototypes", LITE), "once"
    once_more.service.close()


def test_an_edited_file_begins_one_too_but_not_under_a_round(parts: MainServerParts, folder: Path) -> None:
    path = folder / "main" / "task.json"
    before = Task.load(path)
    path.write_bytes(before.model_copy(update={"picture_size": 96}).to_json())
    made = again(parts, folder)
    assert made.records.card(1)["picture_size"] == 96
    add_round(made, 1, state="open")
    path.write_bytes(before.to_json())
    made.service.close()
    with pytest.raises(SettingsError, match="round 1 is not over"):
        create_app(MainServerSettings(state=folder / "main"))
