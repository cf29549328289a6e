"""A task whose backbone learns: what it says, what it goes with, its first version, and how a round moves it."""

from __future__ import annotations

import itertools
import json
import re
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Connection

from fanlight.cli.fine_tune_option import fine_tune_fields, with_fine_tuning
from fanlight.errors import SettingsError, UsageError
from fanlight.learning.algorithms.algorithm import Gathered, Vector
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.algorithms.robust import flaw_with
from fanlight.learning.backbones import CompiledBackbone, compile_backbone
from fanlight.learning.heads import zero_head
from fanlight.learning.held_back import HeldBack
from fanlight.learning.model_file import Control, HeadModel
from fanlight.learning.tuned_backbone import BatchNorm, cut
from fanlight.protocol.contribution import Totals, expected_layout
from fanlight.services.federation import TASK_FILE, init_federation
from fanlight.services.main_server import next_version
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice, Combine
from fanlight.services.main_server.app import create_app
from fanlight.services.main_server.fine_tuning import MOST_PICTURES, FineTuning, check_at_home, first_tensors
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import Task
from fanlight.services.main_server.task_file import TaskFile
from fanlight.storage.database import Database
from fanlight.storage.tables import main as tables
from tests.unit.main_server.past import add_round, measure, server_of

TASK = Task.default(classes=("a", "b", "c"), picture_size=64)
LAST_BLOCK = 1_013_696


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> CompiledBackbone:
    return compile_backbone("efficientnet-lite0", tmp_path_factory.mktemp("backbones"))


def tuned(compiled: CompiledBackbone, given: str = "1", task: Task = TASK) -> Task:
    return with_fine_tuning(task, given, compiled)


def test_the_option_makes_a_task_that_can_be_loaded(compiled: CompiledBackbone, tmp_path: Path) -> None:
    task = tuned(compiled, "1:learning_rate=0.002")
    (tmp_path / TASK_FILE).write_bytes(task.to_json())
    assert Task.load(tmp_path / TASK_FILE) == task
    assert task.fine_tune == FineTuning(blocks=1, batch_norm="frozen", learning_rate=0.002, parameters=LAST_BLOCK)
    assert task.policy.most_pictures == MOST_PICTURES
    planned = task.plan.fine_tune
    assert planned is not None
    assert (planned.blocks, planned.learning_rate_micro, planned.parameters) == (1, 2000, LAST_BLOCK)
    assert task.plan.parameters == LAST_BLOCK + 1281 * 3
    layout = expected_layout(task.plan, 1000, 10_000_000, with_counts=True)
    assert next(part.length for part in layout if part.kind == "update") == task.plan.parameters
    assert task.plan.algorithm is None


def test_all_of_it_and_own_normalisation(compiled: CompiledBackbone) -> None:
    task = tuned(compiled, "all:batch_norm=local")
    assert task.fine_tune is not None
    assert task.fine_tune.in_words.startswith("the whole backbone (")
    assert task.plan.fine_tune is not None
    assert task.plan.fine_tune.blocks == 0
    assert task.plan.algorithm is not None
    assert task.plan.algorithm.name == "fedbn"
    assert task.algorithm.name == "fedavg"


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES.values() if not recipe.why_not])
def test_which_algorithms_go_with_it(compiled: CompiledBackbone, name: str) -> None:
    chosen = {"name": name}
    assert tuned(compiled).with_algorithm(chosen).algorithm.name == name
    of_the_server = AlgorithmChoice(name=name).algorithm.is_plain_on_devices
    assert of_the_server == (name in {"fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"})
    if of_the_server:
        planned = tuned(compiled, "1:batch_norm=local").with_algorithm(chosen).plan.algorithm
        assert planned is not None
        assert planned.name == "fedbn"
    else:
        with pytest.raises(SettingsError, match="does not go with"):
            tuned(compiled, "1:batch_norm=local").with_algorithm(chosen)


def test_as_many_tensors_as_the_version_has_cannot_stay_at_home(tmp_path: Path, compiled: CompiledBackbone) -> None:
    """Of a head and a block these are more than two; the published version says how many."""
    task, main, aggregator = tuned(compiled).to_json(), "http://localhost:8000", "http://localhost:8003"
    init_federation(tmp_path / "federation", main_url=main, aggregator_url=aggregator, task_json=task)
    _app, parts = create_app(MainServerSettings(state=tmp_path / "federation" / "main"))
    names = len(start_of(compiled).layout.names)
    with pytest.raises(SettingsError, match=f"{names} of the model's {names} tensors"):
        parts.service.change_algorithm(name="fedper", parameters={"personal": names})
    for personal in (2, names - 1):
        with pytest.raises(
            SettingsError, match="the global one, which has learned nothing yet, never would"
        ) as refused:
            parts.service.change_algorithm(name="fedrep", parameters={"personal": personal})
        assert "Write 1" in refused.value.next
        assert "ditto" in refused.value.next
    parts.service.change_algorithm(name="fedper", parameters={"personal": 1})
    assert parts.service.task.algorithm.parameters == {"personal": 1}


