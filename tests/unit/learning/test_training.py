from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.errors import DataError, ModelError, SettingsError
from fanlight.learning.heads import SoftmaxHead, log_softmax, zero_head
from fanlight.learning.training import EpochProgress, TrainingResult, train
from fanlight.learning.training_settings import MOST_WEIGHT, TrainingSettings, weights_of

F, K = 12, 3
SETTINGS = TrainingSettings(epochs=30, batch_size=8, learning_rate=0.02, patience=30)


def stream(number: int = 1) -> Keystream:
    return Keystream(bytes([number]) * 32)


def clouds(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """K clouds of features around K different middles."""
    draw = np.random.default_rng(seed)
    y = np.arange(count) % K
    middles = np.eye(K, F) * 4.0
    return (middles[y] + draw.normal(size=(count, F))).astype(np.float32), y


NOTHING = (np.empty((0, F), np.float32), np.empty(0, np.int64))


def run(
    start: SoftmaxHead | None = None, settings: TrainingSettings = SETTINGS, number: int = 1, valid: Any = None
) -> TrainingResult:
    x, y = clouds(60)
    valid_x, valid_y = valid or clouds(30, seed=1)
    return train(start or zero_head(F, K), x, y, valid_x, valid_y, settings, stream(number))


def accuracy(result: TrainingResult) -> float:
    x, y = clouds(90, seed=2)
    return float((SoftmaxHead(result.weight, result.bias).logits(x).argmax(axis=1) == y).mean())


def test_it_learns() -> None:
    result = run()
    assert accuracy(result) > 0.95
    assert result.history[-1].train_loss < result.history[0].train_loss / 2
    assert result.weight.dtype == result.bias.dtype == np.float32
    assert (result.weight.shape, result.bias.shape) == ((F, K), (K,))


def seven(seed: int) -> tuple[SoftmaxHead, NDArray[np.float32], NDArray[np.int64]]:
    """A head that somebody drew, and four, two and one pictures of its classes."""
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(7, F)).astype(np.float32), np.array([0, 0, 0, 0, 1, 1, 2])
    return SoftmaxHead(draw.normal(size=(F, K)).astype(np.float32), draw.normal(size=K).astype(np.float32)), x, y


def test_one_step_is_the_gradient() -> None:
    """Against the derivative taken by differences of the objective written down in the module's docstring."""
    start, x, y = seven(seed=3)
    settings = TrainingSettings(epochs=1, batch_size=7, learning_rate=0.5, momentum=0.0, l2=0.1)
    result = train(start, x, y, *NOTHING, settings, stream())
    class_weight = 7 / (3 * np.array([4.0, 2.0, 1.0]))

    def objective(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> float:
        logits = x.astype(np.float64) @ weight + bias
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(7), y]
        return float((class_weight[y] * losses).mean() + 0.05 * (weight**2).sum())

    weight, bias, step = start.weight.astype(np.float64), start.bias.astype(np.float64), 1e-5
    for row, column in ((0, 0), (5, 1), (11, 2)):
        nudge = np.zeros((F, K))
        nudge[row, column] = step
        slope = (objective(weight + nudge, bias) - objective(weight - nudge, bias)) / (2 * step)
        assert result.weight[row, column] == pytest.approx(weight[row, column] - 0.5 * slope, abs=1e-4)
    for column in range(K):
        nudge = np.eye(K)[column] * step
        slope = (objective(weight, bias + nudge) - objective(weight, bias - nudge)) / (2 * step)
        assert result.bias[column] == pytest.approx(bias[column] - 0.5 * slope, abs=1e-4)


