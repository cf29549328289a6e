"""Where ``predict`` takes its model from: a file, or the state folder of a role or of a demo."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from fanlight.cli.demo_folder import newest_demo
from fanlight.cli.role_database import first_row
from fanlight.errors import ModelError, StorageError, UsageError

if TYPE_CHECKING:
    from fanlight.learning.model_file import HeadModel

DEFAULT_STATE = Path("fanlight-state")

_DATABASE = "state.sqlite3"
_CURRENT = """
    SELECT content FROM models JOIN model_files USING (sha256) WHERE published
    ORDER BY version = (SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'current_model') DESC, version DESC
"""
"""The version that the operator made current, else the newest; see ``Models.current``."""


def find_model(model: Path | None, state: Path | None) -> HeadModel:
    """The model to use.

    Args:
        model: a safetensors file.
        state: a role's or a demo's state folder; without both, ``./fanlight-state``.

    Raises:
        UsageError: both are given, or neither and there is no demo here.
        ModelError: no model is there, or it is damaged.
        StorageError: the database cannot be read.
    """
    if model is not None and state is not None:
        raise UsageError("Give either --model or --state.")
    if model is not None:
        return _read_file(model)
    if state is None and not DEFAULT_STATE.is_dir():
        raise UsageError(
            "Which model? There is no demo's state in ./fanlight-state.",
            next="Give --model FILE or --state DIR, or run: fanlight demo",
        )
    return _in_state(state or DEFAULT_STATE)


def _in_state(state: Path) -> HeadModel:
    from fanlight.learning.model_file import decode
    from fanlight.services.device.model_files import current_model_file

    demo = newest_demo(state)
    if demo is not None:
        state = demo.main
    if (state / _DATABASE).is_file() and (content := _current(state / _DATABASE)) is not None:
        return decode(content)
    if not (state / _DATABASE).is_file():
        raise ModelError(
            f"{state} holds no model.",
            next="Name the state folder of a device that has taken part, of the main server, or of a demo.",
        )
    return _read_file(current_model_file(state))


def _current(database: Path) -> bytes | None:
    """The main server's current model; None where the database is another role's."""
    try:
        row = first_row(database, _CURRENT)
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise StorageError(f"{database}: {error}.", next="Is it readable, and its disk not full?") from error
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{database}: {error}.") from error
    return bytes(row[0]) if row else None


def _read_file(path: Path) -> HeadModel:
    from fanlight.learning.model_file import MAX_MODEL_BYTES, decode

    try:
        with path.open("rb") as file:
            data = file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read: {error.strerror}.", next="Check the path.") from error
    try:
        return decode(data)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", next=error.next) from error
