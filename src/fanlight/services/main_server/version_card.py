"""The card of a version from the main server's database, whether the server runs or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from fanlight.errors import StorageError
from fanlight.learning.model_file import decode
from fanlight.services.federation import BACKBONES_FOLDER, TASK_FILE
from fanlight.services.main_server import (
    algorithm_memories,
    lines,
    model_card,
    round_table,
    sharding,
    solving,
    taught_by,
)
from fanlight.services.main_server.model_card import Origin
from fanlight.services.main_server.models import Models, Version
from fanlight.services.main_server.promotion import Promotion
from fanlight.services.main_server.published_backbones import PublishedBackbones
from fanlight.services.main_server.task import Task
from fanlight.services.main_server.task_file import TaskFile
from fanlight.services.main_server.version_files import MODELS_FOLDER, VersionFiles
from fanlight.storage.database import Database


def card_of(tx: Connection, models: Models, task: Task, number: int) -> dict[str, Any]:
    """The card of a version, see ``model_card``.

    Raises:
        NotFound: there is none.
    """
    version = models.version(tx, number)
    [line], lineage = lines.version_lines(tx, task, [version]), models.lineage(tx, version, models.count(tx))
    line["note"] = Promotion.notes(tx, number, number).get(number, "")
    file = decode(models.file_of(tx, number), own=False)
    return model_card.card(task, line, file, lineage, origin_of(tx, version, lineage))


def origin_of(tx: Connection, version: Version, lineage: Sequence[int]) -> Origin:
    """How a version came to be; ``lineage``: the numbers of all that it comes of, nearest first."""
    made = round_table.whole(tx, version.round) if version.round is not None else None
    return Origin(
        devices=made.participants if made else None,
        shards=sharding.count_of_sums(made.record) if made else None,
        algorithm=algorithm_memories.made_by(tx, version.number),
        solution=solving.solution_of(tx, version.number),
        solved_before=solving.nearest_solution(tx, lineage),
        taught=taught_by.of_version(tx, version.number),
    )


def read_card(state: Path, database: Path, number: int) -> dict[str, Any] | None:
    """The same from the folder of a server that is stopped; None if its release is another, or the version is damaged.

    Changes nothing there.

    Raises:
        NotFound: there is no such version. SettingsError: the folder has no task.
    """
    tasks = TaskFile(state / TASK_FILE, lambda _task: None)
    backbones = PublishedBackbones(state / BACKBONES_FOLDER, lambda: tasks.task)
    models = Models(tasks, backbones, VersionFiles(state / MODELS_FOLDER))
    try:
        with Database(database) as stored, stored.reading() as tx:
            return card_of(tx, models, tasks.task, number)
    except StorageError:
        return None
