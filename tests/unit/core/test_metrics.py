from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from fanlight.core.metrics import Metrics
from fanlight.errors import ModelError

# Of 10 cats 6 were found, of 5 dogs 4; nobody had a bird, though one cat was taken for one; no fish at all.
CONFUSION = np.array([[6, 3, 1, 0], [1, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_figures_by_hand() -> None:
    metrics = Metrics.from_confusion(CONFUSION, loss_sum=7.5)
    assert (metrics.total, metrics.correct) == (15, 10)
    assert metrics.accuracy == pytest.approx(10 / 15)
    assert metrics.recall == (0.6, 0.8, None, None)
    assert metrics.balanced_accuracy == pytest.approx(0.7)
    assert metrics.precision == (6 / 7, 4 / 7, 0.0, None)
    assert metrics.loss == 0.5


def test_without_pictures_nothing_is_known() -> None:
    metrics = Metrics.from_confusion(np.zeros((2, 2), dtype=np.int64), loss_sum=0.0)
    assert (metrics.total, metrics.accuracy, metrics.balanced_accuracy, metrics.loss) == (0, None, None, None)
    assert metrics.recall == metrics.precision == (None, None)


def test_the_loss_may_be_unknown() -> None:
    assert Metrics.from_confusion(CONFUSION).loss is None


def test_the_dictionary_is_json_and_names_the_classes() -> None:
    figures = Metrics.from_confusion(CONFUSION.astype(np.uint32), 7.5).as_dict(["cat", "dog", "bird", "fish"])
    assert json.loads(json.dumps(figures)) == figures
    assert set(figures) == {
        "total",
        "correct",
        "accuracy",
        "balanced_accuracy",
        "loss",
        "per_class",
        "confusion",
    }
    assert figures["per_class"][1] == {"class": "dog", "pictures": 5, "precision": pytest.approx(4 / 7), "recall": 0.8}
    assert figures["confusion"] == CONFUSION.tolist()


def test_as_many_names_as_classes() -> None:
    with pytest.raises(ModelError, match="3 class names"):
        Metrics.from_confusion(CONFUSION).as_dict(["cat", "dog", "bird"])


@pytest.mark.parametrize(
    ("confusion", "loss_sum"),
    [
        (np.zeros((2, 3), dtype=np.int64), None),
        (np.zeros(4, dtype=np.int64), None),
        (np.zeros((0, 0), dtype=np.int64), None),
        (np.zeros((2, 2)), None),
        (np.array([[1, -1], [0, 1]]), None),
        (CONFUSION, -0.5),
        (CONFUSION, float("nan")),
    ],
)
def test_what_cannot_be_counts_or_a_loss_is_refused(confusion: Any, loss_sum: float | None) -> None:
    with pytest.raises(ModelError):
        Metrics.from_confusion(confusion, loss_sum)
