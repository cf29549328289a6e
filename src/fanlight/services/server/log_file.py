"""A server's log as a file, to be kept and audited without the server: JSON lines.

The first line says whose log it is, with the root's certificates and that server's signed word on how long the log is,
so that a file that was cut off shows it. Each further line is one entry, with its payload in base64. There is one way
to write each line, and lines written otherwise are refused: no byte can change unnoticed. Nothing in a log is secret:
signed words, public keys, the operator's names for devices, and seeds sealed to keys that die with their round.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fanlight.errors import MalformedMessage, NotFound
from fanlight.protocol.closing import CLOSE_LIMIT
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.log import ChainedEntry, LogHead, check_head, sign_head
from fanlight.services.federation import ServerIdentity
from fanlight.services.server.chained_log import ChainedLog
from fanlight.storage.database import Database
from fanlight.storage.failures import os_failures

_HEADER_LIMIT: Final = 1 << 14
_LINE_LIMIT: Final = CLOSE_LIMIT // 3 * 4 + 512
"""Bytes of the longest line: a close in base64."""
_LINE: Final = re.compile(
    rb'\{"number":([1-9][0-9]{0,17}),"head":"([0-9a-f]{64})","type":"([a-z-]{1,64})",'
    rb'"payload":"([A-Za-z0-9+/]*={0,2})"\}\n'
)
_HEX: Final = "^([0-9a-f]{2})+$"
_WHERE: Final = "Download it from the server's page Log, or name the server's state folder."


class Header(BaseModel):
    """The first line: whose log, certified by which root, and how long (hexadecimal)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["fanlight-log"] = "fanlight-log"
    format: Literal[1] = 1
    role: Literal["main", "aggregator"]
    root_key: str = Field(pattern="^[0-9a-f]{64}$")
    main_certificate: str = Field(pattern=_HEX)
    aggregator_certificate: str = Field(pattern=_HEX)
    head: str = Field(pattern=_HEX)

    def line(self) -> bytes:
        """As it stands in the file."""
        return json.dumps(self.model_dump(), separators=(",", ":")).encode() + b"\n"

    def trust(self) -> Trust:
        """What the certificates prove; raises ``RemoteError`` if the root that is named did not sign them."""
        certificates = (bytes.fromhex(text) for text in (self.main_certificate, self.aggregator_certificate))
        return Trust.from_certificates(bytes.fromhex(self.root_key), *certificates)


@dataclass(frozen=True)
class LogWriter:
    """Writes a server's log.

    Attributes:
        database, log, identity: the server's.
        clock: unix seconds.
    """

    database: Database
    log: ChainedLog
    identity: ServerIdentity
    clock: Callable[[], float]

    @property
    def name(self) -> str:
        """What to call the file."""
        return f"fanlight-{self.log.role}-log.jsonl"

    def lines(self) -> Iterator[bytes]:
        """The file as the log is now; entries are read one by one, since one can have many megabytes."""
        with self.database.reading() as tx:
            count, head = self.log.length(tx), self.log.head(tx)
        word = LogHead(fid=self.log.fid, role=self.log.role, entries=count, head=head, time=int(self.clock()))
        identity = self.identity
        yield Header(
            role=identity.role.value,
            root_key=identity.trust.root_key.hex(),
            main_certificate=identity.main_certificate.hex(),
            aggregator_certificate=identity.aggregator_certificate.hex(),
            head=sign_head(identity.private, word).hex(),
        ).line()
        for number in range(count):
            with self.database.reading() as tx:
                found = list(self.log.entries(tx, after=number, limit=1))
            yield from map(entry_line, found)


def entry_line(entry: ChainedEntry) -> bytes:
    """An entry as it stands in the file."""
    payload = base64.b64encode(entry.payload).decode()
    words = {"number": entry.number, "head": entry.head.hex(), "type": entry.type, "payload": payload}
    return json.dumps(words, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class LogFile:
    """A file with a log; nothing of it is held in memory but the first line.

    Attributes:
        path: where it is.
        header: its first line.
        trust: what the certificates in it prove.
        signed: its server's word on how long the log is.
    """

    path: Path
    header: Header
    trust: Trust
    signed: LogHead

    @property
    def role(self) -> Role:
        """Whose log."""
        return Role(self.header.role)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Look at the first line of ``path``.

        Raises:
            NotFound: there is no such file. StorageError: it cannot be read.
            MalformedMessage: this is no log of Fanlight's.
            NotAuthentic: the certificates in it are not signed by the root that it names, or the head by the server.
        """
        if not path.is_file():
            raise NotFound(f"There is no file {path}.", next=_WHERE)
        with os_failures(path), path.open("rb") as stream:
            line = stream.readline(_HEADER_LIMIT)
        try:
            header = Header.model_validate_json(line)
        except ValidationError as error:
            raise MalformedMessage(f"{path} is no log of Fanlight's.", next=_WHERE, slug="no-log") from error
        if header.line() != line:
            raise MalformedMessage(f"The first line of {path} was altered.", next=_WHERE, slug="no-log")
        trust = header.trust()
        key = trust.main_key if Role(header.role) is Role.MAIN else trust.aggregator_key
        return cls(path, header, trust, check_head(key, trust.fid, header.role, bytes.fromhex(header.head)))

    def entries(self) -> Iterator[ChainedEntry]:
        """All entries, one by one.

        Raises:
            MalformedMessage: the file cannot be read beyond a line; names it. StorageError: the disk failed.
        """
        with os_failures(self.path), self.path.open("rb") as stream:
            stream.readline(_HEADER_LIMIT)
            number = 1
            while line := stream.readline(_LINE_LIMIT):
                number += 1
                yield _entry(line, number, stream)


def _entry(line: bytes, number: int, stream: BinaryIO) -> ChainedEntry:
    found = _LINE.fullmatch(line)
    payload = _from_base64(found[4]) if found else None
    if found is None or payload is None:
        raise MalformedMessage(_what_is_wrong(line, number, stream))
    return ChainedEntry(int(found[1]), bytes.fromhex(found[2].decode()), found[3].decode(), payload)


def _from_base64(text: bytes) -> bytes | None:
    try:
        payload = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return payload if base64.b64encode(payload) == text else None


def _what_is_wrong(line: bytes, number: int, stream: BinaryIO) -> str:
    if line.endswith(b"\n"):
        return f"Line {number} of the file is no entry of a log, or was altered."
    if len(line) == _LINE_LIMIT:
        return f"Line {number} of the file is longer than any entry of a log."
    return f"The file ends in the middle of line {number}, at byte {stream.tell():,}."
