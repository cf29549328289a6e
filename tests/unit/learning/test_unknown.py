"""What counts as a stranger: the score, the threshold, and how sure its rate is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from safetensors.numpy import load, save

from fanlight.errors import DataError, ModelError, SettingsError
from fanlight.learning import familiar as familiar_file
from fanlight.learning.familiar import Familiar, with_constant
from fanlight.learning.home_model import Certainty, HomeModel
from fanlight.learning.own_classes import Home
from fanlight.learning.unknown import STRENGTH, beta_quantile, familiarity, floor, threshold
from tests.homes import global_head, pictures_of


def test_known_pictures_score_higher_than_strangers() -> None:
    x, y = pictures_of({0: 12, 1: 12, 2: 12, 3: 6})
    found = familiarity(x, y, y)
    assert np.median(found.known) > np.quantile(found.strangers, 0.95)
    new, _ = pictures_of({6: 50, 7: 50}, seed=4)
    scores = found.familiar.scores(new)
    assert (scores > threshold(found.strangers, 0.1).score).mean() <= 0.35, "four classes are few: a promise too sure"


def test_a_picture_is_scored_as_if_its_group_had_never_been_there() -> None:
    x, y = pictures_of({0: 6, 1: 5, 3: 4})
    groups = np.where(np.arange(y.size) < 2, 0, np.arange(y.size))
    found = familiarity(x, y, y, groups)
    for group in (groups == 0, groups == 7):
        assert_allclose(found.known[group], by_hand(x[~group], y[~group], x[group], y), atol=1e-6)


def by_hand(
    x: NDArray[np.float32], y: NDArray[np.int64], new: NDArray[np.float32], all_y: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The formulas of the module's docstring, with weights as of all pictures."""
    counts = np.bincount(all_y)
    rare = np.sqrt(all_y.size / (counts > 0).sum() / np.maximum(counts, 1))
    phi, there = with_constant(x), with_constant(new)
    a = phi @ phi.T + np.diag(STRENGTH / rare[y])
    k = there @ phi.T
    mean = k @ np.linalg.solve(a, np.eye(counts.size)[y] * np.maximum(rare[y], 1.0)[:, None])
    variance = (there**2).sum(axis=1) - np.diag(k @ np.linalg.solve(a, k.T))
    scores: NDArray[np.float64] = mean[:, counts > 0].max(axis=1) - variance
    return scores


def test_strangers_are_scored_by_a_process_that_has_not_seen_their_class() -> None:
    x, y = pictures_of({0: 5, 1: 6, 2: 4})
    found = familiarity(x, y, y)
    for label in range(3):
        others = familiarity(x[y != label], y[y != label], y[y != label])
        assert_allclose(found.strangers[y == label], others.familiar.scores(x[y == label]), atol=1e-5)


def test_a_kind_of_a_class_plays_the_stranger_with_it() -> None:
    x, y = pictures_of({0: 6, 1: 6, 3: 6})
    x[y == 3] = x[y == 0] + 0.01  # Minka looks like a cat
    alone, together = familiarity(x, y, y), familiarity(x, y, np.where(y == 3, 0, y))
    assert alone.strangers[y == 0].mean() > together.strangers[y == 0].mean() + 0.2


def test_one_thing_alone_has_no_strangers() -> None:
    x, y = pictures_of({0: 6})
    with pytest.raises(DataError, match="two different things"):
        familiarity(x, y, y)


def test_the_threshold_is_the_score_that_so_many_strangers_reach() -> None:
    scores = np.arange(99.0)
    found = threshold(scores, 0.05)
    assert found.score == 94.0
    assert (scores > found.score).sum() == 4, "the fifth place is the next stranger's"
    assert found.promised == pytest.approx(0.05)
    assert found.strangers == 99
    assert 0.05 < found.worst < 0.11


@pytest.mark.parametrize("strangers", [1, 5, 18])
def test_with_few_strangers_the_least_rate_that_can_be_promised_is_said(strangers: int) -> None:
    found = threshold(np.arange(float(strangers)), 0.05)
    assert found.score == strangers - 1
    assert found.promised == pytest.approx(1 / (strangers + 1))
    assert found.promised > found.wanted
    assert found.worst == pytest.approx(1 - 0.05 ** (1 / strangers))  # of n, none is above: 1 - x = .05^(1/n)


