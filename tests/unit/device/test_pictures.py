from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fanlight.errors import DataError, PictureError
from fanlight.services.device import pictures as module
from fanlight.services.device.pictures import Pictures
from tests.unit.device.federation import CLASSES, PLAN, draw_pictures


def ignore(_done: int, _total: int) -> None:
    pass


def test_features_are_computed_once(tmp_path: Path, drawn: Path) -> None:
    calls: list[tuple[int, int]] = []
    pictures = Pictures(drawn, tmp_path)
    first = pictures.examples(PLAN, ("train", "test"), lambda done, total: calls.append((done, total)))
    assert calls[-1] == (8, 8)
    calls.clear()
    second = pictures.examples(PLAN, ("train", "test"), lambda done, total: calls.append((done, total)))
    assert calls == [(0, 0)]
    assert (first["train"].x == second["train"].x).all()
    calls.clear()
    Pictures(drawn, tmp_path).examples(PLAN, ("train",), lambda done, total: calls.append((done, total)))
    assert calls == [(6, 6)]


def test_overview_counts_parts_and_names_problems(tmp_path: Path) -> None:
    data = draw_pictures(tmp_path / "data")
    (data / "dark" / "broken.png").write_bytes(b"no picture")
    pictures = Pictures(data, tmp_path)
    pictures.scan(CLASSES)
    assert pictures.overview is not None
    assert pictures.overview.counts["train"] == {"bright": 3, "dark": 3}
    assert pictures.overview.total("test") == 2
    assert "broken.png" in pictures.overview.problems[0]


def test_a_folder_with_foreign_classes_is_refused_and_shown(tmp_path: Path, drawn: Path) -> None:
    pictures = Pictures(drawn, tmp_path)
    with pytest.raises(DataError, match="bright") as caught:
        pictures.examples(PLAN.with_(classes=("cat", "dog")), ("train",), ignore)
    assert pictures.overview is not None
    assert pictures.overview.error is caught.value


def test_a_picture_that_vanishes_in_between_is_named(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shutil.copytree(drawn, tmp_path / "data")
    pictures = Pictures(data, tmp_path)
    found = pictures.scan(CLASSES)
    monkeypatch.setattr(pictures, "scan", lambda _classes: found)
    found.train[0].path.unlink()
    with pytest.raises(PictureError, match=found.train[0].path.name):
        pictures.examples(PLAN, ("train",), ignore)


def test_no_more_test_pictures_than_may_count(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_MAX", 1)
    assert Pictures(drawn, tmp_path).examples(PLAN, ("test",), ignore)["test"].y.size == 1
