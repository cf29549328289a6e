"""A device's history in sentences, and its models from before to after."""

from __future__ import annotations

from typing import Any

import pytest

from fanlight.consoles.floors import floor_words, round_words
from fanlight.consoles.history import milestones, what_happened


def line(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "train",
        "model_version": 1,
        "examples": 24,
        "result": "released",
        "reason": "ok",
        "included": True,
    } | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "This device learned from 24 pictures, beginning with version 1. Its report was added up with the others.",
        ),
        (
            {"result": None, "reason": None, "included": None, "examples": 1},
            "1 picture, beginning with version 1. The ",
        ),
        ({"included": False}, "The others were added up without its report."),
        (
            {"result": "abandoned", "reason": "window-passed", "included": False},
            "The round was given up: its time had passed with too few reports. What was learned can be sent again.",
        ),
        ({"result": "failed", "reason": "sum-lost", "included": False}, "Nothing came of the round: the secure"),
        ({"kind": "measure", "examples": 0}, "This device measured version 1 on its own test pictures. Its report was"),
        ({"kind": "measure", "model_version": None}, "measured the global model"),
    ],
)
def test_each_round_is_told_in_a_sentence(changes: dict[str, Any], said: str) -> None:
    assert said in what_happened(line(**changes))


def metrics(accuracy: float, total: int = 8) -> dict[str, Any]:
    return {"accuracy": accuracy, "total": total}


def told(
    held: dict[str, Any] | None, own: dict[str, Any] | None = None
) -> list[tuple[str, float | None, float | None]]:
    found = milestones({"global": held, "local": own})
    return [(one.title, one.metrics["accuracy"] if one.metrics else None, one.before) for one in found]


def test_the_models_stand_from_before_to_after_each_with_its_version() -> None:
    own = {"from_version": 1, "examples": 24, "epochs": 5, "received": metrics(0.25), "metrics": metrics(0.5)}
    now = {"version": 2, "metrics": metrics(1.0), "before": {"version": 1, "metrics": metrics(0.25)}}
    title = "Own model, trained from version 1"
    assert told(now, own) == [("Version 1", 0.25, None), (title, 0.5, 0.25), ("Version 2", 1.0, 0.25)]
    assert told(now) == [("Version 1", 0.25, None), ("Version 2", 1.0, 0.25)]
    first = {"version": 1, "metrics": metrics(0.25), "before": None}
    assert told(first, own) == [("Version 1", 0.25, None), (title, 0.5, 0.25)]
    assert told(first | {"metrics": None}) == [("Version 1", None, None)]
    assert told(first | {"metrics": metrics(0.0, total=0)}) == [("Version 1", None, None)]
    assert told(None) == []


def test_a_floor_and_what_a_round_asks_for_are_not_mistaken_for_each_other() -> None:
    floors = {"k_min": 5, "accept_demo": True}
    assert floor_words(floors) == "sums of 5 devices or more; in a demonstration, of 2"
    assert floor_words(floors | {"accept_demo": False}) == "sums of 5 devices or more; no demonstrations"
    assert round_words({"round": 3, "demo": True, "k_min": 2}) == "round 3, a demonstration, sums 2 devices or more"
    assert round_words({"round": 3, "demo": False, "k_min": 7}) == "round 3 sums 7 devices or more"
    assert "none now" in round_words(None)
