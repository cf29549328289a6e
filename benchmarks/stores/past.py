"""The past of a federation as both servers and a device keep it: every message of the shape and size it has in earnest.

What the servers sign is signed. What each device would seal and sign is random bytes of the right length: nothing that
is shown is read from them, and half a million signatures would take longer than everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.learning.heads import zero_head
from fanlight.learning.model_file import encode, model_hash
from fanlight.protocol import signing
from fanlight.protocol.closing import (
    CLOSE,
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    VERDICT,
    Close,
    Listed,
    Outcome,
    Release,
    SignedOutcome,
    Verdict,
)
from fanlight.protocol.contribution import expected_layout
from fanlight.protocol.manifest import (
    MANIFEST_AGGREGATOR,
    MANIFEST_MAIN,
    SUITE,
    Manifest,
    Proposal,
    SignedManifest,
    manifest_hash,
)
from fanlight.protocol.plan import Kind
from fanlight.protocol.report import Envelope, Receipt, ReportHeader
from fanlight.protocol.signing import Signed
from fanlight.services.federation import ServerIdentity
from fanlight.services.main_server.models import version_model
from fanlight.services.main_server.task import Task

BEGAN = 1_750_000_000
"""When the first round was opened, unix seconds; then one every hour."""
HOUR_S = 3600
_CLIP_MICRO = 10_000_000
_MEASURES, _FAILS = 10, 25


@dataclass(frozen=True)
class Servers:
    """Both servers, and the task of their federation."""

    main: ServerIdentity
    aggregator: ServerIdentity
    task: Task


@dataclass(frozen=True)
class Version:
    """A version of the model: its number, its file, the file's SHA-256, and the round that made it, if one did."""

    number: int
    content: bytes
    sha256: bytes
    round: int | None


@dataclass(frozen=True)
class PastRound:
    """A round that is over.

    Attributes:
        number, kind: which, and what it did.
        released: did it bring a sum; every 25th was abandoned.
        manifest, mh: its terms, and what they are named by.
        close, verdict, release, main_outcome, outcome: signed objects; empty where it did not come to them.
        start: the version it started from.
        made: the version it made, if it made one.
        opened_at: unix seconds.
    """

    number: int
    kind: Kind
    released: bool
    manifest: SignedManifest
    mh: bytes
    close: bytes
    verdict: bytes
    release: bytes
    main_outcome: bytes
    outcome: bytes
    start: Version
    made: Version | None
    opened_at: int

    @property
    def proposal(self) -> Proposal:
        """The terms."""
        return Manifest.decode(self.manifest.payload).proposal


def first_version(task: Task) -> Version:
    """The one that knows nothing, as a main server makes it."""
    return _version(task, 0, None)


def past_rounds(servers: Servers, devices: list[bytes], count: int) -> Iterator[PastRound]:
    """``count`` rounds in which all ``devices`` reported; the last one was released."""
    chance = np.random.default_rng(0)
    listed = tuple(
        Listed(device=device, header=_header(chance, device), sealed_main=chance.bytes(80)) for device in devices
    )
    start = first_version(servers.task)
    for number in range(1, count + 1):
        kind = Kind.MEASURE if number % _MEASURES == 0 else Kind.TRAIN
        released = number == count or number % _FAILS != 0
        made = _version(servers.task, start.number + 1, number) if released and kind == Kind.TRAIN else None
        yield _round(servers, chance, number, kind, start, made, listed, released=released)
        start = made or start


def envelope(chance: np.random.Generator, device: bytes) -> Envelope:
    """A report without its vector."""
    header = _header(chance, device)
    return Envelope(header=header, sealed_main=chance.bytes(80), sealed_aggregator=chance.bytes(80))


def receipt(chance: np.random.Generator, device: bytes, mh: bytes) -> bytes:
    """The aggregator's word that it holds a report."""
    said = Receipt(mh=mh, device=device, report_id=chance.bytes(32), time=BEGAN)
    return Signed(said.encode(), chance.bytes(16), chance.bytes(64)).encode()


