"""What one device says in one round: a signed header, two sealed seeds and the masked vector; and the receipt for it.

The body of an upload is ``MAGIC ‖ length of the envelope (4 bytes, big-endian) ‖ envelope ‖ y``. The envelope is read
and checked before a byte of y is stored. A y of more than ``WHOLE_BYTES`` may take several tries: the SHA-256 of each
of its chunks, from which H(y) is made, stand before it, so that each chunk can be checked when it comes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import MalformedMessage
from fanlight.protocol import signing
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES, digest
from fanlight.protocol.message import U63, Blob, DeviceId, Hash, Message, Name, SealedSeed, Time

REPORT = "fanlight/report/v1"
RECEIPT = "fanlight/receipt/v1"
READINESS = "fanlight/readiness/v1"

MAGIC: Final = b"FLR1"
ENVELOPE_LIMIT: Final = 4096
PREFIX_BYTES: Final = len(MAGIC) + 4
WHOLE_BYTES: Final = VECTOR_CHUNK_BYTES
"""A y of at most so many bytes comes in one request."""


class ReportHeader(Message):
    """What the device signs.

    Attributes:
        mh: the manifest.
        device: the sender.
        length: 32-bit words in y.
        y_hash, main_hash, aggregator_hash: hashes of y and of the two sealed seeds.
    """

    mh: Hash
    device: DeviceId
    length: U63
    y_hash: Hash
    main_hash: Hash
    aggregator_hash: Hash


class Envelope(Message):
    """A report without y: the signed header and both sealed seeds."""

    header: Blob
    sealed_main: SealedSeed
    sealed_aggregator: SealedSeed

    @property
    def report_id(self) -> bytes:
        """Name of the report, 32 bytes."""
        return report_id(self.header)


class Receipt(Message):
    """The aggregator's signed word that it holds a report durably."""

    mh: Hash
    device: DeviceId
    report_id: Hash
    time: Time


class Readiness(Message):
    """A device's word that it has trained on this plan and model and could report (step 2)."""

    fid: Hash
    device: DeviceId
    task: Name
    plan: Hash
    model: Hash
    time: Time


def sealed_hash(sealed: bytes) -> bytes:
    """Hash of a sealed seed as the header holds it."""
    return hashlib.sha256(sealed).digest()


@lru_cache(maxsize=512)
def report_id(header: bytes) -> bytes:
    """Name of a report: hash of its signed header; remembered, since it is asked for several times as one arrives."""
    return digest("fanlight/report-id/v1", header)


def sign_report(
    private: Ed25519PrivateKey, header: ReportHeader, sealed_main: bytes, sealed_aggregator: bytes
) -> Envelope:
    """Sign ``header`` and put the envelope together."""
    signed = signing.sign(private, REPORT, header.encode()).encode()
    return Envelope(header=signed, sealed_main=sealed_main, sealed_aggregator=sealed_aggregator)


def body_prefix(envelope: Envelope) -> bytes:
    """All bytes of an upload's body before y."""
    data = envelope.encode()
    return MAGIC + len(data).to_bytes(4, "big") + data


def body_bytes(envelope: bytes, words: int) -> int:
    """Length of the body of an upload: the beginning, the encoded ``envelope``, and y of so many ``words``."""
    return PREFIX_BYTES + len(envelope) + 4 * words


def chunk_count(size: int) -> int:
    """How many chunks a y of ``size`` bytes has."""
    return -(-size // VECTOR_CHUNK_BYTES)


def envelope_length(prefix: bytes) -> int:
    """Length of the envelope, from the first ``PREFIX_BYTES`` of a body.

    Raises:
        MalformedMessage: not the start of a report, or an envelope over ``ENVELOPE_LIMIT``.
    """
    length = int.from_bytes(prefix[len(MAGIC) : PREFIX_BYTES], "big")
    if len(prefix) < PREFIX_BYTES or not prefix.startswith(MAGIC) or length > ENVELOPE_LIMIT:
        raise MalformedMessage("This is not the beginning of a report.")
    return length
