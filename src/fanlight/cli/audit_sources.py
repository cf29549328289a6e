"""Where ``fanlight audit`` takes a server's log from: the file that its page Log gives out, or its state folder."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fanlight.core.printable import printable
from fanlight.errors import MalformedMessage, NotAuthentic, NotFound, StorageError, UsageError
from fanlight.protocol.audit.findings import NAMES
from fanlight.protocol.audit.source import LogSource
from fanlight.protocol.closing import CLOSE_LIMIT
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.log import ChainedEntry
from fanlight.services.federation.files import FEDERATION_FILE, FederationFile, proven, read_file
from fanlight.services.server.log_file import LogFile
from fanlight.storage.database import DATABASE_FILE
from fanlight.storage.failures import os_failures

_ROOT_LIMIT: Final = 1 << 16
_KEY: Final = re.compile("[0-9a-f]{64}")
_HOW: Final = "Name the file that the server's page Log gives out, or the server's state folder (main/, aggregator/)."
_TELLING: Final = {"beacons": Role.MAIN, "reports": Role.AGGREGATOR}
"""Tables that one server has and the other not."""
_ROWS: Final = (
    "SELECT seq, head, CAST(type AS TEXT), length(payload), CASE WHEN length(payload) <= ? THEN payload END "
    "FROM log ORDER BY seq"
)


@dataclass(frozen=True)
class OpenedLog:
    """A log, and what its file or folder says of the federation.

    Attributes:
        path: where it is.
        source: for the audit.
        trust: the root, and the servers that it certified.
    """

    path: Path
    source: LogSource
    trust: Trust


def open_log(path: Path, role: Role) -> OpenedLog:
    """The log of the server of this ``role``.

    Raises:
        NotFound, StorageError, MalformedMessage, NotAuthentic: there is none, or none that can be believed.
        UsageError: it is the other server's.
    """
    opened = _folder(path) if path.is_dir() else _file(path)
    if opened.source.role is not role:
        other = opened.source.role
        raise UsageError(f"{path} is the {NAMES[other]}'s log, not the {NAMES[role]}'s.", next=f"Give it as --{other}.")
    return opened


def read_root(given: str) -> bytes:
    """The root's public key, 32 bytes.

    Args:
        given: 64 hexadecimal digits, or a file that holds them: ``root.pub``, or a ``federation.json``.

    Raises:
        NotFound, StorageError: the file cannot be read. UsageError: no key.
    """
    if _KEY.fullmatch(given):
        return bytes.fromhex(given)
    path = Path(given)
    if not path.is_file():
        raise NotFound(f"There is no file {given}.", next="Name root.pub, of the federation's folder root.")
    with os_failures(path), path.open("rb") as stream:
        text = stream.read(_ROOT_LIMIT).decode("ascii", "replace").strip()
    found = text if _KEY.fullmatch(text) else _key_in_json(text)
    if found is None:
        raise UsageError(f"{given} holds no root's key.", next="Name root.pub, of the federation's folder root.")
    return bytes.fromhex(found)


def common_trust(logs: list[OpenedLog], root: bytes | None) -> Trust:
    """The one federation that all ``logs`` are of, and whose root is ``root`` if that is given.

    Raises:
        NotAuthentic: they are of several, or of another one.
    """
    for log in logs:
        expected = root if root is not None else logs[0].trust.root_key
        if log.trust.root_key != expected:
            whose = "--root names" if root is not None else f"{logs[0].path} has"
            raise NotAuthentic(
                f"{log.path} is a log of another federation: its root is {log.trust.root_key.hex()[:16]}…, "
                f"but {whose} {expected.hex()[:16]}….",
                next="Take both logs, and root.pub, from one federation.",
            )
        if log.trust != logs[0].trust:
            raise NotAuthentic(
                f"{log.path} and {logs[0].path} name different keys for one server; the root certified both.",
                next="Whoever holds the root has made two servers of one role. Ask which is meant.",
            )
    return logs[0].trust


def _key_in_json(text: str) -> str | None:
    try:
        return FederationFile.model_validate_json(text).root_key
    except ValueError:
        return None


def _file(path: Path) -> OpenedLog:
    file = LogFile.open(path)
    return OpenedLog(path, LogSource(file.role, file.entries, file.signed), file.trust)


def _folder(path: Path) -> OpenedLog:
    database = path / DATABASE_FILE
    missing = NotFound(f"{path} is not the state folder of a federation's server.", next=_HOW)
    if not database.is_file():
        raise missing
    trust = proven(path / FEDERATION_FILE, read_file(path / FEDERATION_FILE, FederationFile, missing), _HOW)
    try:
        with closing(_connect(database)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise StorageError(f"{database} cannot be read: {error}.", next=_HOW) from error
    roles = [role for table, role in _TELLING.items() if table in tables]
    if len(roles) != 1 or "log" not in tables:
        raise missing
    return OpenedLog(path, LogSource(roles[0], lambda: _rows(database)), trust)


def _rows(database: Path) -> Iterator[ChainedEntry]:
    """The entries in a database; one at a time, and none that is longer than any can be."""
    try:
        with closing(_connect(database)) as connection:
            for number, head, kind, size, payload in connection.execute(_ROWS, (CLOSE_LIMIT,)):
                if not isinstance(payload, bytes) or not isinstance(head, bytes) or not isinstance(kind, str):
                    raise MalformedMessage(f"Entry {number} ({printable(str(kind)[:64])}, {size:,} bytes) is none.")
                yield ChainedEntry(number, head, kind, payload)
    except sqlite3.Error as error:
        raise MalformedMessage(f"{database} cannot be read any further: {error}.") from error


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection
