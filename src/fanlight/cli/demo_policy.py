"""The task of a demo, and its policy, which may change from one start to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fanlight.cli.fine_tune_option import with_fine_tuning
from fanlight.cli.role_database import first_row
from fanlight.cli.task_options import Choices, Head, Pictures, algorithm_fields, make_task, task_backbone
from fanlight.errors import StorageError, UsageError
from fanlight.services.main_server.made_room import PREFIX

if TYPE_CHECKING:
    from fanlight.learning.datasets import DataSet
    from fanlight.services.main_server.task import Task


_K_MIN: Final = 2


def checked_algorithm(given: str | None, devices: int) -> dict[str, object] | None:
    """The choice of ``--algorithm``, if a demo of so many devices can go by it; None if none was made.

    Raises:
        SettingsError: it is not of that form; there is no such algorithm, or it takes something else.
        UsageError: there are too few devices for the shards that it combines.
    """
    choice = algorithm_fields(given)
    if choice is None:
        return None
    _with_algorithm(make_task(Pictures(("a", "b"), 128), demo=True), choice)
    fewest = _fewest_shards(choice)
    if devices < fewest * _K_MIN:
        raise UsageError(
            f"combine={choice['combine']} stands a bad shard only of {fewest} or more, each of {_K_MIN} devices or "
            f"more; {devices} devices are too few for that.",
            next=f"Ask for --devices {fewest * _K_MIN} or more, or leave out combine.",
        )
    return choice


def _with_algorithm(task: Task, choice: Mapping[str, object] | None) -> Task:
    """The same task by this algorithm, if one was chosen, and with the shards in every round that it combines.

    Then rounds are paused until all devices have joined: the first one would have too few of them.
    """
    if choice is None:
        return task
    if fewest := _fewest_shards(choice):
        task = task.with_policy(shards="always", most_shards=max(fewest, task.policy.most_shards), paused=True)
    return task.with_algorithm(choice)


def _fewest_shards(choice: Mapping[str, object]) -> int:
    from fanlight.learning.algorithms.robust import FEWEST

    return FEWEST.get(str(choice.get("combine")), 0)


def demo_task(
    data: DataSet,
    rounds: int | None,
    choices: Choices = Choices(),
    head: Head = Head.SOFTMAX,
    backbone: str | None = None,
    fine_tune: str | None = None,
) -> Task:
    """Two devices are enough; by itself if a number of rounds is given."""
    pictures, by_itself = Pictures(data.classes, data.picture_size), rounds is not None
    task = make_task(
        pictures,
        head=head,
        demo=True,
        by_itself=by_itself,
        rounds=rounds or 0,
        augmentation=choices.augmentation,
        class_weights=choices.class_weights,
    )
    task = _with_algorithm(task, choices.algorithm)
    task = task.with_line(task.head, backbone) if backbone else task
    task = task if fine_tune is None else with_fine_tuning(task, fine_tune, task_backbone(task, None))
    task.check_at_home()
    return task


def write_policy(main: Path, rounds: int | None, choices: Choices = Choices()) -> int:
    """Let a demo that goes on run ``rounds`` more rounds by itself, or by hand; by what was chosen, if anything was.

    Args:
        main: the main server's state folder.
        rounds: how many more; None for by hand.

    Returns:
        how many training rounds it has had so far.

    Raises:
        SettingsError, StorageError: its files are damaged, or cannot be written; more rounds than a task can have.
    """
    from fanlight.services.federation import TASK_FILE
    from fanlight.services.main_server.task import Task
    from fanlight.storage.secret_files import write_secret

    earlier = _training_rounds(main / "state.sqlite3")
    task = Task.load(main / TASK_FILE)
    task = task.with_policy(by_itself=rounds is not None, rounds=earlier + rounds if rounds else 0)
    task = _with_algorithm(task, choices.algorithm)
    if choices.augmentation is not None:
        task = task.with_augmentation(choices.augmentation)
    if choices.class_weights is not None:
        task = task.with_class_weights(choices.class_weights)
    task.check_at_home()
    write_secret(main / TASK_FILE, task.to_json(), replace=True)
    return earlier


def _training_rounds(database: Path) -> int:
    """How many training rounds have ended; an open one still counts as one of those to come."""
    if not database.exists():
        return 0
    statement = f"""SELECT count(*) FROM rounds
        WHERE kind NOT IN ('measure', 'changes') AND ended_at IS NOT NULL AND reason NOT LIKE '{PREFIX}%'"""  # noqa: S608 a constant
    try:
        row = first_row(database, statement)
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{database}: {error}.", next="Choose another --state, or remove this demo.") from error
    return int(row[0]) if row else 0