@pytest.mark.parametrize("wanted", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_lies_between_none_and_all(wanted: float) -> None:
    with pytest.raises(SettingsError):
        threshold(np.arange(9.0), wanted)


@pytest.mark.parametrize(("pictures", "below"), [(1, 0), (6, 0), (19, 0), (39, 1), (99, 4)])
def test_the_floor_is_what_one_in_twenty_or_one_of_all_and_the_next_scores_below(pictures: int, below: int) -> None:
    scores = np.arange(float(pictures))[::-1]
    assert (scores < floor(scores)).sum() == below, "the last place is the next picture's"


def test_without_pictures_of_it_nothing_is_like_them() -> None:
    assert floor(np.zeros(0)) == math.inf


def test_no_scores_give_no_threshold() -> None:
    with pytest.raises(DataError):
        threshold(np.zeros(0), 0.05)


@pytest.mark.parametrize(
    ("a", "b", "quantile"),
    [(1, 1, 0.95), (1, 19, 0.145886), (5, 95, 0.090154), (2, 2, 0.864650), (50, 950, 0.061842)],
)
def test_quantiles_of_the_beta_distribution(a: int, b: int, quantile: float) -> None:
    """Of a table, and of ``scipy.stats.beta.ppf(.95, a, b)``."""
    assert beta_quantile(0.95, a, b) == pytest.approx(quantile, abs=5e-4)


# ---- together


def home_model(*, everything: bool = False) -> tuple[HomeModel, Home]:
    """A home with pictures of two of the three classes, or of all, and of its cat."""
    x, y = pictures_of({0: 12, 1: 12, 2: 12, 3: 6} if everything else {0: 12, 1: 12, 3: 6})
    home = Home.of(global_head(3), ("Minka",), x, y)
    found = familiarity(x, y, y)
    return HomeModel(home.head(home.solve()), found.familiar, threshold(found.strangers, 0.1).score), home


def shares(model: HomeModel, x: NDArray[np.float32]) -> dict[Certainty, float]:
    certain = model.certainties(x)
    return {certainty: certain.count(certainty) / len(x) for certainty in Certainty}


@pytest.mark.parametrize(
    ("score", "floor", "certainty"),
    [(2.0, 0.5, "sure"), (1.0, 0.5, "perhaps"), (0.5, 0.5, "perhaps"), (0.4, 0.5, "unknown"), (1.2, 1.5, "sure"),
     (9.0, None, None)],
)  # fmt: skip
def test_between_both_limits_it_may_be_either(score: float, floor: float | None, certainty: str | None) -> None:
    assert Certainty.of(score, 1.0, floor) == certainty


def test_a_home_names_what_it_knows_and_doubts_the_rest() -> None:
    model, _ = home_model(everything=True)
    known, y = pictures_of({0: 40, 1: 40, 3: 40}, seed=7)
    strange, _ = pictures_of({6: 40, 7: 40}, seed=8)
    told, refused = shares(model, known), shares(model, strange)
    assert told[Certainty.UNKNOWN] < 0.1
    assert told[Certainty.SURE] > 0.7
    assert refused[Certainty.SURE] < 0.35
    assert refused[Certainty.UNKNOWN] > 0.4
    named = np.array(model.head.classes)[model.scores(known).argmax(axis=1)]
    assert np.mean(named == np.array(model.head.classes)[y]) > 0.9


def test_a_class_without_pictures_here_is_named_as_the_global_head_names_it() -> None:
    model, _ = home_model()
    x, _ = pictures_of({2: 30}, seed=7)
    assert model.familiar is not None
    assert model.familiar.floor(2) is None
    named = model.scores(x).argmax(axis=1) == 2
    assert named.mean() > 0.9
    assert {certainty for certainty, is_named in zip(model.certainties(x), named, strict=True) if is_named} == {None}


def test_parts_of_different_features_or_classes_make_no_home() -> None:
    model, home = home_model()
    familiar = model.familiar
    assert familiar is not None
    with pytest.raises(ModelError):
        HomeModel(home.model, familiar, 0.0)  # it has no own names
    fewer = Familiar(familiar.labels, familiar.weight[1:], familiar.spread[1:], familiar.floors)
    with pytest.raises(ModelError):
        HomeModel(model.head, fewer, 0.0)
    assert HomeModel(home.model, None, 0.0).certainties(pictures_of({6: 3})[0]) == [None] * 3


def test_what_tells_strangers_is_the_same_after_a_file() -> None:
    model, _ = home_model()
    assert model.familiar is not None
    data = familiar_file.encode(model.familiar)
    again = familiar_file.decode(data)
    assert familiar_file.encode(again) == data
    x, _ = pictures_of({0: 3, 6: 3}, seed=5)
    assert np.array_equal(again.scores(x), model.familiar.scores(x))


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.zeros(2, np.int64)},
        {"labels": np.zeros(3, np.int32)},
        {"weight": np.zeros((9, 3), np.float32)},
        {"spread": np.zeros(25, np.float32)},
        {"floors": np.full(3, np.nan, np.float32)},
        {"more": np.zeros(1, np.float32)},
    ],
    ids=lambda change: f"{next(iter(change))} {next(iter(change.values())).shape}",
)
def test_a_file_that_is_none_is_refused(change: dict[str, NDArray[Any]]) -> None:
    model, _ = home_model()
    tensors = load(familiar_file.encode(model.familiar)) if model.familiar else {}
    for bad in (b"", save({**tensors, **change}), save({"weight": tensors["weight"]})):
        with pytest.raises(ModelError):
            familiar_file.decode(bad)
