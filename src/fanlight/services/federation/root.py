"""What the holder of the root does: make a federation, let devices in by tokens, put them out."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import NotAuthentic, NotFound, SettingsError, StorageError
from fanlight.protocol import identities, signing
from fanlight.protocol.identities import Role
from fanlight.services.federation.files import (
    FEDERATION_FILE,
    IDENTITY_FILE,
    FederationFile,
    TokenFile,
    as_json,
    hex_line,
    proven,
    read_file,
    read_key,
)
from fanlight.services.federation.identity import checked_url, read_token
from fanlight.storage.failures import os_failures
from fanlight.storage.folders import make_private_folder
from fanlight.storage.secret_files import read_secret, write_secret

TASK_FILE: Final = "task.json"
TOKENS: Final = "tokens"
BACKBONES_FOLDER: Final = "backbones"
"""In the main server's folder: compiled backbones."""

_ROOT: Final = "root"
_ROOT_KEY_FILE: Final = "root.key"
_SAFE_NAME = re.compile(r"\w[\w .-]{0,63}")
_DEVICE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class RevocationFile:
    """A signed revocation on disk, to be sent to both servers as often as it takes."""

    path: Path
    body: bytes
    main_url: str
    aggregator_url: str


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
            f"{_ROOT}/{_ROOT_KEY_FILE}": hex_line(root.private_bytes_raw()),
            f"{_ROOT}/root.pub": f"{federation.root_key}\n".encode(),
            f"{_ROOT}/{FEDERATION_FILE}": as_json(federation),
            f"{Role.MAIN}/{TASK_FILE}": task_json,
        }
        for role, key in keys.items():
            files[f"{role}/{IDENTITY_FILE}"] = hex_line(key.private_bytes_raw())
            files[f"{role}/{FEDERATION_FILE}"] = as_json(federation)
        for name in (_ROOT, *Role, TOKENS):
            make_private_folder(unfinished / name)
        for name, content in files.items():
            write_secret(unfinished / name, content)

    _make_whole(folder, fill)
    return federation


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
    _check_name(name)
    if out is None:
        make_private_folder(folder / TOKENS)
    path = out or folder / TOKENS / f"{name}.json"
    _write_token(path, name, expires_at, *_load_root(folder))
    return path


def issue_token_files(folder: Path, name: str, count: int, expires_at: int, *, out: Path | None = None) -> Path:
    """Make tokens for many devices, called ``NAME-1``, ``NAME-2``, …, a file each; those that lie there already stay.

    Args:
        folder: the federation's folder, with ``root`` in it.
        name: what the devices are called, as in ``issue_token_file``.
        count: how many files there are to be then.
        expires_at: unix seconds until which the devices may enrol.
        out: the folder of the files; by default ``tokens/NAME`` in ``folder``.

    Returns:
        the folder.

    Raises:
        NotFound, SettingsError, StorageError: as in ``issue_token_file``.
    """
    _check_name(f"{name}-{count}")
    root, federation = _load_root(folder)
    place = out or folder / TOKENS / name
    make_private_folder(place)
    for number in range(1, count + 1):
        path = place / f"{name}-{number}.json"
        if not path.exists():
            _write_token(path, path.stem, expires_at, root, federation)
    return place


def _check_name(name: str) -> None:
    if not _SAFE_NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be a device's name.", next="Use 1 to 64 letters, digits, spaces, dots, - and _."
        )


def _write_token(path: Path, name: str, expires_at: int, root: Ed25519PrivateKey, federation: FederationFile) -> None:
    private = Ed25519PrivateKey.generate()
    certificate = identities.issue_token(root, signing.raw_public_key(private), expires_at, name)
    token = TokenFile(
        **federation.model_dump(),
        name=name,
        token=certificate.hex(),
        token_key=private.private_bytes_raw().hex(),
    )
    write_secret(path, as_json(token))


def free_token_name(folder: Path) -> str:
    """``device-N`` with the smallest N for which ``folder`` holds no token file."""
    number = 1
    while (folder / TOKENS / f"device-{number}.json").exists():
        number += 1
    return f"device-{number}"


def revoke(folder: Path, subject: str, now: int) -> RevocationFile:
    """Sign a device or a token out of the federation; the same file again if that was done before.

    Args:
        folder: the federation's folder, with ``root`` in it.
        subject: a device id, 32 hexadecimal digits as the main server's page shows it, or the name of a token in
            ``folder``, one of many too: whoever has enrolled with it is put out, and nobody else can.
        now: unix seconds.

    Raises:
        NotFound: there is no root here.
        SettingsError: neither a device id nor a token's name.
        StorageError: the file cannot be written.
    """
    root, federation = _load_root(folder)
    named = _revocation_subject(folder, subject)
    revocations = folder / _ROOT / "revocations"
    make_private_folder(revocations)
    path = revocations / f"{named.hex()}.cbor"
    if not path.exists():
        write_secret(path, identities.revoke(root, named, now))
    return RevocationFile(path, read_secret(path), federation.main_url, federation.aggregator_url)


def _revocation_subject(folder: Path, subject: str) -> bytes:
    if _DEVICE_ID.fullmatch(subject):
        return bytes.fromhex(subject)
    if _SAFE_NAME.fullmatch(subject):
        one, among_many = f"{subject}.json", f"{subject.rpartition('-')[0]}/{subject}.json"
        for token in (folder / TOKENS / one, folder / TOKENS / among_many):
            if token.is_file():
                return signing.raw_public_key(read_token(token).private)
    raise SettingsError(
        f"{subject[:70]!r} is neither a device id nor the name of a token in {folder / TOKENS}.",
        next="A device id has 32 digits 0-9, a-f; the main server's page shows it.",
    )


def _load_root(folder: Path) -> tuple[Ed25519PrivateKey, FederationFile]:
    home = folder / _ROOT
    missing = NotFound(
        f"{folder} holds no root of a federation.",
        next="Name the folder that fanlight federation init made, where its root/ still is.",
    )
    federation = read_file(home / FEDERATION_FILE, FederationFile, missing)
    root = read_key(home / _ROOT_KEY_FILE)
    if signing.raw_public_key(root).hex() != federation.root_key:
        raise NotAuthentic(f"The key in {home / _ROOT_KEY_FILE} is another federation's root.")
    proven(home / FEDERATION_FILE, federation, "Put it back from a copy of this folder.")
    return root, federation


def _refuse_filled(folder: Path) -> None:
    with os_failures(folder):
        filled = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if filled:
        raise StorageError(
            f"{folder} holds something already.",
            next="Choose a folder that does not exist yet; nothing was changed.",
            slug="folder-not-empty",
        )


def keep_backbone(folder: Path, name: str, content: bytes) -> None:
    """Put the file of a compiled backbone into the main server's folder of a federation.

    Raises:
        StorageError: it cannot be written.
    """
    backbones = folder / Role.MAIN / BACKBONES_FOLDER
    make_private_folder(backbones)
    write_secret(backbones / name, content)


def _make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    with os_failures(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with os_failures(folder):
            fill(unfinished)
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
