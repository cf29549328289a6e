"""What may be shown of summed counts, so that small numbers, which could point to single homes, stay hidden.

A round gives two confusion matrices, of the model received and of the local ones.  Hiding single small cells hides
nothing: the pictures, recall and precision of a class give them back, and with two classes the totals do.  Nor does it
help to treat the matrices one by one: both count the same pictures, so what one says about a row helps to solve the
other, and so do the rounds before with the same pictures.  So one level holds for both:

- ``cells``: everything, if no cell is below ``smallest``, and always in a demonstration;
- ``classes``: pictures and recall of each class, if each has ``smallest`` hits and ``smallest`` misses or more.  The
  misses of a class lie in two cells or more (with exactly one, they would be a cell), in any proportion;
- ``totals``: pictures, hits, accuracy, mean loss.  Hits may lie anywhere on the diagonal, misses anywhere beside it.

So each hidden cell can have at least two values, also for those who know these rules, with one exception: that there
are no misses at all, or no hits, is in the totals.  Sums over fewer than ``FEWEST_DEVICES`` are always totals.  Who has
no held-out pictures is not among the devices of a measuring round; among those of a training round it is, with zeros,
and nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

from fanlight.core.metrics import Metrics

FEWEST_DEVICES: Final = 5
SMALLEST: Final = 10


class Level(StrEnum):
    """How much is shown."""

    CELLS = "cells"
    CLASSES = "classes"
    TOTALS = "totals"


def level_of(matrices: Sequence[Metrics], participants: int, *, demo: bool = False, smallest: int = SMALLEST) -> Level:
    """The one level for matrices that count the same pictures of so many devices."""
    if demo:
        return Level.CELLS
    if participants < FEWEST_DEVICES:
        return Level.TOTALS
    if all(min(row) >= smallest for metrics in matrices for row in metrics.confusion):
        return Level.CELLS
    if all(count >= smallest for metrics in matrices for count in _hits_and_misses(metrics)):
        return Level.CLASSES
    return Level.TOTALS


def shown(metrics: Metrics, classes: Sequence[str], level: Level) -> dict[str, Any]:
    """The figures as ``Metrics.as_dict``; what ``level`` hides is None. ``shown`` names the level."""
    figures = metrics.as_dict(classes)
    if level is not Level.CELLS:
        figures["confusion"] = None
        figures["per_class"] = [entry | {"precision": None} for entry in figures["per_class"]]
    if level is Level.TOTALS:
        figures |= {"balanced_accuracy": None, "per_class": None}
    return {"shown": level.value} | figures


def _hits_and_misses(metrics: Metrics) -> Iterable[int]:
    for index, row in enumerate(metrics.confusion):
        yield row[index]
        yield sum(row) - row[index]
