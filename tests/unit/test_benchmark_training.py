"""The benchmark of local training: what it times does happen, in ours and in the plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.local_training import measure, plan_of, train_plainly
from benchmarks.shapes import CLASSES, draw


def test_every_figure_is_measured() -> None:
    report = measure(count=len(CLASSES), epochs=2, repeat=1)
    assert all(figure.value > 0 and figure.ratio != 0 for figure in report.figures)
    assert [figure.limit for figure in report.figures if figure.limit is not None] == [8, 100, 0.9]


def test_the_plain_loop_learns(tmp_path: Path) -> None:
    draw(tmp_path / "pictures", 2 * len(CLASSES))
    paths = sorted((tmp_path / "pictures").glob("*/*"))
    head = train_plainly(tmp_path / "plain", paths, plan_of(epochs=2))
    assert np.abs(head.weight).max() > 0
