"""Each algorithm through the real services: what rounds publish is what a loop of a few lines makes of the pictures.

Both servers and four devices as in ``tests.faults``, without network; the learner is the real one, on drawn features.
Each device trains by whole batches, so that the order of its pictures does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.adaptive_clip import next_clip
from fanlight.core.randomness import Keystream
from fanlight.errors import NotPossibleNow
from fanlight.learning.algorithms.algorithm import NOTHING, Gathered, Memory, State
from fanlight.learning.algorithms.local import Outcome, Received, as_sent
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.heads import head_layout
from fanlight.learning.local_training import SoftmaxDescent, vector_of
from fanlight.learning.model_file import decode
from fanlight.protocol.plan import Plan
from fanlight.services.device.deliveries import Deliveries
from fanlight.services.device.learner import Learner, training_settings
from fanlight.services.device.pictures import Examples, Pictures
from fanlight.services.federation import init_federation, issue_token_file
from fanlight.services.main_server import proposals
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.task import Task, Training
from tests.faults.scenarios import Scenario
from tests.faults.stores import Fate, Kind, Store
from tests.faults.world import NAMES, NOW, ROLES, World

F, K = 1280, 2
LAYOUT = head_layout(F, K)
TRAINING = Training(epochs=3, batch_size=4096, learning_rate=0.01, momentum=0.0, patience=1000)
CHOSEN = {
    "fedavgm": {"learning_rate": 0.5},
    "fedprox": {"mu": 5.0},
    "feddyn": {"alpha": 5.0},
    "fednova": {"typical_steps": 2},
    "scaffold": {"control_clip": 100.0},
    "ditto": {"pull": 1.0},
    **{key: {"tau": 0.001} for key in ("fedadagrad", "fedadam", "fedyogi")},
}
"""What tells them from FedAvg; τ far above the rounding of updates, which is divided by it."""
DEPLOYED = [name for name, recipe in RECIPES.items() if not recipe.why_not]


@dataclass
class Drawn:
    """A device's pictures: few features say something, and each device has another mix of classes."""

    number: int
    lacks_training: bool = False
    overview: object = None
    examples_by_part: dict[str, Examples] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.number)
        for part, count in (("train", 6 + 3 * self.number), ("valid", 0), ("test", 5)):
            y = (draw.random(count) < 0.2 + 0.2 * self.number).astype(np.int64)
            x = draw.normal(size=(count, F)) * 0.1
            x[:, :8] += np.where(y == 1, 1.0, -1.0)[:, None]
            self.examples_by_part[part] = Examples(x.astype(np.float32), y)

    def examples(self, _plan: Plan, parts: Sequence[str], _progress: Any) -> dict[str, Examples]:
        return {part: self.examples_by_part[part] for part in parts}


PICTURES = [Drawn(number) for number in range(len(NAMES))]


@contextmanager
def federation(folder: Path, choice: dict[str, Any], **policy: Any) -> Iterator[World]:
    task = Task(
        classes=("circle", "square"),
        picture_size=32,
        training=TRAINING,
        algorithm=AlgorithmChoice(**choice),
        policy=replace_policy(policy),
    )
    init_federation(folder, main_url="http://main", aggregator_url="http://aggregator", task_json=task.to_json())
    for name in NAMES:
        issue_token_file(folder, name, NOW + 10_000_000)
    stores = {name: Store(Kind.MEMORY, Fate()) for name in ROLES}
    with World(Scenario.PLAIN, folder, stores, bytes(32)) as world:
        for number, process in enumerate(world.devices.values()):
            life = process.life
            pictures = cast("Pictures", PICTURES[number])
            learner = Learner(life.store, pictures, lambda: world.now, Keystream(bytes([number]) * 32).bytes)
            life.rounds = replace(life.rounds, learner=learner)
            life._deliveries = Deliveries(life.rounds, lambda: 0.5)
        yield world


def replace_policy(changes: dict[str, Any]) -> Any:
    return Scenario.PLAIN.task.policy.model_copy(update={"most_pictures": 50, **changes})


def run(world: World, until: Callable[[], bool], turns: int = 80) -> None:
    for _ in range(turns):
        if until():
            return
        world.everybody()
    raise AssertionError("it does not come to that")


def versions(world: World) -> list[NDArray[np.float64]]:
    service = world.main.life.service
    with service.database.reading() as tx:
        files = [service.models.file_of(tx, version.number) for version in service.models.all(tx)]
    return [vector_of(LAYOUT, decode(file)) for file in files]