def _header(chance: np.random.Generator, device: bytes) -> bytes:
    hashes = {name: chance.bytes(32) for name in ("mh", "y_hash", "main_hash", "aggregator_hash")}
    header = ReportHeader(device=device, length=13_000, **hashes)
    return Signed(header.encode(), chance.bytes(16), chance.bytes(64)).encode()


def _version(task: Task, number: int, made_in: int | None) -> Version:
    plan = task.plan
    content = encode(version_model(plan, number, zero_head(plan.features, len(plan.classes))))
    return Version(number, content, bytes.fromhex(model_hash(content)), made_in)


def _round(
    servers: Servers,
    chance: np.random.Generator,
    number: int,
    kind: Kind,
    start: Version,
    made: Version | None,
    listed: tuple[Listed, ...],
    *,
    released: bool,
) -> PastRound:
    opened_at = BEGAN + HOUR_S * number
    manifest = _manifest(servers, chance, number, kind, start, opened_at)
    mh = manifest_hash(manifest.payload)
    close = verdict = release = b""
    if released:
        devices = tuple(report.device for report in listed)
        main, aggregator = servers.main.private, servers.aggregator.private
        said = Close(mh=mh, reports=listed, log_head=chance.bytes(32))
        close = signing.sign(aggregator, CLOSE, said.encode()).encode()
        judged = Verdict(mh=mh, accepted=devices, rejected=(), proceed=True, reason="ok", log_head=chance.bytes(32))
        verdict = signing.sign(main, VERDICT, judged.encode()).encode()
        hashes = {name: chance.bytes(32) for name in ("sum_hash", "set_root", "log_head")}
        summed = Release(mh=mh, shard=0, count=len(devices), length=13_000, **hashes)
        release = signing.sign(aggregator, RELEASE, summed.encode()).encode()
    ours, outcome = _outcome(servers, chance, mh, released=released)
    words = (close, verdict, release, ours, outcome)
    return PastRound(number, kind, released, manifest, mh, *words, start, made, opened_at)


def _manifest(
    servers: Servers, chance: np.random.Generator, number: int, kind: Kind, start: Version, opened_at: int
) -> SignedManifest:
    task = servers.task
    plan, policy = task.plan.of_kind(kind), task.policy
    proposal = Proposal(
        fid=servers.main.trust.fid,
        suite=SUITE,
        task=task.name,
        round=number,
        attempt=0,
        kind=kind.value,
        model=start.sha256,
        plan=plan.hash,
        layout=expected_layout(plan, policy.n_max, _CLIP_MICRO, with_counts=True),
        cohort=b"",
        n_max=policy.n_max,
        k_min=policy.k_min,
        r_max_percent=policy.r_max_percent,
        window_s=policy.window,
        demo=policy.demo,
        main_key=_round_key(chance),
        noise=0,
    )
    payload = Manifest(proposal=proposal, aggregator_key=_round_key(chance), opened_at=opened_at).encode()
    return SignedManifest(
        payload=payload,
        aggregator_signature=signing.sign(servers.aggregator.private, MANIFEST_AGGREGATOR, payload).signature,
        main_signature=signing.sign(servers.main.private, MANIFEST_MAIN, payload).signature,
    )


def _outcome(servers: Servers, chance: np.random.Generator, mh: bytes, *, released: bool) -> tuple[bytes, bytes]:
    """Main's word, if there is a sum, and that with the aggregator's signature."""
    result, reason = ("released", "ok") if released else ("abandoned", "window-passed")
    payload = Outcome(mh=mh, result=result, reason=reason, set_root=chance.bytes(32)).encode()
    ours = signing.sign(servers.main.private, OUTCOME_MAIN, payload) if released else None
    theirs = signing.sign(servers.aggregator.private, OUTCOME_AGGREGATOR, payload).signature
    both = SignedOutcome(payload=payload, aggregator_signature=theirs, main_signature=ours.signature if ours else None)
    return (ours.encode() if ours else b""), both.encode()


def _round_key(chance: np.random.Generator) -> bytes:
    """A public key as servers make one."""
    return X25519PrivateKey.from_private_bytes(chance.bytes(32)).public_key().public_bytes_raw()
