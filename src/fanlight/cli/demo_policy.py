"""The task of a demo, and its policy, which may change from one start to the next."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from fanlight.cli.fine_tune_option import with_fine_tuning
from fanlight.cli.role_database import first_row
from fanlight.cli.task_options import Choices, Head, Pictures, make_task, task_backbone
from fanlight.errors import StorageError
from fanlight.services.main_server.made_room import PREFIX

if TYPE_CHECKING:
    from fanlight.learning.datasets import DataSet
    from fanlight.services.main_server.task import Task


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
        algorithm=choices.algorithm,
        augmentation=choices.augmentation,
        class_weights=choices.class_weights,
    )
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
    if choices.algorithm is not None:
        task = task.with_algorithm(choices.algorithm)
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
