"""A simulated round becomes the next model by the very rule of the main server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.learning.algorithms.algorithm import NOTHING
from fanlight.learning.heads import SoftmaxHead
from fanlight.learning.held_back import HeldBack
from fanlight.protocol.contribution import Totals
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.next_version import move
from fanlight.simulation.server import Global, Server

FEATURES, CLASSES = 1500, 3  # more rows than the main server works on at once
SIZE = (FEATURES + 1) * CLASSES


def totals_of(seed: int) -> Totals:
    generator = np.random.default_rng(seed)
    return Totals(
        count=5,
        weight=50,
        steps=generator.integers(-5000, 5000, SIZE).astype(np.int32),
        unit=1e-5,
        supporters=np.array([5, 1, 3]),
        within_clip=4,
        control=generator.integers(-5000, 5000, SIZE).astype(np.int32),
        control_unit=1e-5,
        local_steps=1.25,
    )


@pytest.mark.parametrize("supporters", [1, 2])
@pytest.mark.parametrize(
    ("name", "combine"),
    [
        *((name, "mean") for name in ("fedavg", "fedavgm", "fedadam", "scaffold", "fednova", "feddyn")),
        *((name, rule) for name in ("fedavg", "fedavgm", "fedadam", "fednova") for rule in ("median", "krum")),
        ("fedavg", "geometric-median"),
    ],
)
def test_three_rounds_are_those_of_the_main_server(name: str, combine: str, supporters: int) -> None:
    choice = AlgorithmChoice(name=name, combine=combine)  # type: ignore[arg-type]
    server = Server(choice.algorithm, combine, CLASSES, supporters, members=9)
    state = server.first(np.linspace(-1, 1, SIZE, dtype=np.float32), 10.0)
    head, memory = SoftmaxHead(*split(state.parameters)), NOTHING
    for number in range(3):
        shards = tuple(totals_of(10 * number + place) for place in range(3))
        totals = replace(totals_of(number), shards=() if combine == "mean" else shards)
        state = server.move(state, totals)
        assert totals.supporters is not None
        held_back = HeldBack.of(totals.supporters, supporters)
        moved = move(head, memory, choice, copied(totals), held_back=held_back, members=9)
        head, memory = moved.head, moved.memory
        assert np.array_equal(state.parameters, np.concatenate([head.weight.ravel(), head.bias]))
        assert {name: vector.tolist() for name, vector in state.memory.items()} == {
            name: vector.tolist() for name, vector in memory.items()
        }
        check_published(server, state, moved.control.head if moved.control else None)


def check_published(server: Server, state: Global, control: SoftmaxHead | None) -> None:
    published = list(server.published(state).values())
    said = [] if control is None else [np.concatenate([control.weight.ravel(), control.bias])]
    assert [vector.tolist() for vector in published] == [vector.tolist() for vector in said]


def copied(totals: Totals) -> Totals:
    """The main server puts the model in the place of the sum."""
    assert totals.steps is not None
    return replace(totals, steps=totals.steps.copy(), shards=tuple(map(copied, totals.shards)))


def split(parameters: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    table = parameters.reshape(-1, CLASSES)
    return table[:-1].copy(), table[-1].copy()