def by_definition(
    start: SoftmaxHead, x: NDArray[np.float32], y: NDArray[np.int64], order: NDArray[Any], settings: TrainingSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """A pass without momentum, picture by picture in float64: weight, bias, mean loss and accuracy along the way."""
    weight, bias = start.weight.astype(np.float64), start.bias.astype(np.float64)
    counts = np.bincount(y, minlength=K)
    loss = correct = 0.0
    for first in range(0, y.size, settings.batch_size):
        batch = order[first : first + settings.batch_size]
        down, down_bias = settings.l2 * weight, np.zeros(K)
        for i in batch:
            logits = x[i] @ weight + bias
            shares = np.exp(logits) / np.exp(logits).sum()
            loss -= float(np.log(shares[y[i]]))
            correct += float(logits.argmax() == y[i])
            slope = (shares - np.eye(K)[y[i]]) * y.size / (np.count_nonzero(counts) * counts[y[i]] * batch.size)
            down, down_bias = down + np.outer(x[i], slope), down_bias + slope
        weight, bias = weight - settings.learning_rate * down, bias - settings.learning_rate * down_bias
    return weight, bias, loss / y.size, correct / y.size


def test_a_pass_is_the_one_of_the_definition() -> None:
    """In batches of three, three and one, with classes that are not equally frequent."""
    start, x, y = seven(seed=4)
    settings = TrainingSettings(epochs=1, batch_size=3, learning_rate=0.5, momentum=0.0, l2=0.1)
    result = train(start, x, y, *NOTHING, settings, stream())
    weight, bias, loss, accuracy_then = by_definition(start, x, y, stream().permutation(7), settings)
    np.testing.assert_allclose(result.weight, weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.bias, bias, rtol=1e-4, atol=1e-5)
    assert result.history[0].train_loss == pytest.approx(loss, rel=1e-5)
    assert result.history[0].train_accuracy == pytest.approx(accuracy_then)
    assert result.steps == 3


def test_it_starts_from_the_head_it_is_given() -> None:
    good = run()
    again = run(
        SoftmaxHead(good.weight, good.bias), TrainingSettings(epochs=1, learning_rate=1e-9, momentum=0.0, l2=0.0)
    )
    np.testing.assert_allclose(again.weight, good.weight, atol=1e-6)


def test_the_start_is_not_changed() -> None:
    start = zero_head(F, K)
    run(start)
    assert not start.weight.any()
    assert not start.bias.any()


def test_the_generator_decides_and_nothing_else() -> None:
    assert np.array_equal(run(number=1).weight, run(number=1).weight)
    assert not np.array_equal(run(number=1).weight, run(number=2).weight)


def test_best_epoch_on_the_validation_split() -> None:
    """With labels in the validation split that contradict training, the first epoch is the best."""
    x, y = clouds(30, seed=1)
    result = run(valid=(x, (y + 1) % K), settings=replace(SETTINGS, patience=4))
    assert result.best_epoch == 1
    assert len(result.history) == 5
    only_one = run(settings=replace(SETTINGS, epochs=1))
    assert np.array_equal(result.weight, only_one.weight)


def test_validation_pictures_weigh_as_in_training() -> None:
    """Eight of class 0 and two of class 1; the loss that training stops by is that which it makes small."""
    x, y = np.ones((10, F), np.float32), np.array([0] * 8 + [1] * 2)
    start = SoftmaxHead(np.zeros((F, K), np.float32), np.array([3.0, 0.0, -9.0], np.float32))
    settings = replace(SETTINGS, batch_size=10, l2=0.0)
    balanced = train(start, x, y, x, y, settings, stream())
    plain = train(start, x, y, x, y, replace(settings, class_weights=False), stream())
    for result, weights in ((balanced, np.array([10 / 16, 10 / 4, 0.0])), (plain, np.ones(K))):
        logarithms = log_softmax(SoftmaxHead(result.weight, result.bias).logits(x))
        losses = -logarithms[np.arange(10), y]
        best = result.history[result.best_epoch - 1].valid_loss
        assert best == pytest.approx(float(np.average(losses, weights=weights[y])), rel=1e-5)
        assert best == min(epoch.valid_loss or 9.0 for epoch in result.history)
    strangers = train(start, x, np.zeros(10, np.int64), x, np.ones(10, np.int64), replace(settings, epochs=1), stream())
    assert strangers.history[0].valid_loss
    assert strangers.history[0].valid_loss > 1, "of classes that are not trained, all count alike"


def test_without_validation_the_last_epoch_counts() -> None:
    result = run(valid=NOTHING)
    assert result.best_epoch == len(result.history) == SETTINGS.epochs
    assert all(epoch.valid_loss is None and epoch.valid_accuracy is None for epoch in result.history)


def test_classes_that_do_not_occur_get_no_weight_and_the_rest_count_alike() -> None:
    """Ten of class 0, one of class 1, none of class 2, alike but for the label: with weights it is a tie."""
    x, y = np.ones((11, F), np.float32), np.array([0] * 10 + [1])
    settings = TrainingSettings(epochs=200, batch_size=11, learning_rate=0.05, l2=0.0)
    balanced = train(zero_head(F, K), x, y, *NOTHING, settings, stream())
    plain = train(zero_head(F, K), x, y, *NOTHING, replace(settings, class_weights=False), stream())
    logits = SoftmaxHead(balanced.weight, balanced.bias).logits(x[:1])[0]
    assert logits[0] == pytest.approx(logits[1], abs=1e-3)
    assert logits[2] < logits[0] - 1
    logits = SoftmaxHead(plain.weight, plain.bias).logits(x[:1])[0]
    assert logits[0] - logits[1] == pytest.approx(np.log(10), abs=0.1)


def test_by_counts_of_the_federation_the_gradients_of_devices_add_up_to_the_balanced_one() -> None:
    """However pictures are spread: here each device knows one class, and by its own counts can balance nothing."""
    x, y = clouds(60)
    kept = np.concatenate([np.flatnonzero(y == label)[:count] for label, count in enumerate((20, 5, 2))])
    x, y = x[kept], y[kept]
    once = TrainingSettings(epochs=1, batch_size=64, learning_rate=0.1, momentum=0.0, l2=0.0, class_counts=(20, 5, 2))
    own = replace(once, class_counts=())

    def step(chosen: NDArray[np.bool_], settings: TrainingSettings) -> NDArray[np.float32]:
        moved = train(zero_head(F, K), x[chosen], y[chosen], *NOTHING, settings, stream()).weight
        return moved * np.float32(chosen.sum() / y.size)

    together, balanced = step(y >= 0, once), step(y >= 0, own)
    np.testing.assert_allclose(together, balanced, atol=1e-6)
    np.testing.assert_allclose(sum(step(y == label, once) for label in range(K)), balanced, atol=1e-6)
    assert np.abs(sum(step(y == label, own) for label in range(K)) - balanced).max() > 0.01


def test_counts_of_a_class_nobody_knows_or_hardly_anybody() -> None:
    assert weights_of((30, 10, 0)) == (40 / 60, 2.0, 1.0)
    assert weights_of((1_000_000, 1)) == (1_000_001 / 2_000_000, MOST_WEIGHT)
    with pytest.raises(DataError, match="counts of 2 classes, where there are 3"):
        run(settings=replace(SETTINGS, class_counts=(1, 2)))


def test_each_pass_sees_one_sight_of_every_picture() -> None:
    """With a batch of all pictures, a step's gradient is that of some drawn sights: here each tells its number."""
    y = np.arange(30) % K
    sights = [np.zeros((30, F), np.float32) for _ in range(3)]
    for number, sight in enumerate(sights):
        sight[:, number] = 1.0
    settings = TrainingSettings(epochs=1, batch_size=30, learning_rate=1.0, momentum=0.0, l2=0.0, class_weights=False)
    moved = train(zero_head(F, K), sights[0], y, *NOTHING, settings, stream(), variants=sights[1:]).weight
    assert moved.sum(axis=0) == pytest.approx(np.zeros(K), abs=1e-6), "as many of each class"
    assert np.abs(moved[:3].sum(axis=1)).max() < 1e-6
    assert all(np.abs(moved[number]).max() > 0 for number in range(3)), "all of them are drawn"
    assert not moved[3:].any()
    again = train(zero_head(F, K), sights[0], y, *NOTHING, settings, stream(), variants=sights[1:]).weight
    np.testing.assert_array_equal(moved, again)


def test_variants_that_do_not_fit_or_are_not_finite_are_refused() -> None:
    x, y = clouds(9)
    for bad in (x[:5], x * np.nan):
        with pytest.raises(DataError, match="variants of training pictures"):
            train(zero_head(F, K), x, y, *NOTHING, SETTINGS, stream(), variants=[bad])


def test_progress_is_reported_epoch_by_epoch() -> None:
    seen: list[EpochProgress] = []
    x, y = clouds(20)
    result = train(zero_head(F, K), x, y, x, y, replace(SETTINGS, epochs=4), stream(), seen.append)
    assert tuple(seen) == result.history
    assert [(epoch.epoch, epoch.epochs) for epoch in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_cancelled_from_on_epoch() -> None:
    class CancelledError(Exception):
        pass

    def cancel(progress: EpochProgress) -> None:
        if progress.epoch == 2:
            raise CancelledError

    x, y = clouds(20)
    with pytest.raises(CancelledError):
        train(zero_head(F, K), x, y, *NOTHING, SETTINGS, stream(), cancel)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["train", "valid"])
def test_features_that_are_not_finite(bad: float, where: str) -> None:
    splits = {"train": clouds(20), "valid": clouds(20)}
    splits[where][0][3, 4] = bad
    with pytest.raises(DataError, match="not a finite number"):
        train(zero_head(F, K), *splits["train"], *splits["valid"], SETTINGS, stream())


def test_start_that_is_not_finite() -> None:
    start = zero_head(F, K)
    start.weight[0, 0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        run(start)


def test_training_that_runs_away_is_said() -> None:
    x, y = clouds(60)
    wild = TrainingSettings(epochs=300, batch_size=1, learning_rate=10.0, momentum=0.999, l2=10.0)
    with pytest.raises(ModelError, match="ran away"):
        train(zero_head(F, K), x * 1000, y, *NOTHING, wild, stream())


def test_no_training_pictures() -> None:
    with pytest.raises(DataError, match="no training pictures"):
        train(zero_head(F, K), *NOTHING, *clouds(6), SETTINGS, stream())


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((4, F + 1), np.float32), np.zeros(4, np.int64)),
        (np.zeros((4, F), np.float32), np.zeros(5, np.int64)),
        (np.zeros(F, np.float32), np.zeros(1, np.int64)),
        (np.zeros((4, F), np.float32), np.full(4, K)),
        (np.zeros((4, F), np.float32), np.full(4, -1)),
        (np.zeros((4, F), np.float32), np.zeros(4, np.float32)),
    ],
)
def test_examples_that_do_not_fit(x: NDArray[Any], y: NDArray[Any]) -> None:
    with pytest.raises(DataError):
        train(zero_head(F, K), x, y, *NOTHING, SETTINGS, stream())


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"epochs": 1001},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"l2": -1.0},
        {"patience": 0},
    ],
)
def test_settings_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(bad))):
        TrainingSettings(**bad)
