"""Who is who: the root certifies two servers and enrolment tokens; a token is a key, and its secret never travels.

The root (an operator's key file, kept offline) signs certificates for the main server's and the aggregator's keys with
their role, tokens and revocations. A device sends *both* servers the same enrolment, signed by the token key and by
its own new key. The first device key per token wins; a server that sees a second one refuses it. Because a token is a
signing key, the server that sees it first cannot redeem it at the other one. A device that leaves says so to both,
signed by its key; its id is then used up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from fanlight.errors import NotAuthentic, Refused
from fanlight.protocol import codec, signing
from fanlight.protocol.digests import device_id, federation_id
from fanlight.protocol.message import Blob, DeviceId, Hash, Message, Name, PublicKey, SignatureBytes, Time

CERTIFICATE = "fanlight/certificate/v1"
TOKEN = "fanlight/token/v1"  # noqa: S105 - a label, not a secret
ENROL = "fanlight/enrol/v1"
REKEY = "fanlight/rekey/v1"
REVOCATION = "fanlight/revocation/v1"
LEAVE = "fanlight/leave/v1"


class Role(StrEnum):
    """The roles a certificate can give."""

    MAIN = "main"
    AGGREGATOR = "aggregator"


class Certificate(Message):
    """The root's word that ``public_key`` is this federation's server of ``role``."""

    fid: Hash
    role: Name
    public_key: PublicKey


class TokenCertificate(Message):
    """The root's word that whoever holds the key of ``public_key`` may enrol one device until ``expires``.

    ``name`` is the operator's name for the device: it comes from the root, never from the device.
    """

    fid: Hash
    public_key: PublicKey
    expires: Time
    name: Name


class Enrolment(Message):
    """A device's request to become a member, the same bytes to both servers.

    Attributes:
        token: the signed ``TokenCertificate``.
        public_key: the device's first key.
        token_signature, device_signature: by the token's and the device's key over label ‖ 00 ‖
            CBOR [label, fid, token key, device key].
    """

    token: Blob
    public_key: PublicKey
    token_signature: SignatureBytes
    device_signature: SignatureBytes


class Rekey(Message):
    """A member's change of key: signed by the old key, with a proof that the sender holds the new one."""

    fid: Hash
    device: DeviceId
    new_key: PublicKey
    new_key_signature: SignatureBytes


class Revocation(Message):
    """The root's word that a device, or whoever holds a token, is not (or no longer) a member.

    ``subject`` is a device id (16 bytes) or a token's public key (32 bytes); either may be unknown to a server yet.
    """

    fid: Hash
    subject: Annotated[bytes, Field(strict=True, min_length=16, max_length=32)]
    time: Time


class Leave(Message):
    """A member's own word that it is one no longer, signed by its current key; ``time`` is by its own clock."""

    fid: Hash
    device: DeviceId
    time: Time


@dataclass(frozen=True)
class Member:
    """An enrolled device as its enrolment proves it."""

    device: bytes
    public_key: bytes
    token_key: bytes
    name: str


@dataclass(frozen=True)
class Trust:
    """What a party of the federation pins: the root, and through it both servers.

    Attributes:
        root_key: the root's public key, 32 bytes.
        main_key, aggregator_key: the servers' public keys, 32 bytes each.
    """

    root_key: bytes
    main_key: bytes
    aggregator_key: bytes

    @property
    def fid(self) -> bytes:
        """The federation's id, 32 bytes."""
        return federation_id(self.root_key)

    @classmethod
    def from_certificates(cls, root_key: bytes, main: bytes, aggregator: bytes) -> Trust:
        """Verify both signed certificates under the root.

        Raises:
            NotAuthentic: not signed by the root, another federation's, the wrong role, or one key for both roles.
        """
        main_key = check_certificate(root_key, main, Role.MAIN)
        aggregator_key = check_certificate(root_key, aggregator, Role.AGGREGATOR)
        if main_key == aggregator_key:
            raise NotAuthentic("Both servers have the same key; split trust needs two.")
        return cls(root_key, main_key, aggregator_key)


def issue_certificate(root: Ed25519PrivateKey, role: Role, public_key: bytes) -> bytes:
    """Sign a server's key and role; returns the signed object's bytes."""
    fid = federation_id(signing.raw_public_key(root))
    payload = Certificate(fid=fid, role=role.value, public_key=public_key).encode()
    return signing.sign(root, CERTIFICATE, payload).encode()


def check_certificate(root_key: bytes, data: bytes, role: Role) -> bytes:
    """Verify a signed certificate; return the server's public key.

    Raises:
        NotAuthentic, MalformedMessage.
    """
    certificate = Certificate.decode(signing.verify_bytes(root_key, CERTIFICATE, data))
    if certificate.fid != federation_id(root_key) or certificate.role != role.value:
        raise NotAuthentic(f"This certificate is not one of the {role.value} server of this federation.")
    return certificate.public_key


