"""No hidden cell of a confusion matrix follows from what is shown, however cleverly it is read.

The reader of these tests knows everything but the counts: the rules, and that both matrices count the same pictures.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fanlight.core.metrics import Metrics
from fanlight.services.main_server.shown_figures import FEWEST_DEVICES, SMALLEST, Level, level_of, shown

Matrix = tuple[tuple[int, ...], ...]
Pair = tuple[Matrix, Matrix]


def what_is_shown(pair: Pair, smallest: int, participants: int = FEWEST_DEVICES) -> tuple[Level, str]:
    both = [Metrics.from_confusion(np.array(matrix, np.int64)) for matrix in pair]
    level = level_of(both, participants, smallest=smallest)
    names = [f"class {index}" for index in range(len(pair[0]))]
    return level, json.dumps([shown(metrics, names, level) for metrics in both])


def cells(matrix: Matrix) -> Iterator[tuple[int, int]]:
    return itertools.product(range(len(matrix)), range(len(matrix)))


def in_the_totals(matrix: Matrix, truth: int, named: int) -> bool:
    """That there is no hit, or no miss, cannot be hidden while accuracy is shown."""
    hits = sum(row[index] for index, row in enumerate(matrix))
    return (hits if truth == named else sum(map(sum, matrix)) - hits) == 0


def hidden_cells(pair: Pair, level: Level) -> list[tuple[int, int, int]]:
    """(matrix, row, column) of what must stay open."""
    if level is Level.CELLS:
        return []
    return [
        (which, truth, named)
        for which in (0, 1)
        for truth, named in cells(pair[which])
        if not in_the_totals(pair[which], truth, named) and not (level is Level.CLASSES and truth == named)
    ]


def test_of_all_small_pairs_of_matrices_of_two_classes_each_hidden_cell_has_two_values() -> None:
    """Every pair with up to 8 pictures, by what is shown of it; cells below 2 count as small."""
    smallest, most = 2, 8
    looks_like: dict[str, list[Pair]] = defaultdict(list)
    levels = {}
    for first, second in itertools.product(range(most + 1), repeat=2):
        if first + second > most:
            continue
        rows = [
            [((first - a, a), (b, second - b)) for a in range(first + 1) for b in range(second + 1)] for _ in range(2)
        ]
        for pair in itertools.product(rows[0], rows[1]):
            level, said = what_is_shown(pair, smallest)
            looks_like[said].append(pair)
            levels[said] = level
    assert set(levels.values()) == {Level.CELLS, Level.TOTALS}  # with two classes, misses of a class are a cell
    for said, pairs in looks_like.items():
        for which, row, column in hidden_cells(pairs[0], levels[said]):
            values = {pair[which][row][column] for pair in pairs}
            assert len(values) > 1, (said, pairs[0], which, row, column)


def others(pair: Pair) -> Iterator[Pair]:
    """Neighbours of a pair: classes in another order, other names for some pictures of one or two rows, a picture that
    is truly of another class."""
    size = len(pair[0])
    for order in itertools.permutations(range(size)):
        yield tuple(  # type: ignore[misc]
            tuple(tuple(matrix[row][column] for column in order) for row in order) for matrix in pair
        )
    moves = list(itertools.product(range(size), range(size), range(size)))
    for which in (0, 1):
        for move in moves:
            yield moved(pair, which, *move, amount=1)
            once = moved(pair, which, *move)
            yield once
            for again in moves:
                yield moved(once, which, *again)
    for source, target in itertools.permutations(range(size), 2):
        first, second = (list(relabelled(matrix, source, target)) for matrix in pair)
        yield from itertools.product(first, second)


def relabelled(matrix: Matrix, source: int, target: int) -> Iterator[Matrix]:
    """One picture of class ``source`` is of class ``target`` instead, and named rightly or wrongly as before."""
    for named in range(len(matrix)):
        if not matrix[source][named]:
            continue
        for renamed in range(len(matrix)):
            if (named == source) == (renamed == target):
                changed = [list(row) for row in matrix]
                changed[source][named] -= 1
                changed[target][renamed] += 1
                yield tuple(tuple(row) for row in changed)


def moved(pair: Pair, which: int, row: int, source: int, target: int, *, amount: int | None = None) -> Pair:
    """So many pictures of a row, by default half of them, are named ``target`` instead of ``source``."""
    matrix = [list(line) for line in pair[which]]
    amount = amount or max(1, matrix[row][source] // 2)
    if matrix[row][source] < amount:
        return pair
    matrix[row][source] -= amount
    matrix[row][target] += amount
    changed = tuple(tuple(line) for line in matrix)
    return (changed, pair[1]) if which == 0 else (pair[0], changed)


@st.composite
def pairs_of_three(draw: st.DrawFn) -> Pair:
    """Two matrices of three classes with the same rows' sums, some cells small."""
    cell = st.one_of(st.integers(0, 4), st.integers(0, 40))
    first = [[draw(cell) for _ in range(3)] for _ in range(3)]
    second = []
    for row in first:
        total = sum(row)
        a = draw(st.integers(0, total))
        b = draw(st.integers(0, total - a))
        second.append(draw(st.permutations([a, b, total - a - b])))
    return tuple(tuple(map(tuple, matrix)) for matrix in (first, second))  # type: ignore[return-value]


