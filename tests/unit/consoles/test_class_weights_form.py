"""By what classes of few pictures weigh more, on the page Task: changed, and what is wrong with what was typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.consoles.class_weights_form import change_class_weights, chosen
from fanlight.errors import SettingsError
from fanlight.services.main_server.app import MainServerParts
from tests.unit.main_server.past import server


@pytest.fixture
def parts(tmp_path: Path) -> MainServerParts:
    _app, made = server(tmp_path / "federation")
    return made


def test_what_is_chosen_is_in_the_plan_and_in_the_log(parts: MainServerParts) -> None:
    service = parts.service
    before, number = service.task.plan, len(service.task.classes)
    counts = tuple(range(1, number + 1))
    typed = {"by": "federation", "counts": " , ".join(str(count) for count in counts)}
    assert not change_class_weights(service, typed).wrong
    assert (service.task.plan.class_counts, chosen(service.task.training)) == (counts, "federation")
    assert not change_class_weights(service, typed | {"by": "off"}).wrong
    assert (service.task.plan.class_weights, service.task.plan.class_counts) == (False, None)
    assert not change_class_weights(service, typed | {"by": "own"}).wrong
    assert service.task.plan == before
    entries = parts.records.log.page()["entries"]
    assert [entry["type"] for entry in entries].count("class-weights") == 3


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"by": "luck"}, "by", "Choose one of these, not luck."),
        ({"by": "federation"}, "counts", "Whole numbers from 0"),
        ({"by": "federation", "counts": "many,few"}, "counts", "Whole numbers from 0"),
        ({"by": "federation", "counts": "9" * 30}, "counts", "Whole numbers from 0"),
        ({"by": "federation", "counts": "1"}, "counts", "One number for each of the"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(
    parts: MainServerParts, typed: dict[str, str], field: str, said: str
) -> None:
    before = parts.service.task
    assert said in change_class_weights(parts.service, typed).wrong[field]
    assert parts.service.task == before
    with pytest.raises(SettingsError, match="class weights"):
        parts.service.change_class_weights(class_weights=True, epochs=3)
