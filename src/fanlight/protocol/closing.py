"""How a round ends: close, verdict, release and outcome, all signed.

Close (aggregator to main) fixes the set; the verdict (main to aggregator) accepts it; the release carries the one sum
that ever leaves the aggregator; the outcome, signed by both, tells the devices what became of their reports.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from fanlight.protocol.message import U32, U63, Blob, DeviceId, Flag, Hash, Message, Name, SealedSeed, SignatureBytes
from fanlight.protocol.signing import Signed

CLOSE = "fanlight/close/v1"
VERDICT = "fanlight/verdict/v1"
RELEASE = "fanlight/release/v1"
OUTCOME_MAIN = "outcome-main"
OUTCOME_AGGREGATOR = "outcome-agg"

CLOSE_LIMIT = 1 << 24
"""Bytes of a close, or of the verdict on it: a listed report takes about 400, n_max can be 10,000 and more."""

RECORD_LIMIT = 4 * CLOSE_LIMIT
"""Bytes of a round as a server stores it: it holds both."""

SHARD = 0
"""A round without shards is shard 0."""


class Listed(Message):
    """One report in the close: signed header and the seed sealed to main, without y."""

    device: DeviceId
    header: Blob
    sealed_main: SealedSeed


class Close(Message):
    """The aggregator's list of the reports it holds; ``log_head`` is its log's head before this close."""

    mh: Hash
    reports: Annotated[tuple[Listed, ...], Field(max_length=1 << 20)]
    log_head: Hash


class Rejection(Message):
    """A report left out of the sum, and why (a slug)."""

    device: DeviceId
    reason: Name


class Verdict(Message):
    """Main's answer to a close.

    Attributes:
        mh: the manifest.
        accepted: devices whose reports are to be summed; empty if the round is to be abandoned.
        rejected: devices left out, each with a reason.
        proceed: sum and release, or abandon.
        reason: why it is to be abandoned; ``ok`` otherwise.
        log_head: main's log head when the judging began.
    """

    mh: Hash
    accepted: Annotated[tuple[DeviceId, ...], Field(max_length=1 << 20)]
    rejected: Annotated[tuple[Rejection, ...], Field(max_length=1 << 20)]
    proceed: Flag
    reason: Name
    log_head: Hash


class Release(Message):
    """The aggregator's signed statement over Y = Σy − Σmask_A, sent with Y's bytes.

    Attributes:
        mh, shard: one release for each, for ever.
        count: |S|, reports in the sum.
        length: words in Y.
        sum_hash: vector digest of Y.
        set_root: Merkle root over the accepted set.
        log_head: the aggregator's log head before this release.
    """

    mh: Hash
    shard: U32
    count: U32
    length: U63
    sum_hash: Hash
    set_root: Hash
    log_head: Hash


class Result(StrEnum):
    """What became of a round."""

    RELEASED = "released"
    FAILED = "failed"
    ABANDONED = "abandoned"


def _known_result(value: str) -> str:
    return Result(value).value


class Outcome(Message):
    """What became of a round; both servers sign the same bytes.

    ``reason`` says why it failed or was abandoned, ``ok`` otherwise. An abandoned round has the root of the empty set:
    nothing was summed.
    """

    mh: Hash
    result: Annotated[Name, AfterValidator(_known_result)]
    reason: Name
    set_root: Hash


class SignedOutcome(Message):
    """An outcome's bytes with the signatures that exist: both, or the aggregator's alone for an abandoned round."""

    payload: Blob
    aggregator_signature: SignatureBytes
    main_signature: SignatureBytes | None = None


class InclusionProof(Message):
    """Where a device's report stands in the accepted set."""

    size: U32
    index: U32
    path: Annotated[tuple[Hash, ...], Field(max_length=32)]


class OutcomeForDevice(Message):
    """What main tells one device about a round: the outcome and, if its report was summed, the proof of that."""

    outcome: SignedOutcome
    proof: InclusionProof | None = None


def stored_close(signed: bytes) -> Close:
    """The close in a signed object that was verified before it was stored."""
    return Close.decode(Signed.decode(signed, limit=CLOSE_LIMIT).payload, limit=CLOSE_LIMIT)


def stored_verdict(signed: bytes) -> Verdict:
    """The verdict in a signed object that was verified before it was stored."""
    return Verdict.decode(Signed.decode(signed, limit=CLOSE_LIMIT).payload, limit=CLOSE_LIMIT)