@example((((0, 0, 2), (0, 0, 2), (0, 0, 2)), ((2, 0, 0), (0, 2, 0), (0, 0, 2))), 2)
@example((((2, 2, 4), (2, 3, 3), (2, 2, 4)), ((2, 3, 3), (3, 2, 3), (0, 6, 2))), 2)
@given(pairs_of_three(), st.sampled_from([2, 3, SMALLEST]))
def test_of_three_classes_each_hidden_cell_has_a_second_value(pair: Pair, smallest: int) -> None:
    level, said = what_is_shown(pair, smallest)
    still_open = set(hidden_cells(pair, level))
    for other in others(pair):
        if not still_open:
            break
        differing = {cell for cell in still_open if other[cell[0]][cell[1]][cell[2]] != pair[cell[0]][cell[1]][cell[2]]}
        if differing and what_is_shown(other, smallest) == (level, said):
            still_open -= differing
    assert not still_open


@given(pairs_of_three())
def test_no_small_number_of_pictures_is_ever_shown_but_in_the_totals(pair: Pair) -> None:
    level, said = what_is_shown(pair, SMALLEST)
    for figures in json.loads(said):
        assert figures["shown"] == level
        if level is not Level.CELLS:
            assert figures["confusion"] is None
        for row in figures["confusion"] or []:
            assert min(row) >= SMALLEST
        for entry in figures["per_class"] or []:
            hits = round(entry["pictures"] * entry["recall"])
            assert min(hits, entry["pictures"] - hits) >= SMALLEST


@given(pairs_of_three(), st.integers(0, FEWEST_DEVICES - 1))
def test_of_few_devices_only_totals_are_shown(pair: Pair, participants: int) -> None:
    assert what_is_shown(pair, 0, participants)[0] is Level.TOTALS
    assert what_is_shown(pair, 0)[0] is Level.CELLS


@given(pairs_of_three())
def test_a_demonstration_shows_everything(pair: Pair) -> None:
    both = [Metrics.from_confusion(np.array(matrix, np.int64)) for matrix in pair]
    assume(any(min(row) < SMALLEST for matrix in pair for row in matrix))
    level = level_of(both, 2, demo=True)
    figures = shown(both[0], ["a", "b", "c"], level)
    assert figures == {"shown": "cells", **both[0].as_dict(["a", "b", "c"])}


@pytest.mark.parametrize(
    ("matrices", "level"),
    [
        ([[[480, 12], [15, 512]]], Level.CELLS),
        ([[[480, 3], [15, 512]]], Level.TOTALS),
        ([[[480, 12], [15, 512]], [[489, 3], [15, 512]]], Level.TOTALS),  # the rows of the first would solve the second
        ([[[90, 3, 9], [4, 80, 20], [11, 0, 70]]], Level.CLASSES),
        ([[[90, 3, 9], [4, 80, 20], [5, 4, 70]]], Level.TOTALS),
    ],
)
def test_levels(matrices: list[list[list[int]]], level: Level) -> None:
    both = [Metrics.from_confusion(np.array(matrix, np.int64)) for matrix in matrices]
    assert level_of(both, FEWEST_DEVICES) is level
