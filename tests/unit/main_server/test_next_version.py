"""How a released round moves the model: rows that are held back, pieces, and what belongs to a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import cores
from fanlight.errors import ModelError
from fanlight.learning.algorithms.algorithm import NOTHING, Gathered, Memory
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.algorithms.robust import ROBUST
from fanlight.learning.heads import SoftmaxHead
from fanlight.learning.held_back import HeldBack
from fanlight.learning.model_file import HeadModel, decode, encode
from fanlight.protocol.contribution import Totals
from fanlight.services.main_server import next_version
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice, Combine

F, K = 2500, 3
D = (F + 1) * K
UNIT, CONTROL_UNIT = 1e-3, 1e-2
DEPLOYED = [name for name, recipe in RECIPES.items() if not recipe.why_not]
NONE_HELD_BACK = np.zeros(K, np.bool_)


@pytest.fixture(autouse=True)
def in_pieces_on_four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a long model is worked on: this one has three pieces, cut between rows."""
    monkeypatch.setattr(next_version, "_PIECE", 1000 * K)
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)


def model() -> HeadModel:
    draw = np.random.default_rng(1)
    weight, bias = draw.normal(size=(F, K)).astype(np.float32), draw.normal(size=K).astype(np.float32)
    return HeadModel("t", 0, ("a", "b", "c"), "lite", "0" * 64, 32, weight, bias)


def totals(seed: int = 2) -> Totals:
    draw = np.random.default_rng(seed)
    steps, control = (draw.integers(-1000, 1000, D).astype(np.int32) for _ in range(2))
    return Totals(4, weight=100, steps=steps, unit=UNIT, control=control, control_unit=CONTROL_UNIT, local_steps=1.5)


def chosen(name: str, combine: Combine = "mean") -> AlgorithmChoice:
    return AlgorithmChoice(name=name, combine=combine)


def moved(
    start: HeadModel,
    memory: Memory,
    choice: AlgorithmChoice,
    said: Totals,
    *,
    held_back: NDArray[np.bool_] = NONE_HELD_BACK,
    members: int = 10,
) -> tuple[HeadModel, Memory]:
    """``start`` after a round, as a model; ``said`` stays as it is."""
    assert said.steps is not None
    said, head = replace(said, steps=said.steps.copy()), SoftmaxHead(start.weight, start.bias)
    made = next_version.move(head, memory, choice, said, held_back=HeldBack(held_back), members=members)
    return replace(start, weight=made.head.weight, bias=made.head.bias, control=made.control), made.memory


def vector(of: HeadModel) -> NDArray[np.float64]:
    return np.concatenate([of.weight.ravel(), of.bias]).astype(np.float64)


@pytest.mark.parametrize("name", DEPLOYED)
def test_piece_by_piece_is_as_a_whole(name: str) -> None:
    """Two rounds, of which the second goes on from what the first left."""
    algorithm, choice, said = RECIPES[name].of({}), chosen(name), totals()
    assert said.steps is not None
    assert said.control is not None
    gathered = Gathered(
        said.steps * UNIT, 4, members=8, weight=100, control=said.control * CONTROL_UNIT, steps=said.local_steps
    )
    state, ours, memory = algorithm.init(vector(model())), model(), NOTHING
    for _ in range(2):
        ours, memory = moved(ours, memory, choice, said, members=8)
        state = algorithm.apply(state, gathered)
        np.testing.assert_allclose(vector(ours), state.parameters, rtol=1e-6, atol=1e-6)
        _check_same(memory, state.memory)
    assert (ours.control is not None) == bool(algorithm.publishes)


@pytest.mark.parametrize("hides", [False, True])
def test_it_lies_in_the_place_of_the_sum_and_is_the_start_and_the_mean(hides: bool) -> None:
    """Bit for bit what one formula over whole arrays gives; where a class is hidden, others move by how they differ."""
    chance, held_back = np.random.default_rng(7), np.array([False, True, False])
    weight = chance.normal(size=(F, K)).astype(np.float32)
    weight[:, 1][::2] = -0.0
    before = SoftmaxHead(weight, chance.normal(size=K).astype(np.float32))
    steps, unit = chance.integers(-(2**31), 2**31, D).astype(np.int32), 1.7e-7
    rows, table = np.vstack([before.weight, before.bias]), steps.reshape(-1, K).astype(np.int64)
    of_one_device = np.where(held_back, rows, (rows + table * unit).astype(np.float32))
    between = (2 * table - table[:, [0, 2]].sum(axis=1, keepdims=True)) / 2
    expected = of_one_device if not hides else np.where(held_back, rows, (rows + between * unit).astype(np.float32))
    said, known = Totals(4, weight=100, steps=steps, unit=unit), HeldBack(held_back, hides=hides)
    after = next_version.move(before, NOTHING, chosen("fedavg"), said, held_back=known, members=4).head
    assert np.vstack([after.weight, after.bias]).tobytes() == expected.tobytes()
    assert np.shares_memory(after.weight, steps)
    assert np.shares_memory(after.bias, steps)


def test_a_parameter_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelError):
        moved(model(), NOTHING, chosen("fedavg"), replace(totals(), unit=1e200))


def _check_same(one: Mapping[str, NDArray[np.float64]], other: Mapping[str, NDArray[np.float64]]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-12)


