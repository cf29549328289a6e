"""A run goes on with what it began with, or not at all; what lies in its folder is never half of something."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.errors import SettingsError, StorageError
from fanlight.simulation import Data, simulate
from fanlight.simulation.folder import folder_of
from fanlight.storage.folder_lock import FolderLock
from tests.unit.simulation.studies import CLASSES, data_of, study_of


def relabelled() -> Data:
    data = data_of()
    return Data.of(data.x, (data.y + 1) % CLASSES)


def nudged() -> Data:
    x = data_of().x.copy()
    x[7, 3] = np.nextafter(x[7, 3], np.float32(9))
    return Data.of(x, data_of().y)


@pytest.mark.parametrize("other", [relabelled, nudged, lambda: data_of(399)], ids=["labels", "a number", "one less"])
def test_a_run_does_not_go_on_with_other_examples(other: Any, tmp_path: Path) -> None:
    first = simulate(study_of(), data_of(), folder=tmp_path)
    with pytest.raises(SettingsError, match="other examples"):
        simulate(study_of(rounds=4), other(), folder=tmp_path)
    assert simulate(study_of(), data_of(), folder=tmp_path).model_sha256 == first.model_sha256


def test_a_run_does_not_go_back(tmp_path: Path) -> None:
    """With fewer rounds it would have the model of more; where no folder is named, it has one of its own."""
    long, short = study_of(rounds=4), study_of(rounds=2)
    place = folder_of(long, tmp_path)
    assert folder_of(short, tmp_path) == place
    simulate(long, data_of(), folder=place)
    with pytest.raises(SettingsError, match="4 rounds; 2 cannot"):
        simulate(short, data_of(), folder=place)
    assert folder_of(long, tmp_path) == folder_of(study_of(rounds=5), tmp_path) == place
    again = simulate(short, data_of(), folder=folder_of(short, tmp_path))
    assert len(again.rounds) == 2
    assert again.model_sha256 == simulate(short, data_of()).model_sha256
    assert folder_of(short, tmp_path) != place


def test_rounds_that_are_written_down_are_not_written_anew_in_their_place(tmp_path: Path) -> None:
    """A disk that is full when a run goes on would else leave nothing of them."""
    lines, before = tmp_path / "rounds.jsonl", tmp_path / "before.jsonl"
    simulate(study_of(rounds=2), data_of(), folder=tmp_path)
    text = lines.read_text()
    os.link(lines, before)
    simulate(study_of(rounds=2), data_of(), folder=tmp_path)
    assert lines.samefile(before)
    with lines.open("a") as file:
        file.write('{"round": 3, "half')
    simulate(study_of(rounds=2), data_of(), folder=tmp_path)
    assert lines.read_text() == text
    assert before.read_text() != text


def test_a_folder_that_cannot_be_read_is_not_said_to_be_anothers(tmp_path: Path) -> None:
    simulate(study_of(rounds=1), data_of(), folder=tmp_path)
    (tmp_path / "rounds.jsonl").unlink()
    (tmp_path / "rounds.jsonl").mkdir()
    with pytest.raises(StorageError, match="directory"):
        simulate(study_of(rounds=2), data_of(), folder=tmp_path)


def test_no_folder_can_be_made_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError):
            simulate(study_of(rounds=1), data_of(), folder=place)


def test_a_folder_is_one_process_s(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    with pytest.raises(StorageError, match="Another process") as caught:
        simulate(study_of(rounds=1), data_of(), folder=tmp_path)
    assert caught.value.slug == "state-in-use"
    lock.release()
    tmp_path.chmod(0o755)
    assert len(simulate(study_of(rounds=1), data_of(), folder=tmp_path).rounds) == 1
    assert tmp_path.stat().st_mode & 0o777 == 0o755, "a folder that somebody names stays as open as it was"


def test_baselines_learn_from_examples_as_they_are() -> None:
    fair = simulate(study_of(rounds=1, baselines=True), data_of())
    spoilt = simulate(study_of(rounds=1, baselines=True, attack="label-flip:0.5"), data_of())
    assert spoilt.model_sha256 != fair.model_sha256
    assert spoilt.pooled == fair.pooled
    assert spoilt.local_only == fair.local_only
