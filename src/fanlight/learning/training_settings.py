"""How a device trains: the numbers that the whole federation shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fanlight.errors import SettingsError

MOST_OF_A_CLASS: Final = 1_000_000_000
MOST_WEIGHT: Final = 10.0
"""A class of which next to nothing is known must not outweigh all others, nor lengthen steps beyond use."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a device trains in one round; part of the plan that the whole federation shares.

    The defaults were chosen for 1,280 standardised features. Two devices with different classes pull the head apart:
    at a learning rate of 0.003 ``digits`` gets worse from round to round (.84 to .65 in ten), at 0.001 it gets better
    (.83 to .89; .90 after twenty), and homes with alike pictures need no more than three rounds.

    Attributes:
        epochs: most passes over the training pictures, 1 to 1,000.
        batch_size: pictures a step, 1 to 4,096.
        learning_rate: step length, above 0, at most 10; meant for features of mean 0 and deviation 1.
        momentum: 0 to below 1.
        l2: weight decay towards zero on ``weight`` (not on ``bias``), 0 to 10.
        patience: epochs without a better validation loss after which training stops, 1 to 1,000.
        class_weights: whether each class that occurs counts the same, however many pictures it has.
        class_counts: pictures of each class in the whole federation, as far as they are known, by which it then counts;
            empty: each device goes by its own pictures.

    Raises:
        SettingsError: a value is out of range.
    """

    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.001
    momentum: float = 0.9
    l2: float = 1e-3
    patience: int = 3
    class_weights: bool = True
    class_counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _within("epochs", self.epochs, 1, 1000)
        _within("batch_size", self.batch_size, 1, 4096)
        _within("learning_rate", self.learning_rate, 1e-9, 10.0)
        _within("momentum", self.momentum, 0.0, 0.9999)
        _within("l2", self.l2, 0.0, 10.0)
        _within("patience", self.patience, 1, 1000)
        for count in self.class_counts:
            _within("class_counts", count, 0, MOST_OF_A_CLASS)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for NaN too
        raise SettingsError(f"training setting {name} = {value} is not within {low} to {high}")


def weights_of(counts: tuple[int, ...]) -> tuple[float, ...]:
    """By which classes of so many pictures count the same; their mean over all pictures is 1, but for ``MOST_WEIGHT``.

    A class without pictures weighs 1: who has some knows better than what is known.
    """
    there = sum(1 for count in counts if count)
    return tuple(min(MOST_WEIGHT, sum(counts) / (there * count)) if count else 1.0 for count in counts)
