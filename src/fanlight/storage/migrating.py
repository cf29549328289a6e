"""Bring a role's database up to the tables that this version of Fanlight knows.

The steps lie in ``migrations/{main,aggregator,device}`` inside the package and are Alembic's.  All missing steps run in
one transaction at every start.  A database that already knows a later step is refused, untouched: going back could
forget that a round was released.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, inspect, text

from fanlight.errors import StorageError
from fanlight.storage.database import Database

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

Role = Literal["main", "aggregator", "device"]

_STEPS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()  # Alembic's ``op`` and ``context`` are module globals


def migrate(database: Database, role: Role) -> None:
    """Run the missing migration steps of ``role``; none missing does nothing.

    Raises:
        StorageError: the database comes from a newer Fanlight, or a step failed (nothing was changed).
    """
    with database.transaction() as transaction:
        if _is_current(transaction, role):
            return
    # Not before it is needed: Alembic takes longer to load than all the rest of a start takes.
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config(role)
    with _one_at_a_time, database.transaction() as transaction:
        _refuse_newer(transaction, ScriptDirectory.from_config(config), database)
        config.attributes["connection"] = transaction
        config.attributes["folder"] = database.path.parent if database.path else None
        command.upgrade(config, "head")


def _is_current(transaction: Connection, role: Role) -> bool:
    """Has the last step been run? Steps are numbered by their files' names."""
    if not inspect(transaction).has_table("alembic_version"):
        return False
    newest = max(path.name.partition("_")[0] for path in (_STEPS / role).glob("[0-9]*_*.py"))
    return [newest] == list(transaction.execute(text("SELECT version_num FROM alembic_version")).scalars())


def _config(role: Role) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _escaped(_STEPS))
    config.set_main_option("path_separator", "newline")  # the only separator that a folder's name rarely contains
    config.set_main_option("version_locations", _escaped(_STEPS / role))
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")  # configparser would interpolate


def _refuse_newer(transaction: Connection, steps: ScriptDirectory, database: Database) -> None:
    from alembic.runtime.migration import MigrationContext

    known = {step.revision for step in steps.walk_revisions()}
    unknown = set(MigrationContext.configure(transaction).get_current_heads()) - known
    if unknown:
        raise StorageError(
            f"{database.path or 'The database'} was written by a newer Fanlight (tables {', '.join(sorted(unknown))}).",
            next="Start it with that version again, or restore the state folder from before the upgrade.",
            slug="database-too-new",
        )