def test_the_whole_head_can_stay_at_home_once_the_global_one_has_learned(
    tmp_path: Path, compiled: CompiledBackbone
) -> None:
    layout, taught = start_of(compiled).layout, AlgorithmChoice(name="fedper", parameters={"personal": 2}).algorithm
    check_at_home(taught, layout, knows_nothing=False)
    with pytest.raises(SettingsError, match="2 tensors at home the whole head stays there"):
        check_at_home(taught, layout, knows_nothing=True)
    for given in ("fedper", "fedrep"):
        task = TASK.with_algorithm({"name": given, "parameters": {"personal": 2.0}})
        with pytest.raises(SettingsError, match="whole head"):
            tuned(compiled, task=task)


def test_with_the_whole_head_at_home_nothing_goes_back_to_a_head_that_knows_nothing(
    tmp_path: Path, compiled: CompiledBackbone
) -> None:
    """Neither the operator nor a rule: the global head would stay zero for ever."""
    whole = {"name": "fedper", "parameters": {"personal": 2}}
    _app, parts = server_of(tmp_path / "federation", tuned(compiled, task=Task.default(classes=("a", "b"))))
    service = parts.service
    for number in (1, 2):
        add_round(parts, number)
    add_round(parts, 3, state="open", kind="measure")
    assert not service.make_current(0), "it waits for the end of the round"
    with pytest.raises(SettingsError, match="the whole head stays there"):
        service.change_algorithm(**whole)
    assert not service.make_current(2)
    service.change_algorithm(**whole)
    with service.database.transaction() as tx:
        tx.execute(tables.rounds.update().where(tables.rounds.c.number == 3).values(state="abandoned", ended_at=4.0))
    with pytest.raises(SettingsError, match="the whole head stays there"):
        service.make_current(0)
    service.change_policy(stop_on_drop_points=5)
    best, worst = [[50, 10], [10, 80]], [[10, 50], [80, 10]]
    for number, figures in ((1, best), (2, worst)):
        measure(parts, number, figures)
    with service.database.transaction() as tx:
        assert parts.conductor.course.stop(tx)
        assert service.models.current(tx).number == 2
    held = parts.overview.status()["held"]
    assert (held["reason"], held["message"][-21:]) == ("dropped", "Version 2 is current.")
    assert service.make_current(1), "which knows something"
    service.change_algorithm(name="fedavg")
    assert service.make_current(0)
    service.close()


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_who_goes_back_while_the_algorithm_changes_cannot_slip_in_between_check_and_change(
    tmp_path: Path, compiled: CompiledBackbone, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Between any two transactions of the change another thread may be quicker; under the file's, all others wait."""
    _app, parts = server_of(tmp_path / "federation", tuned(compiled, task=Task.default(classes=("a", "b"))))
    service, going_back = parts.service, iter([moment])
    add_round(parts, 1)
    transaction, change, begun = Database.transaction, TaskFile.change_algorithm, itertools.count(1)

    def another_first(database: Database) -> AbstractContextManager[Connection]:
        if next(begun) == moment and next(going_back, None):
            assert service.make_current(0)
        return transaction(database)

    def changed(tasks: TaskFile, **choice: Any) -> Task:
        with pytest.raises(RuntimeError, match="inside a transaction"):
            service.make_current(0)
        return change(tasks, **choice)

    monkeypatch.setattr(Database, "transaction", another_first)
    monkeypatch.setattr(TaskFile, "change_algorithm", changed)
    try:
        service.change_algorithm(name="fedper", parameters={"personal": 2})
    except SettingsError:
        assert service.task.algorithm.name == "fedavg"
    with service.database.reading() as tx:
        service.models.check_goes_on(tx, service.models.current(tx))
        assert service.models.current(tx).number == (0 if moment < 3 else 1)
    service.close()


@pytest.mark.parametrize("head", ["analytic", "prototypes"])
def test_a_solved_head_does_not_go_with_it(compiled: CompiledBackbone, head: str) -> None:
    with pytest.raises(SettingsError, match="cannot be solved"):
        tuned(compiled, task=Task.default(classes=("a", "b"), head=head))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "flaw"),
    [
        ("some", "neither a number of blocks"),
        ("", "neither a number of blocks"),
        ("1:learning_rate=fast", "no number"),
        ("1:batch_norm=thawed", "frozen or local"),
        ("1:depth=3", "depth"),
        ("1:learning_rate=11", "learning_rate"),
        ("17", "16 blocks"),
    ],
)
def test_what_the_option_does_not_take(compiled: CompiledBackbone, given: str, flaw: str) -> None:
    with pytest.raises(Exception, match=flaw):
        tuned(compiled, given)


def test_the_form_of_the_option() -> None:
    assert fine_tune_fields("all") == {"blocks": "all"}
    assert fine_tune_fields("2:batch_norm=local,learning_rate=0.5") == {
        "blocks": 2,
        "batch_norm": "local",
        "learning_rate": 0.5,
    }
    with pytest.raises(UsageError):
        fine_tune_fields("-1")


