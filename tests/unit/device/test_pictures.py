from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.errors import DataError, PictureError
from fanlight.learning import augmentation_settings, folders
from fanlight.protocol.plan import PlannedAugmentation
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
    pictures.look(CLASSES)
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
    found = pictures._scan(CLASSES)
    monkeypatch.setattr(pictures, "_scan", lambda _classes: found)
    found.train[0].path.unlink()
    with pytest.raises(PictureError, match=found.train[0].path.name):
        pictures.examples(PLAN, ("train",), ignore)


def test_no_more_test_pictures_than_may_count(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_MAX", 1)
    assert Pictures(drawn, tmp_path).examples(PLAN, ("test",), ignore)["test"].y.size == 1


def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every picture file that a scan reads from now on."""
    files: list[Path] = []
    digest = folders._digest

    def watched(path: Path, *others: Any) -> str:
        files.append(path)
        return digest(path, *others)

    monkeypatch.setattr(folders, "_digest", watched)
    return files


def test_a_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shutil.copytree(drawn, tmp_path / "data")
    pictures, files = Pictures(data, tmp_path), read_files(monkeypatch)
    first = pictures.examples(PLAN, ("train", "valid", "test"), ignore)
    assert len(files) == 10
    files.clear()
    again = pictures.examples(PLAN, ("train", "valid", "test"), ignore)
    pictures.look(CLASSES)
    assert files == []
    assert all((first[part].x == again[part].x).all() for part in first)
    changed = data / "dark" / "0.png"
    changed.write_bytes(changed.read_bytes() + b"!")
    pictures.look(CLASSES)
    assert files == [changed]


def test_pictures_that_come_while_the_folder_is_read_are_seen_by_who_looks_then(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, has_read, go_on = tmp_path / "data", threading.Event(), threading.Event()
    shutil.copytree(drawn / "bright", data / "bright")
    (data / "dark").mkdir()

    def scan(*arguments: Any, **options: Any) -> Any:
        found = folders.scan(*arguments, **options)
        has_read.set()
        assert go_on.wait(60)
        return found

    monkeypatch.setattr(module, "scan", scan)
    pictures = Pictures(data, tmp_path)
    lookers = [threading.Thread(target=pictures.look, args=(CLASSES,)) for _ in range(2)]
    lookers[0].start()
    assert has_read.wait(60)
    shutil.copytree(drawn / "dark", data / "dark", dirs_exist_ok=True)
    lookers[1].start()
    lookers[1].join(0.2)  # it would be back by then if it did not wait
    go_on.set()
    for looker in lookers:
        looker.join()
    assert pictures.overview is not None
    assert pictures.overview.total("train") == 6


def test_a_picture_that_is_swapped_for_one_of_the_same_size_and_time_is_read_again(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shutil.copytree(drawn, tmp_path / "data")
    pictures, files = Pictures(data, tmp_path), read_files(monkeypatch)
    pictures.look(CLASSES)
    files.clear()
    changed = data / "dark" / "0.png"
    before = changed.stat()
    changed.write_bytes(changed.read_bytes())
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    pictures.look(CLASSES)
    assert files == [changed]


def test_looking_waits_for_nobody_who_works_out_features(tmp_path: Path, drawn: Path) -> None:
    pictures = Pictures(drawn, tmp_path)
    with pictures._lock:
        pictures.look(CLASSES)
    assert pictures.overview is not None
    assert pictures.overview.total("train") == 6


VARIED = PLAN.with_(augmentation=PlannedAugmentation(variants=2, flip=True, zoom_percent=20, light_percent=0))


def test_training_pictures_come_with_variants_and_no_others_do(tmp_path: Path, drawn: Path) -> None:
    calls: list[tuple[int, int]] = []
    pictures = Pictures(drawn, tmp_path)
    parts = pictures.examples(VARIED, ("train", "valid", "test"), lambda done, total: calls.append((done, total)))
    assert calls[-1] == (22, 22), "six with two variants each, and four that are held out"
    train, f = parts["train"], PLAN.features
    assert (train.x.shape, [sight.shape for sight in train.variants]) == ((6, f), [(6, f), (6, f)])
    assert parts["valid"].variants == parts["test"].variants == ()
    plain = Pictures(drawn, tmp_path).examples(PLAN, ("train", "test"), ignore)
    assert plain["train"].variants == ()
    for part in ("train", "test"):
        assert (plain[part].x == parts[part].x).all()
    some = train.some(np.array([4, 1]))
    assert (some.variants[1] == train.variants[1][[4, 1]]).all()


def test_a_plan_that_varies_pictures_adds_what_is_missing(tmp_path: Path, drawn: Path) -> None:
    calls: list[tuple[int, int]] = []
    pictures = Pictures(drawn, tmp_path)
    pictures.examples(PLAN, ("train", "valid", "test"), ignore)
    pictures.examples(VARIED, ("train", "valid", "test"), lambda done, total: calls.append((done, total)))
    assert (calls[0], calls[-1]) == ((10, 22), (22, 22)), "features of the pictures themselves are kept"
    calls.clear()
    pictures.examples(VARIED, ("train", "valid", "test"), lambda done, total: calls.append((done, total)))
    assert calls == [(0, 0)]


def test_of_many_pictures_fewer_variants_are_made(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation_settings, "MOST_OF_ALL", 11 * PLAN.features)
    train = Pictures(drawn, tmp_path).examples(VARIED, ("train",), ignore)["train"]
    assert len(train.variants) == 1
