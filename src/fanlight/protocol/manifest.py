"""The manifest of a round: what exactly is summed, under which limits and round keys, signed by both servers.

Main proposes it, the aggregator adds its round key and the time on its clock and signs ("manifest-agg"), main checks
that nothing else changed and signs the same bytes ("manifest-main"). A device answers only a manifest with both
signatures. ``mh``, the hash of the manifest, goes into every later message and every derived key of the round.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from fanlight.core.segments import check_layout, layout_words
from fanlight.errors import MalformedMessage, NotAuthentic, Refused
from fanlight.protocol import signing
from fanlight.protocol.digests import digest
from fanlight.protocol.identities import Trust
from fanlight.protocol.message import (
    U32,
    Blob,
    DeviceId,
    Flag,
    Hash,
    Message,
    Name,
    PublicKey,
    SegmentField,
    SignatureBytes,
    Time,
)
from fanlight.protocol.plan import Kind

SUITE: Final = 1
"""Suite 1: rings of up to 32 bits or of 64; two masks, HKDF-SHA256 + AES-256-CTR; HPKE 0x0020/0x0001/0x0002; Ed25519;
SHA-256."""

MOST_DEVICES: Final = 40_000
"""Most devices of a round: a close lists every report, with about 370 bytes each, and is one message of 16 MiB."""

MOST_REJECTED_PERCENT: Final = 34
"""Most of the reports that main may reject, percent: it says itself how many, so both others bound it."""

MOST_SHARDS: Final = 16
"""Most shards of a round: main has all their sums in memory at once."""

_FIELD_PRIME: Final = 2**255 - 19

MANIFEST_AGGREGATOR = "manifest-agg"
MANIFEST_MAIN = "manifest-main"
INVITATION = "fanlight/invitation/v1"
COHORT: Final = "cohort"
"""Type of the log entry with the devices that shards are drawn of (``Cohort``): without it nobody could draw again."""


class Proposal(Message):
    """What main proposes to the aggregator: everything but the aggregator's key and the time.

    Attributes:
        fid: federation.
        suite: one integer; unknown means refuse.
        task, round, attempt: which round; ``attempt`` goes up after a failure or a roll-back.
        kind: a ``plan.Kind``.
        model: SHA-256 of the model file that the round starts from.
        plan: hash of the plan.
        layout: the segments of the vector, in order.
        cohort: empty for all members, else the hash of the sampled device list.
        n_max, k_min: most and fewest devices in the sum.
        r_max_percent: largest share of reports that may be rejected, percent; see ``MOST_REJECTED_PERCENT``.
        window_s: seconds from opening to expiry.
        demo: the floors of two devices are meant; devices refuse it unless told otherwise.
        main_key: main's fresh X25519 round key.
        noise: reserved for differential privacy; 0 in this suite.
        shards: into how many the cohort is drawn (see ``shards``), which is then named; absent: one sum over all.
        collection: in a round of changes, the number of the round that has begun to collect the sums that they change.
    """

    fid: Hash
    suite: U32
    task: Name
    round: Annotated[int, Field(strict=True, ge=1, lt=1 << 32)]
    attempt: U32
    kind: Name
    model: Hash
    plan: Hash
    layout: Annotated[tuple[SegmentField, ...], Field(min_length=1, max_length=16)]
    cohort: Annotated[bytes, Field(strict=True, max_length=32)]
    n_max: Annotated[int, Field(strict=True, ge=2, le=MOST_DEVICES)]
    k_min: Annotated[int, Field(strict=True, ge=2, le=MOST_DEVICES)]
    r_max_percent: Annotated[int, Field(strict=True, ge=0, le=100)]
    window_s: Annotated[int, Field(strict=True, ge=1, le=90 * 86_400)]
    demo: Flag
    main_key: PublicKey
    noise: Annotated[int, Field(strict=True, ge=0, le=0)]
    shards: Annotated[int, Field(strict=True, ge=2, le=MOST_SHARDS)] | None = None
    collection: Annotated[int, Field(strict=True, ge=1, lt=1 << 32)] | None = None


class Manifest(Message):
    """A proposal completed by the aggregator.

    Attributes:
        proposal: main's part.
        aggregator_key: the aggregator's fresh X25519 round key.
        opened_at: unix seconds on the aggregator's clock.
        draw: if there are shards, what binds the aggregator to the secret that places are drawn with.
    """

    proposal: Proposal
    aggregator_key: PublicKey
    opened_at: Time
    draw: Hash | None = None

    @property
    def closes_at(self) -> int:
        """When the window ends, unix seconds on the aggregator's clock; reports are taken before it."""
        return self.opened_at + self.proposal.window_s

    @property
    def length(self) -> int:
        """Words in the vector as it is sent."""
        return layout_words(self.proposal.layout)


class SignedManifest(Message):
    """The manifest's bytes with both servers' signatures."""

    payload: Blob
    aggregator_signature: SignatureBytes
    main_signature: SignatureBytes

    @property
    def hash(self) -> bytes:
        """``mh``, 32 bytes."""
        return manifest_hash(self.payload)

    @property
    def terms(self) -> Manifest:
        """The manifest, decoded; no signature is checked."""
        return manifest_terms(self.payload)


@functools.lru_cache(maxsize=4)
def manifest_terms(payload: bytes) -> Manifest:
    """The manifest, decoded; the open round's is looked at many times.

    Raises:
        MalformedMessage, MessageTooLarge: it is none.
    """
    return Manifest.decode(payload)