def test_the_commands_and_numbers_of_the_page(compiled: CompiledBackbone) -> None:
    page = (Path(__file__).parents[3] / "docs" / "fine-tuning.md").read_text()
    given = re.findall(r"^fanlight .*--fine-tune (\S+)$", page, re.MULTILINE)
    assert given == ["1", "1", "2:batch_norm=local,learning_rate=0.0001", "all"]
    for each in given:
        assert tuned(compiled, each).fine_tune is not None
    for blocks in ("1", "3", "all"):
        chosen = tuned(compiled, blocks).fine_tune
        assert chosen is not None
        assert f"| {chosen.parameters:,} |" in page


def test_a_number_that_the_file_got_by_hand_is_found_out(compiled: CompiledBackbone) -> None:
    chosen = tuned(compiled).fine_tune
    assert chosen is not None
    assert sum(x.size for x in first_tensors(compiled, chosen).values()) == LAST_BLOCK
    for wrong in (chosen.model_copy(update={"blocks": 2}), chosen.model_copy(update={"parameters": 7})):
        with pytest.raises(SettingsError, match="parameters"):
            first_tensors(compiled, wrong)


def test_a_task_from_before_there_was_a_choice(tmp_path: Path) -> None:
    fields = json.loads(TASK.to_json())
    del fields["fine_tune"]
    (tmp_path / TASK_FILE).write_text(json.dumps(fields))
    assert Task.load(tmp_path / TASK_FILE) == TASK
    assert TASK.plan.fine_tune is None


def start_of(compiled: CompiledBackbone) -> HeadModel:
    names = cut(compiled.id, compiled.read(), compiled.features, 1).start(BatchNorm.FROZEN)
    small = {name: x.reshape(-1)[:1500].reshape(-1, 1) for name, x in names.items()}
    head, sha256 = zero_head(5, 3), compiled.sha256
    draw = np.random.default_rng(1)
    model = HeadModel("t", 0, ("a", "b", "c"), compiled.id, sha256, 64, head.weight, head.bias, tuned=small)
    return replace(model, weight=draw.normal(size=(5, 3)).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "combine"),
    [
        (recipe.name, combine)
        for recipe in RECIPES.values()
        for combine in ("mean", "median")
        if not recipe.why_not and (combine == "mean" or not flaw_with(recipe.of({})))
    ],
)
def test_a_round_moves_the_backbone_and_the_head_alike(compiled: CompiledBackbone, name: str, combine: Combine) -> None:
    start = start_of(compiled)
    choice, d = AlgorithmChoice(name=name, combine=combine), start.layout.size
    draw = np.random.default_rng(3)
    all_steps, controls = (draw.integers(-500, 500, (3, d)).astype(np.int32) for _ in range(2))
    shards = tuple(
        Totals(2, 20, steps, 1e-3, control=control, control_unit=1e-2, local_steps=1.5)
        for steps, control in zip(all_steps, controls, strict=True)
    )
    steps, control = (each.sum(axis=0, dtype=np.int32) for each in (all_steps, controls))
    said = Totals(6, 60, steps, 1e-3 / 3, control=control, control_unit=1e-2 / 3, local_steps=1.5, shards=shards)
    held_back = np.array([False, True, False])
    known = _by_hand(choice, start, said, held_back)
    made = next_version.move(start.head, {}, choice, said, held_back=HeldBack(held_back), members=10, tuned=start.tuned)
    after = replace(start, weight=made.head.weight, bias=made.head.bias, tuned=made.tuned)
    np.testing.assert_allclose(after.layout.flatten(after.tensors), known, rtol=1e-5, atol=1e-5)
    assert np.array_equal(after.weight[:, 1], start.weight[:, 1])
    assert list(after.tuned) == list(start.tuned)
    assert not np.array_equal(after.weight[:, 0], start.weight[:, 0])
    if choice.algorithm.publishes:
        assert isinstance(made.control, Control)
        shapes = [{key: x.shape for key, x in each.tensors.items()} for each in (made.control, start)]
        assert shapes[0] == shapes[1]


def _by_hand(choice: AlgorithmChoice, start: HeadModel, said: Totals, held_back: NDArray[np.bool_]) -> Vector:
    """The same of the whole vector at once.

    Where a memory mirrors devices' it is shown all: its result is what may not be published yet.
    """
    vector = start.layout.flatten(start.tensors)
    head = (start.weight.shape[0] + 1) * 3

    def published(steps: Vector) -> Vector:
        rows = steps[-head:].reshape(-1, 3)
        less_their_mean = (rows - rows[:, ~held_back].mean(axis=1, keepdims=True)) * ~held_back
        return np.concatenate([steps[:-head], less_their_mean.ravel()])

    def middle(what: str, unit: str) -> Vector:
        parts = [getattr(shard, what) * getattr(shard, unit) for shard in said.shards]
        rule = np.median if choice.combine == "median" else np.mean
        return rule(list(map(published, parts)), axis=0)

    mean, control = middle("steps", "unit"), middle("control", "control_unit")
    gathered = Gathered(mean, count=6, members=10, weight=60, control=control, steps=1.5)
    state = choice.algorithm.apply(choice.algorithm.init(vector), gathered)
    return vector + published(state.parameters - vector) if choice.algorithm.mirrors else state.parameters
