"""Both servers of a federation in one object behind ``httpx.MockTransport``: real messages, real keys, no network.

It plays the servers' parts by hand, with the protocol's own functions, and can misbehave: be down, lose its answer,
offer altered models, refuse.  Members' requests must be signed with the key that the server knows, by a clock that is
right.  Since it holds both round keys, it can look into a report.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from numpy.typing import NDArray
from PIL import Image

from fanlight.core import ring
from fanlight.core.masks import subtract_mask
from fanlight.errors import NotAuthentic
from fanlight.learning import model_file
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE
from fanlight.learning.heads import zero_head
from fanlight.learning.model_file import HeadModel
from fanlight.protocol import identities, signing
from fanlight.protocol.closing import (
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    InclusionProof,
    Outcome,
    OutcomeForDevice,
    Result,
    SignedOutcome,
)
from fanlight.protocol.contribution import Totals, expected_layout, read_totals
from fanlight.protocol.exchange import OFFER, Decline, Offer, Welcome
from fanlight.protocol.identities import Role
from fanlight.protocol.manifest import Manifest, Proposal, SignedManifest, complete, countersign
from fanlight.protocol.merkle import Entry, inclusion_proofs, set_root
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import PREFIX_BYTES, RECEIPT, Envelope, Receipt, envelope_length
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed
from fanlight.services.device.role import Chances, DeviceRole, build_role
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import init_federation, issue_token_file, load_server_identity

MAIN_URL, AGGREGATOR_URL = "http://main.test", "http://aggregator.test"
CLASSES = ("bright", "dark")
PLAN = Plan(
    task="default",
    kind=Kind.TRAIN.value,
    classes=CLASSES,
    backbone=DEFAULT_BACKBONE,
    backbone_hash=bytes.fromhex(BACKBONES[DEFAULT_BACKBONE].compiled_sha256),
    features=1280,
    picture_size=32,
    head="softmax",
    epochs=3,
    batch_size=4,
    learning_rate_micro=10_000,
    momentum_micro=900_000,
    l2_micro=1000,
    patience=3,
    class_weights=True,
)
NOW = 1_700_000_000


def draw_pictures(folder: Path, each: int = 5) -> Path:
    """A data folder with ``each`` pictures of both classes."""
    generator = np.random.default_rng(7)
    for name, level in (("bright", 200), ("dark", 40)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            noise = generator.integers(0, 40, (32, 32, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def first_model(version: int = 0, bias: float = 0.0, classes: tuple[str, ...] = CLASSES) -> bytes:
    head = zero_head(PLAN.features, len(classes))
    head.bias[0] = bias
    model = HeadModel(
        "default", version, classes, PLAN.backbone, PLAN.backbone_hash.hex(), PLAN.picture_size, head.weight, head.bias
    )
    return model_file.encode(model)


@dataclass
class FakeFederation:
    """The servers, and what they were told."""

    folder: Path
    by_itself: bool = False
    plan: Plan = PLAN
    model: bytes = field(default_factory=first_model)
    version: int = 0
    offers_since: int = 0  # where main's counter of offers began when it was started
    manifest: SignedManifest | None = None
    down: set[str] = field(default_factory=set)
    lose_answers_to: set[str] = field(default_factory=set)
    refuse_enrolment: tuple[int, str] | None = None
    altered_model: bytes | None = None
    along: bool = False  # do models, and how a round ended, come with offers, where they are asked for
    backbone: bytes | None = None
    seen: list[str] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    beacons: list[bytes] = field(default_factory=list)
    ready: list[bytes] = field(default_factory=list)
    acknowledged: list[str | None] = field(default_factory=list)
    outcomes: dict[str, OutcomeForDevice] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    rekeys: dict[str, bytes] = field(default_factory=dict)
    declined: list[str] = field(default_factory=list)
    declined_because: list[str] = field(default_factory=list)
    knows_decline: bool = True
    departed: dict[str, bytes] = field(default_factory=dict)
    pause_s: int | None = None
    refuse_reports: tuple[int, str] | None = None
    busy: dict[str, str] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)
    round_number: int = 0

    def __post_init__(self) -> None:
        init_federation(self.folder, main_url=MAIN_URL, aggregator_url=AGGREGATOR_URL, task_json=b"{}")
        self.main = load_server_identity(self.folder / "main", Role.MAIN)
        self.aggregator = load_server_identity(self.folder / "aggregator", Role.AGGREGATOR)
        self.trust = self.main.trust
        self.round_keys = (X25519PrivateKey.generate(), X25519PrivateKey.generate())
        self.transport = httpx.MockTransport(self.answer)
        self.member: identities.Member | None = None

    # -- what tests do

    def device(
        self,
        state: Path,
        data: Path,
        *,
        clock: float = NOW,
        randomness: Callable[[int], bytes] = os.urandom,
        **changes: object,
    ) -> DeviceRole:
        """A device with a token of this federation; the same ``state`` is the same device.  Its clock stands still."""
        token = self.folder / "tokens" / f"{state.name}.json"
        if not token.exists():
            issue_token_file(self.folder, state.name, NOW + 1000)
        settings = {"token": token, "state": state, "data": data, "accept_demo": True, "poll_wait_s": 0.0, **changes}
        chances = Chances(lambda: float(clock), randomness, jitter=lambda: 0.5, sleep=self.slept.append)
        return build_role(DeviceSettings.model_validate(settings), chances=chances, transport=self.transport)

    def open_round(self, kind: Kind = Kind.TRAIN, **changes: Any) -> SignedManifest:
        """Open the next round; ``changes`` go into the proposal."""
        self.round_number += 1
        plan = self.plan.of_kind(kind)
        proposal = Proposal(
            fid=self.trust.fid,
            suite=1,
            task="default",
            round=self.round_number,
            attempt=0,
            kind=kind.value,
            model=hashlib.sha256(self.model).digest(),
            plan=plan.hash,
            layout=expected_layout(plan, 100, 10_000_000, with_counts=True),
            cohort=b"",
            n_max=100,
            k_min=2,
            r_max_percent=10,
            window_s=600,
            demo=True,
            main_key=self.round_keys[0].public_key().public_bytes_raw(),
            noise=0,
        ).with_(**changes)
        manifest = Manifest(
            proposal=proposal, aggregator_key=self.round_keys[1].public_key().public_bytes_raw(), opened_at=NOW
        )
        self.manifest = complete(self.main.private, countersign(self.aggregator.private, manifest))
        self.version += 1
        return self.manifest

    def end_round(self, result: Result, *, included: bool = True) -> None:
        """Sign the round's outcome; its manifest is offered no longer."""
        assert self.manifest is not None
        mh, entries = self.manifest.hash, [Entry(bytes(16), bytes(32))]
        if included and result == Result.RELEASED and self.uploads:
            assert self.member is not None
            entries.append(Entry(self.member.device, self.envelope().report_id))
        entries.sort(key=lambda entry: entry.device)
        payload = Outcome(mh=mh, result=result.value, reason="ok", set_root=set_root(mh, entries)).encode()
        main = signing.sign(self.main.private, OUTCOME_MAIN, payload).signature
        signed = SignedOutcome(
            payload=payload,
            aggregator_signature=signing.sign(self.aggregator.private, OUTCOME_AGGREGATOR, payload).signature,
            main_signature=None if result == Result.ABANDONED else main,
        )
        proof = None
        if len(entries) == 2:
            found = inclusion_proofs(entries).get(self.member_id)
            assert found is not None
            proof = InclusionProof(size=2, index=found[0], path=found[1])
        self.outcomes[mh.hex()] = OutcomeForDevice(outcome=signed, proof=proof)
        self.manifest = None
        self.version += 1

    @property
    def member_id(self) -> bytes:
        assert self.member is not None
        return self.member.device

    def publish(self, model: bytes) -> None:
        """Another current model."""
        self.model, self.version = model, self.version + 1

    def envelope(self) -> Envelope:
        """The last upload's envelope."""
        body = self.uploads[-1]
        return Envelope.decode(body[PREFIX_BYTES : PREFIX_BYTES + envelope_length(body[:PREFIX_BYTES])])

    def look_into(self, signed: SignedManifest) -> Totals:
        """What the last report says, with both masks taken off."""
        body, envelope = self.uploads[-1], self.envelope()
        y = np.frombuffer(body, "<u4", offset=PREFIX_BYTES + envelope_length(body[:PREFIX_BYTES])).copy()
        for label, key, sealed in (
            (MASK_MAIN, self.round_keys[0], envelope.sealed_main),
            (MASK_AGGREGATOR, self.round_keys[1], envelope.sealed_aggregator),
        ):
            seed = open_seed(sealed, key, label, signed.hash, self.member_id)
            subtract_mask(y, mask_key(seed, label, signed.hash, self.member_id))
        plain: NDArray[np.int64] = ring.centre(y)
        return read_totals(Manifest.decode(signed.payload).proposal.layout, plain, 1)

    # -- what devices see

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One request at either server."""
        server, path = request.url.host.partition(".")[0], request.url.path.removeprefix("/protocol/v1")
        self.seen.append(f"{server} {request.method} {path.split('/')[1]}")
        if server in self.down:
            raise httpx.ConnectError("nobody is there", request=request)
        if server in self.busy:
            return reply(status=503, headers={"Retry-After": self.busy[server]})
        if "/reports/" not in path and path != "/time":  # a report's own signature serves; the time is anybody's
            refusal = self._check_signature(request, server)
            if refusal is not None and not path.startswith("/enrolments"):
                return refusal
        routes: dict[tuple[str, str], Callable[[httpx.Request, str, str], httpx.Response]] = {
            ("POST", "enrolments"): self._enrol,
            ("GET", "offer"): self._offer,
            ("GET", "time"): self._time,
            ("GET", "models"): self._model,
            ("GET", "backbones"): self._backbone,
            ("POST", "readiness"): self._ready,
            ("PUT", "rounds"): self._report,
            ("PATCH", "rounds"): self._report,
            ("POST", "rounds"): self._post_rounds,
            ("GET", "rounds"): self._outcome,
            ("POST", "keys"): self._rekey,
            ("POST", "departures"): self._leave,
        }
        response = routes[request.method, path.split("/")[1]](request, server, path)
        if path.split("/")[1] in self.lose_answers_to:
            raise httpx.ReadError("the connection was lost", request=request)
        return response

    def _check_signature(self, request: httpx.Request, server: str) -> httpx.Response | None:
        created = int(request.headers["signature-input"].partition("created=")[2].partition(";")[0])
        if abs(created - NOW) > 300:
            refusal = problem(401, "clock-skew")
            refusal.headers["Date"] = formatdate(NOW, usegmt=True)
            return refusal
        try:
            _Verifier(self.keys.get(server, bytes(32))).verify(request)
        except HTTPMessageSignaturesException:
            return problem(401, "not-authentic")
        return None

    def _time(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        assert server == "aggregator"
        return reply(status=204, headers={"Date": formatdate(NOW, usegmt=True)})

    def _post_rounds(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        if "/reports/" in path:  # a large one is about to come, from its beginning
            return reply(status=204, headers={"Upload-Offset": "0"})
        return (self._decline if path.endswith("/decline") else self._beacon)(request, server, path)

    def _decline(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        if not self.knows_decline:
            return problem(404, "not-found")
        self.declined.append(path.split("/")[2])
        self.declined_because.append(Decline.decode(request.read()).reason)
        return reply(status=204)

    def _enrol(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        if self.refuse_enrolment:
            return problem(*self.refuse_enrolment)
        self.member = identities.check_enrolment(self.trust.root_key, request.read(), NOW)
        self.keys[server] = self.member.public_key
        return reply(Welcome(device=self.member.device, name=self.member.name).encode())

    def _offer(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        asked = request.url.params
        self.acknowledged.append(asked.get("have"))
        file, sha256 = self.altered_model or self.model, hashlib.sha256(self.model).digest()
        along = self.along and asked.get("have") != sha256.hex() and len(file) <= int(asked.get("most", 0))
        offer = Offer(
            fid=self.trust.fid,
            version=self.offers_since + self.version + 1,
            by_itself=self.by_itself,
            plan=self.plan.encode(),
            model=sha256,
            model_version=self.version,
            manifest=self.manifest.encode() if self.manifest else None,
            file=file if along else None,
            pause_s=self.pause_s,
            ended=self.outcomes.get(asked.get("ended", "")) if self.along else None,
        )
        return reply(signing.sign(self.main.private, OFFER, offer.encode()).encode())

    def _model(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        return reply(self.altered_model or self.model)

    def _backbone(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        return problem(404, "not-found") if self.backbone is None else reply(self.backbone)

    def _ready(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        self.ready.append(request.read())
        return reply(status=204)

    def _report(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        if self.refuse_reports:
            return problem(*self.refuse_reports)
        body = request.read()
        self.uploads.append(body)
        envelope = self.envelope()
        receipt = Receipt(
            mh=bytes.fromhex(path.split("/")[2]), device=self.member_id, report_id=envelope.report_id, time=NOW
        )
        return reply(signing.sign(self.aggregator.private, RECEIPT, receipt.encode()).encode())

    def _beacon(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        self.beacons.append(request.read())
        return reply(status=204)

    def _outcome(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        outcome = self.outcomes.get(path.split("/")[2])
        return reply(outcome.encode()) if outcome else problem(404, "round-not-over")

    def _leave(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        if server in self.departed:
            return problem(403, "left")
        identities.check_leave(self.trust.fid, self.member_id, self.keys[server], request.read())
        self.departed[server] = request.read()
        return reply(status=204)

    def _rekey(self, request: httpx.Request, server: str, path: str) -> httpx.Response:
        assert self.member is not None
        member, change = identities.Member(self.member_id, self.keys[server], b"", self.member.name), request.read()
        if self.rekeys.get(server) != change:  # the last one is answered as before
            try:
                self.keys[server] = identities.check_rekey(self.trust.fid, member, change).public_key
            except NotAuthentic as error:
                return problem(401, error.slug)
            self.rekeys[server] = change
        return reply(Welcome(device=self.member_id, name=self.member.name).encode())


class _Verifier(HTTPMessageVerifier, HTTPSignatureKeyResolver):
    """Is a request signed with this public key?  When, is not looked at: the library reads the system's clock."""

    def __init__(self, public_key: bytes) -> None:
        super().__init__(signature_algorithm=ED25519, key_resolver=self)
        self._public_key = public_key

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self._public_key)

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        pass


class OnTheWire(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in pieces, as from the network (httpx reads one that is given as bytes beforehand)."""

    def __init__(self, body: bytes) -> None:
        self.pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


def reply(body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """An answer."""
    return httpx.Response(status, stream=OnTheWire(body), headers=headers)


def problem(status: int, slug: str) -> httpx.Response:
    """A server's JSON problem."""
    body = json.dumps({"error": {"slug": slug, "message": f"It is {slug}.", "next": "Do this."}}).encode()
    return reply(body, status=status, headers={"Content-Length": str(len(body))})
