from __future__ import annotations

import numpy as np
import pytest

from fanlight.errors import DataError, ModelError
from fanlight.learning.evaluation import LOSS_CAP, evaluate

CLASSES = ("a", "b", "c")
WEIGHT = np.eye(3, dtype=np.float32)
BIAS = np.zeros(3, np.float32)


def test_rows_are_true_and_columns_predicted() -> None:
    x = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]] * 5
    counts = evaluate(WEIGHT, BIAS, x, np.array([0, 1, 1, 0]), CLASSES)
    assert counts.confusion.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert counts.confusion.dtype == np.int64
    assert (counts.total, counts.correct) == (4, 2)


def test_loss_of_a_guess() -> None:
    counts = evaluate(WEIGHT, BIAS, np.zeros((5, 3), np.float32), np.zeros(5, np.int64), CLASSES)
    assert counts.loss_sum == pytest.approx(5 * np.log(3), rel=1e-6)


def test_loss_of_a_picture_is_capped() -> None:
    x = np.array([[1000.0, 0.0, 0.0]] * 2, np.float32)
    assert evaluate(WEIGHT, BIAS, x, np.array([1, 0]), CLASSES).loss_sum == LOSS_CAP


def test_counts_add_up_over_devices() -> None:
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(50, 3)).astype(np.float32), draw.integers(0, 3, 50)
    whole = evaluate(WEIGHT, BIAS, x, y, CLASSES)
    parts = [evaluate(WEIGHT, BIAS, x[a:b], y[a:b], CLASSES) for a, b in ((0, 20), (20, 50))]
    assert (whole.confusion == parts[0].confusion + parts[1].confusion).all()
    assert whole.loss_sum == pytest.approx(parts[0].loss_sum + parts[1].loss_sum)


def test_no_pictures_no_counts() -> None:
    counts = evaluate(WEIGHT, BIAS, np.empty((0, 3), np.float32), np.empty(0, np.int64), CLASSES)
    assert counts.total == 0
    assert counts.confusion.shape == (3, 3)
    assert counts.loss_sum == 0.0


def test_a_head_of_another_task() -> None:
    with pytest.raises(ModelError, match="3 classes cannot be measured on a task of 2"):
        evaluate(WEIGHT, BIAS, np.zeros((1, 3), np.float32), np.zeros(1, np.int64), ("a", "b"))


def test_not_finite() -> None:
    x = np.zeros((1, 3), np.float32)
    with pytest.raises(ModelError, match="not finite"):
        evaluate(WEIGHT * np.float32(np.nan), BIAS, x, np.zeros(1, np.int64), CLASSES)
    with pytest.raises(DataError, match="not a finite number"):
        evaluate(WEIGHT, BIAS, x + np.float32(np.inf), np.zeros(1, np.int64), CLASSES)
