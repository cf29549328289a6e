"""A federation's folders and files: who made it, who its servers are, and the tokens that let devices join.

::

    root         root.key (kept offline), root.pub, federation.json, revocations
    main         identity.key, federation.json, task.json
    aggregator   identity.key, federation.json
    tokens       NAME.json, one for each device: goes to the device, then from here

The first three are meant to part: each goes to another machine.  All folders and files are for their owner only.
What ``federation.json`` says is believed only as far as the root signed it.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fanlight.errors import NotAuthentic, NotFound, RemoteError, SettingsError, StorageError, from_os_error
from fanlight.protocol import identities, signing
from fanlight.protocol.identities import Role, TokenCertificate, Trust
from fanlight.storage.folders import make_private_folder
from fanlight.storage.secret_files import read_secret, write_secret

FEDERATION_FILE = "federation.json"
IDENTITY_FILE = "identity.key"
TASK_FILE = "task.json"
ROOT_FOLDER = "root"
TOKEN_FOLDER = "tokens"  # noqa: S105 a folder's name
DEVICE_ID = re.compile(r"[0-9a-f]{32}")

_ROOT_KEY_FILE = "root.key"
_ASK_AGAIN = "Ask the operator for a new token file."
_SAFE_NAME = re.compile(r"\w[\w .-]{0,63}")


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


@dataclass(frozen=True)
class ServerIdentity:
    """One server of a federation, as its folder proves it."""

    role: Role
    private: Ed25519PrivateKey
    trust: Trust
    main_url: str
    aggregator_url: str


@dataclass(frozen=True)
class Token:
    """A device's way in.

    Attributes:
        name: the operator's name for the device.
        private: the token's key; signs the enrolment and never travels.
        certificate: the root-signed ``TokenCertificate``, as the servers want it.
        expires: unix seconds.
    """

    name: str
    private: Ed25519PrivateKey
    certificate: bytes
    expires: int
    trust: Trust
    main_url: str
    aggregator_url: str


@dataclass(frozen=True)
class RevocationFile:
    """A signed revocation on disk, to be sent to both servers as often as it takes."""

    path: Path
    body: bytes
    main_url: str
    aggregator_url: str


F = TypeVar("F", bound=_File)
M = TypeVar("M", ServerIdentity, Token)


def init_federation(folder: Path, *, main_url: str, aggregator_url: str, task_json: bytes) -> FederationFile:
    """Make the root, both servers' keys and certificates, and the task, whole or not at all.

    Args:
        folder: does not exist yet, or is empty.
        main_url, aggregator_url: where devices find the servers, ``http://host:port`` or https.
        task_json: content of the main server's ``task.json``.

    Raises:
        StorageError: the folder holds something already, or cannot be written.
        SettingsError: a URL is not one.
    """
    main_url, aggregator_url = checked_url(main_url), checked_url(aggregator_url)
    if main_url == aggregator_url:
        raise SettingsError("Both servers have the same address.", next="Give each server an address of its own.")
    _refuse_filled(folder)
    root = Ed25519PrivateKey.generate()
    keys = {role: Ed25519PrivateKey.generate() for role in Role}
    certificates = {
        role: identities.issue_certificate(root, role, signing.raw_public_key(key)) for role, key in keys.items()
    }
    federation = FederationFile(
        root_key=signing.raw_public_key(root).hex(),
        main_certificate=certificates[Role.MAIN].hex(),
        aggregator_certificate=certificates[Role.AGGREGATOR].hex(),
        main_url=main_url,
        aggregator_url=aggregator_url,
    )

    def fill(unfinished: Path) -> None:
        files = {
            f"{ROOT_FOLDER}/{_ROOT_KEY_FILE}": _hex_line(root.private_bytes_raw()),
            f"{ROOT_FOLDER}/root.pub": f"{federation.root_key}\n".encode(),
            f"{ROOT_FOLDER}/{FEDERATION_FILE}": _json(federation),
            f"{Role.MAIN}/{TASK_FILE}": task_json,
        }
        for role, key in keys.items():
            files[f"{role}/{IDENTITY_FILE}"] = _hex_line(key.private_bytes_raw())
            files[f"{role}/{FEDERATION_FILE}"] = _json(federation)
        for name in (ROOT_FOLDER, *Role, TOKEN_FOLDER):
            make_private_folder(unfinished / name)
        for name, content in files.items():
            write_secret(unfinished / name, content)

    _make_whole(folder, fill)
    return federation


def load_server_identity(folder: Path, role: Role) -> ServerIdentity:
    """The identity of a server from its folder (``DIR/main`` or ``DIR/aggregator``).

    Raises:
        NotFound: no such folder, or not one of a federation.
        StorageError: others can read the key, or a file is damaged.
        NotAuthentic: the root did not certify this key for this role.
    """
    federation = _read(folder / FEDERATION_FILE, FederationFile, _not_a_server(folder, role))
    trust = _proven(
        folder / FEDERATION_FILE, federation, "Copy it again from the folder that fanlight federation init made."
    )
    private = _read_key(folder / IDENTITY_FILE)
    expected = trust.main_key if role is Role.MAIN else trust.aggregator_key
    if signing.raw_public_key(private) != expected:
        raise NotAuthentic(
            f"The key in {folder / IDENTITY_FILE} is not the one that the root certified as {role.value}.",
            next="Take the folder of this role, as fanlight federation init made it.",
        )
    return ServerIdentity(role, private, trust, federation.main_url, federation.aggregator_url)


def issue_token_file(folder: Path, name: str, expires_at: int, *, out: Path | None = None) -> Path:
    """Make a token for one device and write it, for its owner only.

    Args:
        folder: the federation's folder, with ``root`` in it.
        name: the operator's name for the device, 1 to 64 letters, digits, spaces, ``.``, ``_``, ``-``.
        expires_at: unix seconds until which the device may enrol.
        out: where to write; by default ``tokens/NAME.json`` in ``folder``.

    Raises:
        NotFound: there is no root here.
        SettingsError: the name cannot be used.
        StorageError: the file exists already, or cannot be written.
    """
    if not _SAFE_NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be a device's name.", next="Use 1 to 64 letters, digits, spaces, dots, - and _."
        )
    root, federation = _load_root(folder)
    private = Ed25519PrivateKey.generate()
    certificate = identities.issue_token(root, signing.raw_public_key(private), expires_at, name)
    token = TokenFile(
        **federation.model_dump(),
        name=name,
        token=certificate.hex(),
        token_key=private.private_bytes_raw().hex(),
    )
    if out is None:
        make_private_folder(folder / TOKEN_FOLDER)
    path = out or folder / TOKEN_FOLDER / f"{name}.json"
    write_secret(path, _json(token))
    return path


def free_token_name(folder: Path) -> str:
    """``device-N`` with the smallest N for which ``folder`` holds no token file."""
    number = 1
    while (folder / TOKEN_FOLDER / f"device-{number}.json").exists():
        number += 1
    return f"device-{number}"


def read_token(path: Path) -> Token:
    """A token file, verified from the root down; whether it has expired is for the servers to say.

    Raises:
        NotFound: no such file.
        StorageError: others can read it, or it is damaged.
        NotAuthentic: the root that it names did not sign it.
    """
    missing = NotFound(f"There is no token file {path}.", next="The operator makes one: fanlight federation token DIR.")
    file = _read(path, TokenFile, missing)
    trust = _proven(path, file, _ASK_AGAIN)
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.token_key))
    certificate = bytes.fromhex(file.token)
    try:
        token = TokenCertificate.decode(signing.verify_bytes(trust.root_key, identities.TOKEN, certificate))
    except RemoteError as error:
        raise _foreign_token(path) from error
    if token.fid != trust.fid or token.public_key != signing.raw_public_key(private):
        raise _foreign_token(path)
    return Token(token.name, private, certificate, token.expires, trust, file.main_url, file.aggregator_url)


def revoke(folder: Path, subject: str, now: int) -> RevocationFile:
    """Sign a device or a token out of the federation; the same file again if that was done before.

    Args:
        folder: the federation's folder, with ``root`` in it.
        subject: a device id, 32 hexadecimal digits as the main server's page shows it, or the name of a token in
            ``folder``: whoever has enrolled with it is put out, and nobody else can.
        now: unix seconds.

    Raises:
        NotFound: there is no root here.
        SettingsError: neither a device id nor a token's name.
        StorageError: the file cannot be written.
    """
    root, federation = _load_root(folder)
    named = _revocation_subject(folder, subject)
    revocations = folder / ROOT_FOLDER / "revocations"
    make_private_folder(revocations)
    path = revocations / f"{named.hex()}.cbor"
    if not path.exists():
        write_secret(path, identities.revoke(root, named, now))
    return RevocationFile(path, read_secret(path), federation.main_url, federation.aggregator_url)


def _revocation_subject(folder: Path, subject: str) -> bytes:
    if DEVICE_ID.fullmatch(subject):
        return bytes.fromhex(subject)
    token = folder / TOKEN_FOLDER / f"{subject}.json"
    if _SAFE_NAME.fullmatch(subject) and token.exists():
        return signing.raw_public_key(read_token(token).private)
    raise SettingsError(
        f"{subject[:70]!r} is neither a device id nor the name of a token in {folder / TOKEN_FOLDER}.",
        next="A device id has 32 digits 0-9, a-f; the main server's page shows it.",
    )


def moved(known: M, *, main_url: str | None = None, aggregator_url: str | None = None) -> M:
    """The same, with the addresses that a server has moved to; None: it is where the file says.

    Who answers there still has to prove by its key that it is that server.

    Raises:
        SettingsError: an address is none.
    """
    return replace(
        known,
        main_url=checked_url(main_url) if main_url else known.main_url,
        aggregator_url=checked_url(aggregator_url) if aggregator_url else known.aggregator_url,
    )


def checked_url(url: str) -> str:
    """``url`` without a slash at its end.

    Raises:
        SettingsError: not ``http(s)://host[:port]``.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise SettingsError(f"{url!r} is no server's address.", next="Write it as https://host or http://host:port.")
    return url.rstrip("/")