class Cohort(Message):
    """The devices that a round is for, by id."""

    devices: tuple[DeviceId, ...]


class Invitation(Message):
    """Main's word that a device is in the sampled cohort of a round."""

    mh: Hash
    device: DeviceId


@functools.lru_cache(maxsize=4)
def manifest_hash(payload: bytes) -> bytes:
    """``mh``, 32 bytes."""
    return digest("fanlight/manifest/v1", payload)


def cohort_hash(devices: Sequence[bytes]) -> bytes:
    """Hash of a sampled device list, in any order."""
    return digest("fanlight/cohort/v1", sorted(devices))


def check_proposal(proposal: Proposal, fid: bytes) -> None:
    """What every party checks of a round before it takes part.

    Raises:
        Refused: another federation or suite, or limits that cannot protect or cannot be computed.
    """
    if proposal.fid != fid:
        raise Refused("The manifest belongs to another federation.", slug="foreign-manifest")
    if proposal.suite != SUITE:
        raise Refused(
            f"The manifest asks for suite {proposal.suite}; this program knows only suite {SUITE}.",
            slug="unknown-suite",
            next="Update Fanlight.",
        )
    if not proposal.k_min <= proposal.n_max or len(proposal.cohort) not in (0, 32):
        raise Refused("The manifest's limits contradict one another.", slug="bad-manifest")
    if proposal.r_max_percent > MOST_REJECTED_PERCENT:
        raise Refused(
            f"Main may reject {proposal.r_max_percent} % of the reports, more than {MOST_REJECTED_PERCENT} %.",
            slug="bad-manifest",
            next="Ask the operator for a smaller share, on the main server's page Task.",
        )
    if proposal.shards is not None and not proposal.cohort:
        raise Refused("Shards are drawn of devices that the manifest does not name.", slug="bad-manifest")
    if proposal.kind not in tuple(Kind):
        raise Refused(f"There is no kind of round {proposal.kind!r}.", slug="bad-manifest")
    changes = proposal.kind == Kind.CHANGES
    if changes != (proposal.collection is not None) or (changes and (proposal.collection or 0) >= proposal.round):
        raise Refused("Changes are not those of sums that an earlier round has collected.", slug="bad-manifest")
    try:
        check_layout(proposal.layout, proposal.n_max)
    except MalformedMessage as error:
        raise Refused(f"The manifest's vector cannot be summed: {error}", slug="bad-layout") from error


def check_added(manifest: Manifest) -> None:
    """What the aggregator has added: a round key of its own, and its word on the draw if there are shards.

    Raises:
        Refused: a round key in other than its one spelling (RFC 7748, section 5, takes several: two would then be one
            key); one round key for both servers; or shards without a draw, or a draw without shards.
    """
    for key in (manifest.aggregator_key, manifest.proposal.main_key):
        if int.from_bytes(key, "little") >= _FIELD_PRIME:
            raise Refused("A round key is not written as X25519 writes it.", slug="bad-round-key")
    if manifest.aggregator_key == manifest.proposal.main_key:
        raise Refused("Both servers have the same round key; split trust needs two.", slug="one-round-key")
    if (manifest.draw is None) != (manifest.proposal.shards is None):
        raise Refused("The manifest's shards are not drawn, or there are none.", slug="bad-manifest")


def countersign(private: Ed25519PrivateKey, manifest: Manifest) -> bytes:
    """The aggregator's signature over the manifest; returns the signed object's bytes."""
    return signing.sign(private, MANIFEST_AGGREGATOR, manifest.encode()).encode()


def complete(private: Ed25519PrivateKey, countersigned: bytes) -> SignedManifest:
    """Main's signature over the bytes that the aggregator signed (already verified by the caller)."""
    signed = signing.Signed.decode(countersigned)
    return SignedManifest(
        payload=signed.payload,
        aggregator_signature=signed.signature,
        main_signature=signing.sign(private, MANIFEST_MAIN, signed.payload).signature,
    )


@functools.lru_cache(maxsize=4)
def read_manifest(trust: Trust, signed: SignedManifest) -> Manifest:
    """Verify both signatures and the common rules; return the manifest.

    The last ones that were found good are known: a device looks at the open round's several times.

    Raises:
        NotAuthentic: a signature is missing or wrong.
        Refused: see ``check_proposal`` and ``check_added``.
    """
    for public_key, label, signature in (
        (trust.aggregator_key, MANIFEST_AGGREGATOR, signed.aggregator_signature),
        (trust.main_key, MANIFEST_MAIN, signed.main_signature),
    ):
        signing.verify(public_key, label, signing.Signed(signed.payload, signing.key_id(public_key), signature))
    manifest = signed.terms
    check_proposal(manifest.proposal, trust.fid)
    check_added(manifest)
    return manifest


def invite(private: Ed25519PrivateKey, mh: bytes, device: bytes) -> bytes:
    """Main's signed invitation; returns the signed object's bytes."""
    return signing.sign(private, INVITATION, Invitation(mh=mh, device=device).encode()).encode()


def check_invitation(trust: Trust, data: bytes, mh: bytes, device: bytes) -> None:
    """Verify an invitation of ``device`` to the round ``mh``.

    Raises:
        NotAuthentic: not signed by main, or for another round or device.
    """
    invitation = Invitation.decode(signing.verify_bytes(trust.main_key, INVITATION, data))
    if (invitation.mh, invitation.device) != (mh, device):
        raise NotAuthentic("The invitation is for another round or device.", slug="foreign-invitation")
