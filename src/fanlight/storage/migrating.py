"""Bring a role's database up to the tables that this version of Fanlight knows.

The steps lie in ``migrations/{main,aggregator,device}`` inside the package and are Alembic's.  All missing steps run in
one transaction at every start.  A database that already knows a later step is refused, untouched: going back could
forget that a round was released.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from fanlight.errors import StorageError
from fanlight.storage.database import Database

Role = Literal["main", "aggregator", "device"]

_STEPS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()  # Alembic's ``op`` and ``context`` are module globals


def migrate(database: Database, role: Role) -> None:
    """Run the missing migration steps of ``role``; none missing does nothing.

    Raises:
        StorageError: the database comes from a newer Fanlight, or a step failed (nothing was changed).
    """
    config = _config(role)
    with _one_at_a_time, database.transaction() as transaction:
        _refuse_newer(transaction, ScriptDirectory.from_config(config), database)
        config.attributes["connection"] = transaction
        command.upgrade(config, "head")


def _config(role: Role) -> Config:
    config = Config()
    config.set_main_option("script_location", _escaped(_STEPS))
    config.set_main_option("path_separator", "newline")  # the only separator that a folder's name rarely contains
    config.set_main_option("version_locations", _escaped(_STEPS / role))
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")  # configparser would interpolate


def _refuse_newer(transaction: Connection, steps: ScriptDirectory, database: Database) -> None:
    known = {step.revision for step in steps.walk_revisions()}
    unknown = set(MigrationContext.configure(transaction).get_current_heads()) - known
    if unknown:
        raise StorageError(
            f"{database.path or 'The database'} was written by a newer Fanlight (tables {', '.join(sorted(unknown))}).",
            next="Start it with that version again, or restore the state folder from before the upgrade.",
            slug="database-too-new",
        )
