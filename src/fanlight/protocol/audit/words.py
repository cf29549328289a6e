"""Each signed word of a round as a log keeps it: verified first, then decoded. All return the word and what was signed.

All raise ``NotAuthentic`` for another key, purpose or altered bytes, ``MalformedMessage`` and ``Refused`` for the rest.
"""

from __future__ import annotations

from fanlight.protocol import signing
from fanlight.protocol.closing import (
    CLOSE,
    CLOSE_LIMIT,
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    VERDICT,
    Close,
    Outcome,
    Release,
    SignedOutcome,
    Verdict,
)
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.manifest import (
    MANIFEST_AGGREGATOR,
    Manifest,
    SignedManifest,
    check_added,
    check_proposal,
    read_manifest,
)
from fanlight.protocol.signing import Signed

_ARRAY = 4
"""CBOR's major type of a ``Signed``; a ``SignedOutcome`` is a map."""


def manifest(trust: Trust, role: Role, data: bytes) -> tuple[Manifest, bytes, bytes]:
    """The terms: with both signatures in main's log, whose own is the third; with its own in the aggregator's."""
    if role is Role.MAIN:
        signed = SignedManifest.decode(data)
        return read_manifest(trust, signed), signed.payload, signed.main_signature
    payload = signing.verify_bytes(trust.aggregator_key, MANIFEST_AGGREGATOR, data)
    decoded = Manifest.decode(payload)
    check_proposal(decoded.proposal, trust.fid)
    check_added(decoded)
    return decoded, payload, b""


def close(trust: Trust, data: bytes) -> tuple[Close, bytes]:
    """The aggregator's list of reports."""
    payload = signing.verify_bytes(trust.aggregator_key, CLOSE, data, limit=CLOSE_LIMIT)
    return Close.decode(payload, limit=CLOSE_LIMIT), payload


def verdict(trust: Trust, data: bytes) -> tuple[Verdict, bytes]:
    """Main's answer to it."""
    payload = signing.verify_bytes(trust.main_key, VERDICT, data, limit=CLOSE_LIMIT)
    return Verdict.decode(payload, limit=CLOSE_LIMIT), payload


def release(trust: Trust, data: bytes) -> tuple[Release, bytes]:
    """The aggregator's word on the one sum."""
    payload = signing.verify_bytes(trust.aggregator_key, RELEASE, data)
    return Release.decode(payload), payload


def is_mains_alone(data: bytes) -> bool:
    """Is this outcome main's own word, before the aggregator's signature has come?"""
    return bool(data) and data[0] >> 5 == _ARRAY


def result(trust: Trust, data: bytes) -> tuple[Outcome, bytes]:
    """How main alone says a round ended."""
    payload = signing.verify_bytes(trust.main_key, OUTCOME_MAIN, data)
    return Outcome.decode(payload), payload


def outcome(trust: Trust, data: bytes) -> tuple[Outcome, bytes, bool]:
    """How a round ended; and whether both signed, or the aggregator alone."""
    signed = SignedOutcome.decode(data)
    key = trust.aggregator_key
    signing.verify(key, OUTCOME_AGGREGATOR, Signed(signed.payload, signing.key_id(key), signed.aggregator_signature))
    by_both = signed.main_signature is not None
    if signed.main_signature is not None:
        key = trust.main_key
        signing.verify(key, OUTCOME_MAIN, Signed(signed.payload, signing.key_id(key), signed.main_signature))
    return Outcome.decode(signed.payload), signed.payload, by_both
