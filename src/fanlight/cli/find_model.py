"""Where ``predict`` and ``export`` take their model from: a file, or the folder of a role, a federation or a demo."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanlight.cli.demo_folder import newest_demo
from fanlight.cli.role_database import first_row
from fanlight.errors import FanlightError, ModelError, NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from fanlight.learning.home_model import HomeModel
    from fanlight.services.device.home_findings import Findings
    from fanlight.services.device.own_model import OwnModel

DEFAULT_STATE = Path("fanlight-state")

_DATABASE = "state.sqlite3"
_CURRENT = """
    SELECT sha256 FROM models WHERE published
    ORDER BY version = (SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'current_model') DESC, version DESC
"""
"""The version that the operator made current, else the newest; see ``Models.current``."""
_HOME = "SELECT head, familiar, findings FROM home_models"
_HELD = "SELECT 1 FROM settings WHERE key = 'held'"
_CAME_ALONG = "SELECT content FROM small_files WHERE name LIKE 'global-%'"
"""A device's current model, if that came along with an offer; there is one such row at most."""
_NUMBERED = "SELECT sha256 FROM models WHERE version = ?"

_MODELS_INSIDE = "SELECT 1 FROM sqlite_master WHERE name = 'model_files'"
"""Of releases before versions were files."""


def find_model_file(model: Path | None, state: Path | None, version: int | None = None) -> bytes:
    """The file of the model to use, which can be decoded.

    Args:
        model: a safetensors file.
        state: a role's, a federation's or a demo's folder; without both, ``./fanlight-state``.
        version: of a main server's models; the current one by default.

    Raises:
        UsageError: both are given, or neither and there is no demo here; a version where there is only one.
        NotFound: there is no such version.
        ModelError: no model is there, or it is damaged.
        StorageError: the database cannot be read.
    """
    if model is not None and state is not None:
        raise UsageError("Give either --model or --state.")
    if model is not None and version is not None:
        raise UsageError("A model file holds one version.", next="Leave --version out.")
    if model is not None:
        return _read_file(model)
    if state is None and not DEFAULT_STATE.is_dir():
        raise UsageError(
            "Which model? There is no demo's state in ./fanlight-state.",
            next="Give --model FILE or --state DIR, or run: fanlight demo",
        )
    return _in_state(role_folder(state), version)


def role_folder(state: Path | None) -> Path:
    """The state folder of the role that is meant: a demo's or a federation's main server, or the role itself."""
    state = state or DEFAULT_STATE
    demo = newest_demo(state)
    if demo is not None:
        return demo.main
    return state / "main" if (state / "main" / _DATABASE).is_file() else state


def find_own(role: Path, content: bytes) -> OwnModel | None:
    """The model of its own that the algorithm gives a home, if the role is a device, of this release, that has one.

    Args:
        role: its state folder. content: the file of its global model.

    Raises:
        ModelError: it cannot be read, or this release does not know the algorithm.
    """
    from fanlight.services.device.own_model import read_own_model

    try:
        if first_row(role / _DATABASE, _HELD) is None:
            return None
        return read_own_model(role, content)
    except (sqlite3.DatabaseError, FanlightError) as error:
        if "no such table" in str(error):
            return None
        raise ModelError(
            f"Whether this home has a model of its own cannot be told. {error}",
            next="--shared takes the model of all devices.",
        ) from error


def find_home(role: Path) -> tuple[HomeModel, Findings] | None:
    """The head of a device's own names and what was found about it, if the role is a device that has one.

    Raises:
        ModelError: it is damaged. StorageError: the database cannot be read.
    """
    from fanlight.services.device.home_models import read_row

    try:
        row = first_row(role / _DATABASE, _HOME)
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error) or "unable to open" in str(error):
            return None
        raise StorageError(f"{role / _DATABASE}: {error}.") from error
    return read_row(*row) if row else None


def stored_card(role: Path, version: int) -> dict[str, Any] | None:
    """The card of a version, if the role is a main server, of this release of Fanlight."""
    from fanlight.services.federation import TASK_FILE
    from fanlight.services.main_server.version_card import read_card

    is_main = (role / _DATABASE).is_file() and (role / TASK_FILE).is_file()
    return read_card(role, role / _DATABASE, version) if is_main else None


def _in_state(state: Path, version: int | None) -> bytes:
    if (state / _DATABASE).is_file() and (content := _of_main(state, version)) is not None:
        return content
    if not (state / _DATABASE).is_file():
        raise ModelError(
            f"{state} holds no model.",
            next="Name the state folder of a device that has taken part, of the main server, a federation or a demo.",
        )
    if version is not None:
        raise UsageError(f"{state} is no main server's: only that keeps versions.", next="Leave --version out.")
    return _of_device(state)


def _of_main(state: Path, version: int | None) -> bytes | None:
    """A model of the main server's; None where the state is another role's."""
    from fanlight.services.main_server.version_files import MODELS_FOLDER, read_version

    database = state / _DATABASE
    try:
        row = first_row(database, _CURRENT) if version is None else first_row(database, _NUMBERED, (version,))
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise StorageError(f"{database}: {error}.", next="Is it readable, and its disk not full?") from error
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{database}: {error}.") from error
    if row is None and version is not None:
        raise NotFound(f"There is no model version {version}.", next="The page Models of the main server lists them.")
    if row is None:
        return None
    if first_row(database, _MODELS_INSIDE):
        raise StorageError(
            f"{state} is from an older Fanlight, which kept models in its database.",
            next="Start the main server with this release once: it moves them.",
            slug="older-state",
        )
    return read_version(state / MODELS_FOLDER, bytes(row[0]))


def _of_device(state: Path) -> bytes:
    from fanlight.services.device.model_files import current_model_file

    database = state / _DATABASE
    try:
        row = first_row(database, _CAME_ALONG)
    except sqlite3.DatabaseError as error:
        if "no such table" not in str(error):
            raise StorageError(f"{database}: {error}.") from error
        row = None  # of a release before there were any
    return _decodable(bytes(row[0]), database) if row else _read_file(current_model_file(state))


def _read_file(path: Path) -> bytes:
    from fanlight.learning.model_file import MAX_MODEL_BYTES

    try:
        with path.open("rb") as file:
            data = file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read: {error.strerror}.", next="Check the path.") from error
    return _decodable(data, path)


def _decodable(data: bytes, path: Path) -> bytes:
    """``data`` of the file ``path``, if it is that of a model."""
    from fanlight.learning.model_file import decode

    try:
        decode(data)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", next=error.next) from error
    return data
