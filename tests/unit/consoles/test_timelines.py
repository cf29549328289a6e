"""Where the moments of a round lie on its line."""

from __future__ import annotations

from typing import Any

from fanlight.consoles.timelines import STEPS, lanes
from fanlight.services.main_server.timeline import Step


def timeline(step: str, *, model: float | None, report: float | None, new: float | None, **changes: Any) -> Any:
    moments = {"model": model, "announced": None, "report": report, "new_model": new}
    row = {"device": "12" * 16, "name": "porch", "present": True, "step": step, "reason": None, "moments": moments}
    known = {"state": "complete", "opened_at": 100.0, "judged_at": 150.0, "released_at": 160.0, "ended_at": 200.0}
    return known | {"now": 900.0, "devices": [row]} | changes


def test_every_step_has_words() -> None:
    assert set(STEPS) == {step.value for step in Step}


def test_a_round_that_never_opened_is_not_drawn() -> None:
    assert lanes(timeline("asked", model=None, report=None, new=None, opened_at=None)) is None


def test_bars_follow_one_another_from_moment_to_moment_and_end_with_the_new_model() -> None:
    drawn = lanes(timeline("has-new-model", model=90.0, report=130.0, new=200.0))
    assert drawn is not None
    (row,) = drawn["rows"]
    assert [name for name, _at, _long in row["bars"]] == ["model", "report", "counted"]
    ends = [round(at + length, 3) for _name, at, length in row["bars"]]
    starts = [round(at, 3) for _name, at, _long in row["bars"]]
    assert starts == [0.0, *ends[:-1]]
    assert [label for _at, label, _after in drawn["round"]] == ["closed", "sum released", "complete"]
    assert row["marks"][0][3] == -10.0


def test_what_comes_long_after_the_end_lies_at_the_edge() -> None:
    drawn = lanes(timeline("has-new-model", model=None, report=130.0, new=800.0))
    assert drawn is not None
    assert not drawn["ongoing"]
    assert drawn["rows"][0]["marks"][-1][1] == 1.0


def test_a_quick_round_takes_the_whole_line() -> None:
    quick = {"opened_at": 100.0, "judged_at": 100.3, "released_at": 100.35, "ended_at": 100.4}
    drawn = lanes(timeline("has-new-model", model=100.0, report=100.2, new=100.6, **quick))
    assert drawn is not None
    assert [round(at, 2) for _key, at, _label, _after in drawn["rows"][0]["marks"]] == [0.0, 0.33, 1.0]
    assert round(drawn["round"][-1][0], 2) == 0.67


def test_what_was_only_heard_of_with_the_report_is_not_told_by_itself() -> None:
    drawn = lanes(timeline("reported", model=130.0, report=130.0, new=None, judged_at=None, ended_at=None))
    assert drawn is not None
    assert [key for key, *_rest in drawn["rows"][0]["marks"]] == ["report"]


def test_an_open_round_ends_now() -> None:
    drawn = lanes(timeline("reported", model=100.0, report=500.0, new=None, judged_at=None, ended_at=None, now=900.0))
    assert drawn is not None
    assert (drawn["until"], drawn["ongoing"]) == (900.0, True)
    assert drawn["rows"][0]["bars"][-1] == ("report", 0.5, 0.5)


def test_a_device_of_which_nothing_is_known_yet_has_an_empty_row() -> None:
    drawn = lanes(timeline("asked", model=None, report=None, new=None, judged_at=None, ended_at=None))
    assert drawn is not None
    assert drawn["rows"][0]["bars"] == []