@dataclass
class Loop:
    """The same without services, sums or masks: states of all versions, and what devices remember with them.

    Attributes:
        clip: of the next round's updates.
    """

    task: Task
    clip: float = math.inf
    states: list[State] = field(default_factory=list)
    memories: list[list[Memory]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.algorithm = self.task.algorithm.algorithm
        self.states = [self.algorithm.init(np.zeros(LAYOUT.size))]
        self.memories = [[NOTHING] * len(PICTURES)]

    def turns_to(self, choice: AlgorithmChoice) -> None:
        """Another algorithm goes on from the last version, and nobody remembers anything."""
        self.algorithm = choice.algorithm
        self.states[-1] = self.algorithm.init(self.states[-1].parameters)
        self.memories[-1] = [NOTHING] * len(PICTURES)

    def round(self, start: int) -> list[Outcome]:
        state, first = self.states[start], start == 0
        published = {} if first else {name: state.memory[name] for name in self.algorithm.publishes}
        received = Received(state.parameters, LAYOUT, published)
        outcomes = []
        for pictures, memory in zip(PICTURES, self.memories[start], strict=True):
            train, valid = pictures.examples_by_part["train"], pictures.examples_by_part["valid"]
            stream, settings = Keystream(bytes(32)), training_settings(self.task.plan)
            descend = SoftmaxDescent(LAYOUT, train.x, train.y, valid.x, valid.y, settings, stream)
            outcomes.append(self.algorithm.local(received, memory, descend))
        counts = np.array([pictures.examples_by_part["train"].y.size for pictures in PICTURES], np.float64)
        weights = counts / counts.sum()
        controls = [outcome.control for outcome in outcomes if outcome.control is not None]
        steps = [outcome.steps for outcome in outcomes if outcome.steps is not None]
        lengths = [float(np.linalg.norm(outcome.update)) for outcome in outcomes]
        shares = [min(1.0, self.clip / length) for length in lengths]
        if math.isfinite(self.clip):
            self.clip = next_clip(self.clip, sum(length <= self.clip for length in lengths) / len(lengths))
        gathered = Gathered(
            weights @ np.array([share * outcome.update for share, outcome in zip(shares, outcomes, strict=True)]),
            count=len(PICTURES),
            members=len(PICTURES),
            weight=float(counts.sum()),
            control=np.mean(controls, axis=0) if controls else None,
            steps=float(weights @ steps) if steps else None,
        )
        self.states.append(self.algorithm.apply(state, gathered))
        self.memories.append(
            [
                as_sent(each.memory, each.follows, each.update, share)
                for each, share in zip(outcomes, shares, strict=True)
            ]
        )
        return outcomes


def check(world: World, loop: Loop, closely: float = 3e-4) -> None:
    found = versions(world)
    assert len(found) == len(loop.states)
    for ours, theirs in zip(found, loop.states, strict=True):
        np.testing.assert_allclose(ours, theirs.parameters, atol=closely)
    assert np.abs(found[-1]).max() > 0.005


def made(world: World, count: int) -> Callable[[], bool]:
    return lambda: len(versions(world)) > count


@pytest.mark.parametrize("name", DEPLOYED)
def test_rounds_publish_what_the_algorithm_says(name: str, tmp_path: Path) -> None:
    choice = {"name": name, "parameters": CHOSEN.get(name, {})}
    with federation(tmp_path, choice, rounds=3) as world:
        run(world, made(world, 3))
        loop = Loop(world.main.life.service.task)
        for start in range(3):
            loop.round(start)
        check(world, loop)


@pytest.mark.parametrize("name", ["feddyn", "scaffold"])
def test_what_is_remembered_is_what_the_sum_has_where_updates_are_clipped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that cuts everything at first, and grows."""
    monkeypatch.setattr(proposals, "FIRST_CLIP", 0.005)
    strong = {"alpha": 50.0} if name == "feddyn" else CHOSEN[name]
    with federation(tmp_path, {"name": name, "parameters": strong}, rounds=8) as world:
        run(world, made(world, 8), turns=200)
        loop = Loop(world.main.life.service.task, clip=0.005)
        assert all(np.linalg.norm(outcome.update) > 0.005 for outcome in loop.round(0))
        for start in range(1, 8):
            loop.round(start)
        check(world, loop, 3e-6)


def goes_back(world: World, version: int) -> bool:
    """Has the operator gone back, as soon as that is possible?"""
    try:
        world.main.life.service.make_current(version, abandon=True)
    except NotPossibleNow:
        return False
    return True


@pytest.mark.parametrize("name", ["fedadam", "scaffold", "feddyn", "ditto"])
def test_going_back_brings_back_what_was_remembered(name: str, tmp_path: Path) -> None:
    """Rounds from 0, 1 and 2; then the operator goes back to version 1, and two rounds start there."""
    choice = {"name": name, "parameters": CHOSEN.get(name, {})}
    with federation(tmp_path, choice, rounds=5) as world:
        run(world, made(world, 3))
        run(world, lambda: goes_back(world, 1))
        run(world, made(world, 5))
        loop = Loop(world.main.life.service.task)
        for start in (0, 1, 2, 1, 4):
            loop.round(start)
        check(world, loop)
        if name == "ditto":
            wanted = loop.memories[-1][0]["own"]
            assert np.abs(vector_of(LAYOUT, decode(_local_file(world))) - wanted).max() < 3e-4
            life = world.devices[NAMES[0]].life
            run(world, lambda: life.rounds.held().version == 5 and not life.store.memories.in_question())
            own = life.rounds.answering().own
            assert own is not None
            assert np.abs(vector_of(LAYOUT, own.model) - wanted).max() < 3e-4
            assert np.abs(wanted - loop.states[-1].parameters).max() > 3e-3


@pytest.mark.parametrize("name", ["scaffold", "feddyn", "ditto", "fedper"])
def test_coming_back_to_an_algorithm_is_a_new_beginning_for_devices_as_for_the_server(
    name: str, tmp_path: Path
) -> None:
    """Two rounds of it, one of FedAvg, and two more."""
    choice, plain = {"name": name, "parameters": CHOSEN.get(name, {})}, {"name": "fedavg", "parameters": {}}
    with federation(tmp_path, choice, rounds=2) as world:
        service = world.main.life.service
        loop = Loop(service.task)
        chosen = service.task.algorithm
        for count, turn, starts in ((2, None, (0, 1)), (3, plain, (2,)), (5, choice, (3, 4))):
            if turn is not None:
                service.change_algorithm(**turn)
                loop.turns_to(service.task.algorithm)
                service.change_policy(rounds=count)
            run(world, made(world, count))
            for start in starts:
                loop.round(start)
        check(world, loop)
        assert service.task.algorithm == chosen
        with service.database.reading() as tx:
            lineages = [decode(service.models.file_of(tx, number)).lineage for number in range(6)]
        found = [lineage and (lineage.algorithm, lineage.spans) for lineage in lineages]
        assert found == [None, (name, ((1, 1),)), (name, ((1, 2),)), None, (name, ((4, 4),)), (name, ((4, 5),))]
        life = world.devices[NAMES[0]].life
        run(world, lambda: life.rounds.held().version == 5 and not life.store.memories.in_question())
        own, named = life.rounds.answering().own, {"ditto": "own", "fedper": "personal"}.get(name)
        assert (own is not None) == (named is not None), "SCAFFOLD and FedDyn give homes no models of their own"
        if own is not None and named is not None:
            assert np.abs(vector_of(LAYOUT, own.model) - loop.memories[-1][0][named]).max() < 3e-4


def _local_file(world: World) -> bytes:
    store = world.devices[NAMES[0]].life.store
    assert store.prepared is not None
    return store.local_file(store.prepared.head)


@pytest.mark.parametrize("combine", ["median", "geometric-median"])
def test_shards_are_combined_by_a_robust_middle(combine: str, tmp_path: Path) -> None:
    """Two shards of two: their middle is the mean of both, each counting the same whatever its pictures."""
    choice = {"name": "fedavg", "combine": combine}
    with federation(tmp_path, choice, rounds=1, shards="always", most_shards=3) as world:
        run(world, made(world, 1))
        loop = Loop(world.main.life.service.task)
        updates = np.array([outcome.update for outcome in loop.round(0)])
        counts = np.array([pictures.examples_by_part["train"].y.size for pictures in PICTURES])
        splits = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))

        def middle(split: Sequence[Sequence[int]]) -> NDArray[np.float64]:
            means = [np.average(updates[list(pair)], axis=0, weights=counts[list(pair)]) for pair in split]
            found: NDArray[np.float64] = np.mean(means, axis=0)
            return found

        found = versions(world)[-1]
        assert min(np.abs(found - middle(split)).max() for split in splits) < 3e-5
