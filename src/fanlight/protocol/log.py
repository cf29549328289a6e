"""Hash-chained logs: what a server said can be extended, but not rewritten unnoticed.

h₀ = H(["fanlight/log/v1", fid, role]); hᵢ = H(["fanlight/log/v1", i, hᵢ₋₁, type, H(payload)]). The heads appear in
close, verdict and release, so each server holds signed witnesses of the other's log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import NotAuthentic
from fanlight.protocol import signing
from fanlight.protocol.digests import digest
from fanlight.protocol.message import U63, Hash, Message, Name, Time

LABEL = "fanlight/log/v1"
LOG_HEAD = "fanlight/log-head/v1"


class LogEntry(NamedTuple):
    """What is appended: a type such as ``verdict`` and the payload, usually a signed object."""

    type: str
    payload: bytes


class ChainedEntry(NamedTuple):
    """An entry in its place: number from 1, head after it, type, payload."""

    number: int
    head: bytes
    type: str
    payload: bytes


def first_head(fid: bytes, role: str) -> bytes:
    """The head of an empty log."""
    return digest(LABEL, fid, role)


def next_head(number: int, previous: bytes, entry: LogEntry) -> bytes:
    """The head after appending ``entry`` as entry ``number`` (from 1)."""
    return digest(LABEL, number, previous, entry.type, hashlib.sha256(entry.payload).digest())


def verify_chain(fid: bytes, role: str, entries: Iterable[ChainedEntry]) -> bytes:
    """Recompute a whole log; return its head.

    Raises:
        NotAuthentic: an entry is missing, altered or out of order; names the first such number.
    """
    head = first_head(fid, role)
    for expected, entry in enumerate(entries, start=1):
        head = next_head(expected, head, LogEntry(entry.type, entry.payload))
        if entry.number != expected or entry.head != head:
            raise NotAuthentic(f"The {role}'s log is broken at entry {expected}.", slug="log-broken")
    return head


class LogHead(Message):
    """A server's signed word on how long its log is, and where it ends; goes with every copy of the log.

    Attributes:
        fid: federation.
        role: whose log.
        entries: how many there are.
        head: after the last of them.
        time: unix seconds on that server's clock.
    """

    fid: Hash
    role: Name
    entries: U63
    head: Hash
    time: Time


def sign_head(private: Ed25519PrivateKey, head: LogHead) -> bytes:
    """The signed object's bytes."""
    return signing.sign(private, LOG_HEAD, head.encode()).encode()


def check_head(public_key: bytes, fid: bytes, role: str, data: bytes) -> LogHead:
    """Verify a server's word on its log.

    Raises:
        NotAuthentic, MalformedMessage: not signed by it, or about another log.
    """
    head = LogHead.decode(signing.verify_bytes(public_key, LOG_HEAD, data))
    if (head.fid, head.role) != (fid, role):
        raise NotAuthentic(f"This is not the head of the {role}'s log of this federation.")
    return head
