"""Who takes part, as the files prove it from the root down: a server by its folder, a device by its token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import NotAuthentic, NotFound, RemoteError, SettingsError
from fanlight.protocol import identities, signing
from fanlight.protocol.identities import Role, TokenCertificate, Trust
from fanlight.services.federation.files import (
    FEDERATION_FILE,
    IDENTITY_FILE,
    FederationFile,
    TokenFile,
    proven,
    read_file,
    read_key,
)

_ASK_AGAIN: Final = "Ask the operator for a new token file."


@dataclass(frozen=True)
class ServerIdentity:
    """One server of a federation, as its folder proves it; with both servers' certificates, to be handed on."""

    role: Role
    private: Ed25519PrivateKey
    trust: Trust
    main_url: str
    aggregator_url: str
    main_certificate: bytes
    aggregator_certificate: bytes


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


M = TypeVar("M", ServerIdentity, Token)


def load_server_identity(folder: Path, role: Role) -> ServerIdentity:
    """The identity of a server from its folder (``DIR/main`` or ``DIR/aggregator``).

    Raises:
        NotFound: no such folder, or not one of a federation.
        StorageError: others can read the key, or a file is damaged.
        NotAuthentic: the root did not certify this key for this role.
    """
    federation = read_file(folder / FEDERATION_FILE, FederationFile, _not_a_server(folder, role))
    trust = proven(
        folder / FEDERATION_FILE, federation, "Copy it again from the folder that fanlight federation init made."
    )
    private = read_key(folder / IDENTITY_FILE)
    expected = trust.main_key if role is Role.MAIN else trust.aggregator_key
    if signing.raw_public_key(private) != expected:
        raise NotAuthentic(
            f"The key in {folder / IDENTITY_FILE} is not the one that the root certified as {role.value}.",
            next="Take the folder of this role, as fanlight federation init made it.",
        )
    return ServerIdentity(
        role,
        private,
        trust,
        federation.main_url,
        federation.aggregator_url,
        bytes.fromhex(federation.main_certificate),
        bytes.fromhex(federation.aggregator_certificate),
    )


def read_token(path: Path) -> Token:
    """A token file, verified from the root down; whether it has expired is for the servers to say.

    Raises:
        NotFound: no such file.
        StorageError: others can read it, or it is damaged.
        NotAuthentic: the root that it names did not sign it.
    """
    missing = NotFound(f"There is no token file {path}.", next="The operator makes one: fanlight federation token DIR.")
    file = read_file(path, TokenFile, missing)
    trust = proven(path, file, _ASK_AGAIN)
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.token_key))
    certificate = bytes.fromhex(file.token)
    try:
        token = TokenCertificate.decode(signing.verify_bytes(trust.root_key, identities.TOKEN, certificate))
    except RemoteError as error:
        raise _foreign_token(path) from error
    if token.fid != trust.fid or token.public_key != signing.raw_public_key(private):
        raise _foreign_token(path)
    return Token(token.name, private, certificate, token.expires, trust, file.main_url, file.aggregator_url)


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