@pytest.mark.parametrize("name", DEPLOYED)
def test_classes_that_are_held_back_keep_their_rows(name: str) -> None:
    """Also where the algorithm would go on by itself, from rounds before; and nothing of them is remembered, unless
    devices remember them: but then nothing of them is published.
    """
    choice, held_back = chosen(name), np.array([False, True, False])
    first, memory = moved(model(), NOTHING, choice, totals(), members=8)
    before = vector(first).reshape(-1, K)
    same, another = (
        moved(decode(encode(first)), memory, choice, totals(seed), held_back=held_back, members=8) for seed in (2, 3)
    )
    for after, _ in (same, another):
        if after.control is not None:
            assert first.control is not None
            assert np.array_equal(after.control.head.weight[:, 1], first.control.head.weight[:, 1])
            assert np.array_equal(after.control.head.bias[1], first.control.head.bias[1])
            assert not np.array_equal(after.control.head.weight[:, 0], first.control.head.weight[:, 0])
        assert np.array_equal(vector(after).reshape(-1, K)[:, 1], before[:, 1])
        assert not np.array_equal(vector(after).reshape(-1, K)[:, 0], before[:, 0])
    for kept in memory:
        one, other = (found[kept].reshape(-1, K) for _, found in (same, another))
        hidden = kept in choice.algorithm.publishes or not choice.algorithm.mirrors
        assert np.array_equal(one[:, 1], other[:, 1]) == hidden, "does what is remembered tell of the class?"


@pytest.mark.parametrize(("name", "mirror"), [("scaffold", "sum"), ("feddyn", "gradients")])
def test_a_sum_of_what_devices_remember_goes_on_where_a_class_is_held_back(name: str, mirror: str) -> None:
    """As if nothing else had been in the round; and the others go on as if that class had not been in it."""
    choice, the_class = chosen(name), np.array([False, True, False])

    def after(said: NDArray[np.bool_], held_back: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The memory of a round in which devices have these classes."""
        each = totals()
        assert each.steps is not None
        assert each.control is not None
        steps, control = ((of_all.reshape(-1, K) * said).ravel() for of_all in (each.steps, each.control))
        whole = replace(each, steps=steps, control=control)
        return moved(model(), NOTHING, choice, whole, held_back=held_back)[1][mirror].reshape(-1, K)

    found = after(~NONE_HELD_BACK, the_class)
    assert np.abs(found[:, 1]).max() > 0
    np.testing.assert_allclose(found[:, 1], after(the_class, NONE_HELD_BACK)[:, 1], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found[:, ~the_class], after(~the_class, the_class)[:, ~the_class])


def test_a_memory_of_another_size_begins_anew() -> None:
    algorithm = RECIPES["fedadam"].of({})
    memory = {name: np.ones(3) for name in algorithm.init(np.zeros(1)).memory}
    found, fresh = (moved(model(), given, chosen("fedadam"), totals(), members=8) for given in (memory, NOTHING))
    assert np.array_equal(vector(found[0]), vector(fresh[0]))


@pytest.mark.parametrize("combine", ROBUST)
def test_a_robust_middle_of_the_shards_takes_the_place_of_the_mean(combine: Combine) -> None:
    """Four of five shards move every number by +1, the fifth by -1000 of the clip."""
    shards = tuple(
        Totals(2, weight=20, steps=np.full(D, step, np.int32), unit=UNIT)
        for step in (1000, 1001, 999, 1000, -1_000_000)
    )
    steps = np.sum([shard.steps for shard in shards if shard.steps is not None], axis=0)
    said = Totals(10, weight=100, steps=steps, unit=UNIT / 5, shards=shards)
    before = vector(model())
    robust, plain = (moved(model(), NOTHING, chosen("fedavg", how), said)[0] for how in (combine, "mean"))
    np.testing.assert_allclose(vector(robust) - before, 1.0, atol=2e-3)
    assert (vector(plain) - before).max() < -100


@pytest.mark.parametrize("combine", ROBUST)
def test_without_shards_there_is_nothing_to_combine(combine: Combine) -> None:
    one, other = (moved(model(), NOTHING, chosen("fedavg", how), totals(), members=8)[0] for how in (combine, "mean"))
    assert np.array_equal(vector(one), vector(other))


@pytest.mark.parametrize("combine", ROBUST)
def test_the_steps_of_a_bad_shard_do_not_count_either(combine: Combine) -> None:
    ones = np.ones(D, np.int32)
    shards = tuple(Totals(2, 20, 1000 * ones, UNIT, local_steps=steps) for steps in (1.0, 1.0, 1.0, 1.0, 90.0))
    said = Totals(10, 100, 5000 * ones, UNIT / 5, local_steps=19.0, shards=shards)
    after, _ = moved(model(), NOTHING, chosen("fednova", combine), said)
    np.testing.assert_allclose(vector(after) - vector(model()), 1.0, atol=2e-3)


@pytest.mark.parametrize("combine", ROBUST)
def test_what_is_held_back_does_not_decide_which_shards_count(combine: Combine) -> None:
    """The same shards, but for the rows of the class: the other rows move the same."""
    draw = np.random.default_rng(4)
    tables = draw.integers(-1000, 1000, (5, F + 1, K)).astype(np.int32)
    held_back = np.array([False, True, False])
    found = []
    for stretch in (1, 1000):
        tables[0, :, 1] *= stretch
        shards = tuple(Totals(2, 20, table.ravel(), UNIT) for table in tables)
        said = Totals(10, 100, tables.sum(axis=0).ravel(), UNIT / 5, shards=shards)
        after, _ = moved(model(), NOTHING, chosen("fedavg", combine), said, held_back=held_back)
        found.append(vector(after))
    assert np.array_equal(found[0], found[1])