def issue_token(root: Ed25519PrivateKey, token_key: bytes, expires: int, name: str) -> bytes:
    """Sign a token's public key; returns the signed object's bytes."""
    fid = federation_id(signing.raw_public_key(root))
    payload = TokenCertificate(fid=fid, public_key=token_key, expires=expires, name=name).encode()
    return signing.sign(root, TOKEN, payload).encode()


def _enrolment_payload(fid: bytes, token_key: bytes, public_key: bytes) -> bytes:
    return codec.encode([ENROL, fid, token_key, public_key])


def enrol(fid: bytes, token: bytes, token_private: Ed25519PrivateKey, device_private: Ed25519PrivateKey) -> bytes:
    """Build the enrolment that a device sends to both servers; returns the message's bytes."""
    public_key = signing.raw_public_key(device_private)
    payload = _enrolment_payload(fid, signing.raw_public_key(token_private), public_key)
    return Enrolment(
        token=token,
        public_key=public_key,
        token_signature=signing.sign(token_private, ENROL, payload).signature,
        device_signature=signing.sign(device_private, ENROL, payload).signature,
    ).encode()


def check_enrolment(root_key: bytes, data: bytes, now: int) -> Member:
    """Verify an enrolment from the root down.

    Args:
        root_key: 32 bytes.
        data: the received message.
        now: unix seconds.

    Raises:
        NotAuthentic: not a token of this federation, or a signature fails.
        Refused: the token has expired.
        MalformedMessage: not an enrolment.
    """
    enrolment = Enrolment.decode(data)
    fid = federation_id(root_key)
    token = TokenCertificate.decode(signing.verify_bytes(root_key, TOKEN, enrolment.token))
    if token.fid != fid:
        raise NotAuthentic("The token belongs to another federation.")
    payload = _enrolment_payload(fid, token.public_key, enrolment.public_key)
    for public_key, signature in (
        (token.public_key, enrolment.token_signature),
        (enrolment.public_key, enrolment.device_signature),
    ):
        signing.verify(public_key, ENROL, signing.Signed(payload, signing.key_id(public_key), signature))
    if now >= token.expires:
        raise Refused(
            f"The token of {token.name} has expired.",
            slug="token-expired",
            next="Ask the operator for a new token (fanlight federation token).",
        )
    return Member(device_id(fid, enrolment.public_key), enrolment.public_key, token.public_key, token.name)


def rekey(fid: bytes, device: bytes, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> bytes:
    """Build a signed change of key for both servers."""
    new_key = signing.raw_public_key(new)
    proof = signing.sign(new, REKEY, codec.encode([REKEY, fid, device, new_key])).signature
    message = Rekey(fid=fid, device=device, new_key=new_key, new_key_signature=proof)
    return signing.sign(old, REKEY, message.encode()).encode()


def check_rekey(fid: bytes, member: Member, data: bytes) -> Member:
    """Verify a change of key of ``member``; return the member with the new key.

    Raises:
        NotAuthentic, MalformedMessage.
    """
    message = Rekey.decode(signing.verify_bytes(member.public_key, REKEY, data))
    if (message.fid, message.device) != (fid, member.device):
        raise NotAuthentic("The change of key is for another device.")
    payload = codec.encode([REKEY, fid, member.device, message.new_key])
    proof = signing.Signed(payload, signing.key_id(message.new_key), message.new_key_signature)
    signing.verify(message.new_key, REKEY, proof)
    return Member(member.device, message.new_key, member.token_key, member.name)


def leave(fid: bytes, device: bytes, private: Ed25519PrivateKey, now: int) -> bytes:
    """Sign that the device with this current key leaves; returns the signed object's bytes."""
    return signing.sign(private, LEAVE, Leave(fid=fid, device=device, time=now).encode()).encode()


def check_leave(fid: bytes, device: bytes, public_key: bytes, data: bytes) -> Leave:
    """Verify that ``device``, whose current key is ``public_key``, leaves this federation.

    Raises:
        NotAuthentic, MalformedMessage.
    """
    message = Leave.decode(signing.verify_bytes(public_key, LEAVE, data))
    if (message.fid, message.device) != (fid, device):
        raise NotAuthentic("This is another device's leaving.")
    return message


def revoke(root: Ed25519PrivateKey, subject: bytes, now: int) -> bytes:
    """Sign the revocation of a device id or a token's public key; returns the signed object's bytes."""
    fid = federation_id(signing.raw_public_key(root))
    return signing.sign(root, REVOCATION, Revocation(fid=fid, subject=subject, time=now).encode()).encode()


def check_revocation(root_key: bytes, data: bytes) -> Revocation:
    """Verify a revocation under the root.

    Raises:
        NotAuthentic, MalformedMessage.
    """
    revocation = Revocation.decode(signing.verify_bytes(root_key, REVOCATION, data))
    if revocation.fid != federation_id(root_key):
        raise NotAuthentic("The revocation belongs to another federation.")
    return revocation
