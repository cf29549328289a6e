"""The files of a federation, as they lie on the disk, and what they prove by themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fanlight.errors import NotAuthentic, NotFound, RemoteError, StorageError
from fanlight.protocol.identities import Trust
from fanlight.storage.secret_files import read_secret

FEDERATION_FILE: Final = "federation.json"
IDENTITY_FILE: Final = "identity.key"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1] = 1


class FederationFile(_File):
    """``federation.json``: the root, both servers' certificates (hexadecimal) and addresses."""

    root_key: str = Field(pattern="^[0-9a-f]{64}$")
    main_certificate: str = Field(pattern="^([0-9a-f]{2})+$")
    aggregator_certificate: str = Field(pattern="^([0-9a-f]{2})+$")
    main_url: str
    aggregator_url: str

    def trust(self) -> Trust:
        """What the certificates prove; raises ``RemoteError`` if the root did not sign them."""
        return Trust.from_certificates(
            bytes.fromhex(self.root_key),
            bytes.fromhex(self.main_certificate),
            bytes.fromhex(self.aggregator_certificate),
        )


class TokenFile(FederationFile):
    """A token file: the federation, and a key that the root allows to enrol one device."""

    name: str
    token: str = Field(pattern="^([0-9a-f]{2})+$")
    token_key: str = Field(pattern="^[0-9a-f]{64}$")


F = TypeVar("F", bound=_File)


def read_file(path: Path, model: type[F], missing: NotFound) -> F:
    """The file at ``path``.

    Raises:
        NotFound: ``missing``, if it is not there. StorageError: others can read it, or it is damaged.
    """
    try:
        return model.model_validate_json(read_secret(path))
    except NotFound as error:
        raise missing from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its JSON"
        raise StorageError(
            f"{path} is damaged, or no file of this kind: {place}: {first['msg']}.", slug="damaged-file"
        ) from error


def proven(path: Path, file: FederationFile, advice: str) -> Trust:
    """What the certificates of ``file`` (from ``path``) prove.

    Raises:
        NotAuthentic: the root did not sign them; with ``advice``.
    """
    try:
        return file.trust()
    except RemoteError as error:
        raise NotAuthentic(
            f"The servers' certificates in {path} cannot be trusted: {error.message}", next=advice
        ) from error


def read_key(path: Path) -> Ed25519PrivateKey:
    """The private key in ``path``.

    Raises:
        NotFound, StorageError: it is not there, others can read it, or it is damaged.
    """
    text = read_secret(path).decode("ascii", "replace").strip()
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise StorageError(f"{path} holds no key: 64 digits 0-9, a-f are expected.", slug="damaged-file")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def hex_line(secret: bytes) -> bytes:
    """A key as its file holds it."""
    return f"{secret.hex()}\n".encode()


def as_json(file: _File) -> bytes:
    """The content of a file."""
    return json.dumps(file.model_dump(), indent=2).encode() + b"\n"
