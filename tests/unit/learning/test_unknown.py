"""What counts as a stranger: the score, the threshold, and how sure its rate is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fanlight.errors import DataError, ModelError, SettingsError
from fanlight.learning.heads import HeadKind, as_read
from fanlight.learning.home_model import HomeModel
from fanlight.learning.own_classes import Home
from fanlight.learning.unknown import beta_quantile, familiarity, threshold
from tests.homes import global_head, pictures_of


def test_known_pictures_score_higher_than_strangers() -> None:
    x, y = pictures_of({0: 12, 1: 12, 2: 12, 3: 6})
    found = familiarity(x, y, y)
    assert np.median(found.known) > np.quantile(found.strangers, 0.95)
    new, _ = pictures_of({6: 50, 7: 50}, seed=4)
    scores = found.head.logits(as_read(HeadKind.ANALYTIC, new)).max(axis=1)
    assert (scores > threshold(found.strangers, 0.1).score).mean() <= 0.25


def test_strangers_are_scored_by_a_ridge_that_has_not_seen_their_class() -> None:
    x, y = pictures_of({0: 5, 1: 6, 2: 4})
    found = familiarity(x, y, y)
    for label in range(3):
        others = familiarity(x[y != label], y[y != label], y[y != label])
        scores = others.head.logits(as_read(HeadKind.ANALYTIC, x[y == label])).max(axis=1)
        assert_allclose(found.strangers[y == label], scores, atol=1e-5)


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
    head = home.head(home.solve())
    there = tuple(home.classes[label] for label in np.unique(y))
    weight, bias = found.head.weight, found.head.bias
    familiar = replace(head, classes=there, weight=weight, bias=bias, kind=HeadKind.ANALYTIC)
    return HomeModel(head, familiar, threshold(found.strangers, 0.1).score), home


def test_a_home_names_what_it_knows_and_calls_the_rest_unknown() -> None:
    model, _ = home_model(everything=True)
    known, y = pictures_of({0: 20, 1: 20, 3: 20}, seed=7)
    strange, _ = pictures_of({6: 40}, seed=8)
    assert np.mean(model.unknown(known)) < 0.2
    assert np.mean(model.unknown(strange)) > 0.6
    named = np.array(model.head.classes)[model.scores(known).argmax(axis=1)]
    assert np.mean(named == np.array(model.head.classes)[y]) > 0.9


def test_a_class_without_pictures_here_is_named_as_the_global_head_names_it() -> None:
    model, _ = home_model()
    x, _ = pictures_of({2: 30}, seed=7)
    assert not model.checks("c")
    named = model.scores(x).argmax(axis=1) == 2
    assert named.mean() > 0.9
    assert not np.array(model.unknown(x))[named].any()


def test_parts_of_different_features_make_no_home() -> None:
    model, home = home_model()
    with pytest.raises(ModelError):
        HomeModel(model.head, global_head(3, HeadKind.SOFTMAX), 0.0)
    assert HomeModel(home.model, None, 0.0).unknown(pictures_of({6: 3})[0]) == [False] * 3