def _load_root(folder: Path) -> tuple[Ed25519PrivateKey, FederationFile]:
    home = folder / ROOT_FOLDER
    missing = NotFound(
        f"{folder} holds no root of a federation.",
        next="Name the folder that fanlight federation init made, where its root/ still is.",
    )
    federation = _read(home / FEDERATION_FILE, FederationFile, missing)
    root = _read_key(home / _ROOT_KEY_FILE)
    if signing.raw_public_key(root).hex() != federation.root_key:
        raise NotAuthentic(f"The key in {home / _ROOT_KEY_FILE} is another federation's root.")
    _proven(home / FEDERATION_FILE, federation, "Put it back from a copy of this folder.")
    return root, federation


def _read(path: Path, model: type[F], missing: NotFound) -> F:
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


def _proven(path: Path, file: FederationFile, advice: str) -> Trust:
    try:
        return file.trust()
    except RemoteError as error:
        raise NotAuthentic(
            f"The servers' certificates in {path} cannot be trusted: {error.message}", next=advice
        ) from error


def _read_key(path: Path) -> Ed25519PrivateKey:
    text = read_secret(path).decode("ascii", "replace").strip()
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise StorageError(f"{path} holds no key: 64 digits 0-9, a-f are expected.", slug="damaged-file")
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def _not_a_server(folder: Path, role: Role) -> NotFound:
    if not folder.is_dir():
        return NotFound(f"There is no folder {folder}.", next="Make one: fanlight federation init DIR --classes a,b")
    hint = (
        f" It has a folder {role.value} in it: name that." if (folder / role.value / FEDERATION_FILE).exists() else ""
    )
    return NotFound(f"{folder} is not the folder of a federation's {role.value} server.{hint}", next="See its --state.")


def _foreign_token(path: Path) -> NotAuthentic:
    return NotAuthentic(
        f"The token in {path} was not signed by the root that the file names.",
        next=_ASK_AGAIN,
    )


def _refuse_filled(folder: Path) -> None:
    try:
        filled = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    if filled:
        raise StorageError(
            f"{folder} holds something already.",
            next="Choose a folder that does not exist yet; nothing was changed.",
            slug="folder-not-empty",
        )


def _make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    try:
        fill(unfinished)
        unfinished.rename(folder)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _hex_line(secret: bytes) -> bytes:
    return f"{secret.hex()}\n".encode()


def _json(file: _File) -> bytes:
    return json.dumps(file.model_dump(), indent=2).encode() + b"\n"
