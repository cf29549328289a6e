"""How pictures are varied, on the page Task: shown, changed, and what is wrong with what somebody typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.consoles.augmentation_form import change_augmentation
from fanlight.errors import SettingsError
from fanlight.protocol.plan import PlannedAugmentation
from fanlight.services.main_server.app import MainServerParts
from tests.unit.main_server.past import server


@pytest.fixture
def parts(tmp_path: Path) -> MainServerParts:
    _app, made = server(tmp_path / "federation")
    return made


def test_what_is_chosen_is_in_the_plan_and_in_the_log(parts: MainServerParts) -> None:
    service = parts.service
    before = service.task.plan
    assert before.augmentation is None
    assert not change_augmentation(service, {"variants": "4", "flip": "no", "light_percent": "0"}).wrong
    assert service.task.plan.augmentation == PlannedAugmentation(
        variants=4, flip=False, zoom_percent=20, light_percent=0
    )
    assert service.task.plan.hash != before.hash
    assert not change_augmentation(service, {"variants": "0"}).wrong
    assert service.task.plan == before
    entries = parts.records.log.page()["entries"]
    assert [entry["type"] for entry in entries].count("augmentation") == 2


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"variants": "17"}, "variants", "From 0 to 16, not 17."),
        ({"variants": "many"}, "variants", "From 0 to 16, not many."),
        ({"zoom_percent": "-1"}, "zoom_percent", "From 0 to 50, not -1."),
        ({"flip": "perhaps"}, "flip", "Yes or no, not perhaps."),
        ({"variants": "2", "flip": "no", "zoom_percent": "0", "light_percent": "0"}, "", "Choose at least one"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(
    parts: MainServerParts, typed: dict[str, str], field: str, said: str
) -> None:
    before = parts.service.task
    assert said in change_augmentation(parts.service, typed).wrong[field]
    assert parts.service.task == before
    with pytest.raises(SettingsError, match="augmentation"):
        parts.service.change_augmentation(variants=4, colour=True)
