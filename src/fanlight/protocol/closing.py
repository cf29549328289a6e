"""How a round ends: close, verdict, release and outcome, all signed.

Close (aggregator to main) fixes the set; the verdict (main to aggregator) accepts it; the release carries the one sum
that ever leaves the aggregator, or one of each shard; the outcome, signed by both, tells the devices what became of
their reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from fanlight.protocol import codec
from fanlight.protocol.manifest import MOST_SHARDS
from fanlight.protocol.message import U32, U63, Blob, DeviceId, Flag, Hash, Message, Name, SealedSeed, SignatureBytes
from fanlight.protocol.signing import Signed

CLOSE = "fanlight/close/v1"
VERDICT = "fanlight/verdict/v1"
RELEASE = "fanlight/release/v1"
OUTCOME_MAIN = "outcome-main"
OUTCOME_AGGREGATOR = "outcome-agg"

CLOSE_LIMIT = 1 << 24
"""Bytes of a close, or of the verdict on it: a listed report takes about 370, ``n_max`` is at most 40,000."""

RECORD_LIMIT = 4 * CLOSE_LIMIT
"""Bytes of a round as a server stores it: it holds both."""

SUM_NOT_USABLE: Final = "sum-not-usable"
"""Why a sum is not used, whichever of main's checks it has failed: nobody is told more. The aggregator can add what it
likes to a sum, so each check that it hears the result of is an answer about a part of its choice. It gets one."""

SHARD_LEFT_OUT: Final = "shard-left-out"
"""Why the sum of a released round is not over all whose reports were accepted; type of main's log entry for each such
shard (``LeftOut``)."""


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
        mh, shard: one release for each, for ever; shard 0 is the whole round.
        count: |S|, reports in the sum.
        length: words in Y.
        sum_hash: vector digest of Y.
        set_root: Merkle root over the accepted set.
        log_head: the aggregator's log head before the releases of this round.
        draw: the secret that the manifest binds the aggregator to, 32 bytes; absent without shards.
    """

    mh: Hash
    shard: U32
    count: U32
    length: U63
    sum_hash: Hash
    set_root: Hash
    log_head: Hash
    draw: Hash | None = None


class Releases(Message):
    """The signed releases of all shards of a round, by number; Y of each follow one another in that order."""

    signed: Annotated[tuple[Blob, ...], Field(min_length=1, max_length=MOST_SHARDS)]


class Result(StrEnum):
    """What became of a round."""

    RELEASED = "released"
    FAILED = "failed"
    ABANDONED = "abandoned"


def _known_result(value: str) -> str:
    return Result(value).value


class ShardOutcome(Message):
    """What became of one shard: how many reports and which were summed in it, and why it is left out, if not ``ok``."""

    number: U32
    count: U32
    set_root: Hash
    reason: Name


class LeftOut(Message):
    """Main's note in its log of a shard whose sum cannot be right: why, and of which devices it was."""

    mh: Hash
    shard: U32
    reason: Name
    devices: tuple[DeviceId, ...]


class Outcome(Message):
    """What became of a round; both servers sign the same bytes.

    ``reason`` says why it failed or was abandoned, or that a shard was left out; ``ok`` otherwise. ``set_root`` is over
    all reports that were summed, in whichever shard. An abandoned round has the root of the empty set: nothing was
    summed. ``shards``, by number, are those of a round that has any and was summed.
    """

    mh: Hash
    result: Annotated[Name, AfterValidator(_known_result)]
    reason: Name
    set_root: Hash
    shards: Annotated[tuple[ShardOutcome, ...], Field(min_length=1, max_length=MOST_SHARDS)] | None = None

    def shard(self, number: int) -> ShardOutcome | None:
        """What became of a shard, if there is one of this number."""
        return next((shard for shard in self.shards or () if shard.number == number), None)


class SignedOutcome(Message):
    """An outcome's bytes with the signatures that exist: both, or the aggregator's alone for an abandoned round."""

    payload: Blob
    aggregator_signature: SignatureBytes
    main_signature: SignatureBytes | None = None


class InclusionProof(Message):
    """Where a device's report stands in the accepted set, or in that of the shard that is named."""

    size: U32
    index: U32
    path: Annotated[tuple[Hash, ...], Field(max_length=32)]
    shard: Annotated[U32, Field(ge=1)] | None = None


class OutcomeForDevice(Message):
    """What main tells one device about a round: the outcome and, if its report was summed, the proof of that."""

    outcome: SignedOutcome
    proof: InclusionProof | None = None

    def names(self, mh: bytes) -> bool:
        """Is it about this round? Nothing is verified yet."""
        return Outcome.decode(self.outcome.payload).mh == mh


def stored_close(signed: bytes) -> Close:
    """The close in a signed object that was verified before it was stored."""
    return Close.decode(Signed.decode(signed, limit=CLOSE_LIMIT).payload, limit=CLOSE_LIMIT)


@lru_cache(maxsize=2)
def stored_verdict(signed: bytes) -> Verdict:
    """The verdict in a signed object that was verified before it was stored; a round's is looked at several times."""
    return Verdict.decode(Signed.decode(signed, limit=CLOSE_LIMIT).payload, limit=CLOSE_LIMIT)


def stored_outcome(signed: bytes) -> Outcome:
    """The outcome in a ``SignedOutcome`` that was verified before it was stored."""
    return Outcome.decode(SignedOutcome.decode(signed).payload)


def signed_releases(data: bytes) -> tuple[bytes, ...]:
    """Each signed release in what the aggregator hands in: one signed object, or ``Releases``.

    Raises:
        MalformedMessage, MessageTooLarge: it is neither.
    """
    value = codec.decode(data)
    return Releases.from_wire(value).signed if isinstance(value, dict) else (data,)


@lru_cache(maxsize=2)
def read_releases(data: bytes) -> tuple[Release, ...]:
    """The releases in what the aggregator hands in, by number; their signatures are not checked here."""
    return tuple(Release.decode(Signed.decode(signed).payload) for signed in signed_releases(data))


def whole_release(signed: Sequence[bytes], *, sharded: bool) -> bytes:
    """What the aggregator hands in, of its signed releases by number."""
    return Releases(signed=tuple(signed)).encode() if sharded else signed[0]
