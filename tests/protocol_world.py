"""A whole federation in memory: keys, devices and one round at a time, from the proposal to the devices' end.

Everything but the ephemeral keys of HPKE is deterministic: ``key("x")`` is always the same key. A ``Round`` keeps the
latest record of each party as the services would; each of its methods is one step, so a test can stop, repeat or
corrupt any of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import subtract_mask
from fanlight.core.packing import pack, unpack
from fanlight.core.randomness import Keystream
from fanlight.core.segments import layout_length
from fanlight.protocol import (
    aggregator_round,
    device_round,
    identities,
    main_round,
    signing,
)
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.contribution import Contribution, Measured, Totals, centre, encode, expected_layout
from fanlight.protocol.device import Device
from fanlight.protocol.device_round import Floors, History
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.identities import Member, Role, Trust
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.manifest import Manifest, Proposal, SignedManifest, cohort_hash, invite, read_manifest
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import Envelope
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed

NOW = 1_000
EXPIRES = 2_000_000
MODEL = hashlib.sha256(b"model").digest()
HEAD = bytes(32)
WEIGHTS = b"\x01" * 32


def secret(name: str) -> bytes:
    """32 bytes that belong to ``name``."""
    return hashlib.sha256(name.encode()).digest()


def key(name: str) -> Ed25519PrivateKey:
    """The signing key of ``name``, always the same."""
    return Ed25519PrivateKey.from_private_bytes(secret(name))


def round_key(name: str) -> X25519PrivateKey:
    """The HPKE key of ``name``, always the same."""
    return X25519PrivateKey.from_private_bytes(secret(name))


def public(private: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    """The 32 raw bytes of a public key."""
    return private.public_key().public_bytes_raw()


def plan_of(**changes: Any) -> Plan:
    """A small plan: 3 features and 2 classes, so d = 8."""
    fields: dict[str, Any] = {
        "task": "t", "kind": "train", "classes": ("a", "b"), "backbone": "lite", "backbone_hash": WEIGHTS,
        "features": 3, "picture_size": 128, "head": "softmax", "epochs": 5, "batch_size": 16,
        "learning_rate_micro": 10_000, "momentum_micro": 900_000, "l2_micro": 100, "patience": 3, "class_weights": True,
    }  # fmt: skip
    return Plan(**{**fields, **changes})


def floors(**changes: Any) -> Floors:
    """An owner's rules that accept demonstrations."""
    fields: dict[str, Any] = {
        "k_min": 5, "accept_demo": True, "answers_per_day": 500, "r_max_percent": 34, "backbones": {"lite": WEIGHTS},
        "heads": frozenset({"softmax", "analytic", "prototypes"}),
    }  # fmt: skip
    return Floors(**{**fields, **changes})


def contribution_of(plan: Plan, number: int) -> Contribution:
    """What device ``number`` has to say: its own update, counts and supporters."""
    classes = len(plan.classes)
    scale = np.linspace(-1.0, 1.0, plan.parameters) * (number + 1) / 10
    return Contribution(
        examples=10 * (number + 1),
        update=scale if plan.kind == Kind.TRAIN else None,
        received=Measured(np.eye(classes, dtype=np.int64) * (number + 3), 1.5),
        local=Measured(np.full((classes, classes), number, np.int64), 0.25),
        supporters=np.arange(classes) <= number,
    )


@dataclass(frozen=True)
class Owner:
    """One device with its owner: key, membership and protocol machine."""

    key: Ed25519PrivateKey
    member: Member
    device: Device

    @property
    def id(self) -> bytes:
        return self.member.device


@dataclass
class World:
    """One federation: root, both servers, some devices."""

    count: int = 3
    name: str = "world"
    owners: list[Owner] = field(init=False)

    def __post_init__(self) -> None:
        self.root, self.main_key, self.aggregator_key = (key(f"{self.name}/{role}") for role in ("root", "main", "agg"))
        self.trust = Trust.from_certificates(
            public(self.root),
            identities.issue_certificate(self.root, Role.MAIN, public(self.main_key)),
            identities.issue_certificate(self.root, Role.AGGREGATOR, public(self.aggregator_key)),
        )
        self.main = MainServer(self.main_key, self.trust)
        self.aggregator = Aggregator(self.aggregator_key, self.trust)
        self.owners = [self.enrol(number) for number in range(self.count)]

    @property
    def members(self) -> dict[bytes, bytes]:
        """Public key by device."""
        return {owner.id: owner.member.public_key for owner in self.owners}

    def enrol(self, number: int) -> Owner:
        """Device ``number`` through the whole enrolment."""
        token_key, device_key = key(f"{self.name}/token-{number}"), key(f"{self.name}/device-{number}")
        token = identities.issue_token(self.root, public(token_key), EXPIRES, f"device-{number}")
        message = identities.enrol(self.trust.fid, token, token_key, device_key)
        member = identities.check_enrolment(public(self.root), message, NOW)
        return Owner(device_key, member, Device(device_key, member.device, self.trust))

    def proposal(self, plan: Plan, cohort: Sequence[bytes] = (), **changes: Any) -> Proposal:
        """A demonstration's round 1 with a fresh round key of main."""
        n_max = changes.get("n_max", 1000)
        clip_micro = changes.pop("clip_micro", 10_000_000)
        widths = {name: changes.pop(name) for name in ("update_bits", "most_pictures") if name in changes}
        layout = expected_layout(plan, n_max, clip_micro, with_counts=True, **widths)
        fields: dict[str, Any] = {
            "fid": self.trust.fid, "suite": 1, "task": plan.task, "round": 1, "attempt": 0, "kind": plan.kind,
            "model": MODEL, "plan": plan.hash, "layout": layout,
            "cohort": cohort_hash(cohort) if cohort else b"", "n_max": n_max, "k_min": 2, "r_max_percent": 34,
            "window_s": 600, "demo": True, "main_key": public(round_key("main-round")), "noise": 0, "shards": None,
        }  # fmt: skip
        return Proposal(**{**fields, **changes})

    def sign_manifest(self, proposal: Proposal, aggregator_round_key: bytes | None = None) -> SignedManifest:
        """Both signatures without any check: what two colluding or careless servers could send to devices."""
        agg = aggregator_round_key or public(round_key("agg-round"))
        payload = Manifest(proposal=proposal, aggregator_key=agg, opened_at=NOW).encode()
        return SignedManifest(
            payload=payload,
            aggregator_signature=signing.sign(self.aggregator_key, "manifest-agg", payload).signature,
            main_signature=signing.sign(self.main_key, "manifest-main", payload).signature,
        )


@dataclass
class Sent:
    """One device's report: record, envelope and y as sent; the vector before masking for comparison."""

    owner: Owner
    record: device_round.Record
    y: NDArray[np.uint32]
    plain: NDArray[np.int64]

    @property
    def envelope(self) -> Envelope:
        return Envelope.decode(self.record.envelope)

    @property
    def held(self) -> Held:
        return Held(self.owner.id, self.envelope)


class Round:
    """One round of a world; ``m`` and ``a`` are the latest records of main and of the aggregator."""

    def __init__(
        self,
        world: World,
        plan: Plan | None = None,
        cohort: Sequence[bytes] = (),
        previous: Round | None = None,
        **changes: Any,
    ) -> None:
        self.world, self.plan, self.cohort = world, plan or plan_of(), tuple(cohort)
        self.proposal = world.proposal(self.plan, cohort, **changes)
        self.main_round_key, self.aggregator_round_key = round_key("main-round"), round_key("agg-round")
        self.secret = secret("draw")
        self.reports: list[Sent] = []
        self.beacons: dict[bytes, bytes] = {}
        self.proposed = world.main.propose(previous.m if previous else None, self.proposal, cohort)
        self.m: main_round.Record = self.proposed.record
        self.previous_a: aggregator_round.Record | None = previous.a if previous else None
        self.a: aggregator_round.Record

    @property
    def held(self) -> list[Held]:
        return [sent.held for sent in self.reports]

    @property
    def signed(self) -> SignedManifest:
        return self.m.signed_manifest

    def offer(self) -> aggregator_round.Step:
        step = self.world.aggregator.offer(
            self.previous_a, self.proposal, self.cohort, public(self.aggregator_round_key), self.secret, NOW
        )
        self.a = step.record
        return step

    def open(self) -> Round:
        """Both signatures; both collect."""
        step = self.world.main.open(self.m, self.offer().reply)
        self.m = step.record
        self.a = self.world.aggregator.open(self.a, SignedManifest.decode(step.reply)).record
        return self

    def invitation(self, owner: Owner) -> bytes | None:
        return invite(self.world.main_key, self.signed.hash, owner.id) if self.cohort else None

    def commit(self, owner: Owner, contribution: Contribution | None = None, seed: str = "") -> Sent:
        """The device checks the manifest and builds its report; nothing is sent."""
        number = self.world.owners.index(owner)
        history = History({}, 0)
        manifest = owner.device.check_manifest(
            self.signed, self.plan, self.proposal.model, self.invitation(owner), floors(), history, NOW
        )
        said = contribution or contribution_of(self.plan, number)
        stream = secret(f"{owner.id.hex()}{self.m.number}{seed}")
        plain = ring.centre(encode(self.proposal.layout, said, Keystream(stream)))
        record, y = owner.device.commit(self.signed, manifest, said, Keystream(stream), NOW)
        return Sent(owner, record, y, plain)

    def send(self, sent: Sent, now: int = NOW + 1) -> bytes:
        """The aggregator takes a report; returns the receipt."""
        server = self.world.aggregator
        header = server.check_report(
            self.a, sent.envelope, sent.owner.member.public_key, self.aggregator_round_key, now
        )
        found = next((held for held in self.held if held.device == sent.owner.id), None)
        step = server.take_report(self.a, found, len(self.reports), sent.envelope, header, now)
        self.a = step.record
        if found is None:
            self.reports.append(sent)
        sent.record = sent.owner.device.take_receipt(sent.record, step.reply)
        return step.reply

    def beacon(self, sent: Sent) -> None:
        """The device shows main its receipt."""
        receipt = self.world.main.take_beacon(self.m, sent.owner.id, sent.record.receipt)
        self.beacons[receipt.device] = receipt.report_id
        sent.record = sent.owner.device.confirm(sent.record)

    def collect(self, owners: Sequence[Owner] | None = None) -> Round:
        """These devices (or all) report and show their receipts."""
        for owner in self.world.owners if owners is None else owners:
            sent = self.commit(owner)
            self.send(sent)
            self.beacon(sent)
        return self

    def close(self) -> bytes:
        step = self.world.aggregator.close(self.a, self.held, HEAD)
        self.a = step.record
        return step.reply

    def judge(self, close: bytes, *, key_lost: bool = False) -> main_round.Step:
        lent = None if key_lost else self.main_round_key
        step = self.world.main.judge(self.m, close, self.world.members, self.beacons, lent, HEAD)
        self.m = step.record
        return step

    def take_verdict(self, verdict: bytes) -> aggregator_round.Step:
        step = self.world.aggregator.take_verdict(self.a, verdict, self.held)
        self.a = step.record
        return step

    def agree(self) -> Round:
        """Close and verdict."""
        self.take_verdict(self.judge(self.close()).reply)
        return self

    def masked_sum(self) -> NDArray[np.uint32]:
        """Y = Σy − Σmask_A over the accepted reports, as it is sent; of each shard, if there are any."""
        chosen = self.world.aggregator.accepted(self.a, self.held)
        shards = self.world.aggregator.shards(self.a, chosen)
        return np.concatenate([self.masked_sum_of([held.device for held in shard]) for shard in shards])

    def masked_sum_of(self, devices: Collection[bytes]) -> NDArray[np.uint32]:
        """Y over these devices' reports."""
        total = ring.zeros(layout_length(self.proposal.layout), self.proposal.layout[0].bits)
        for sent in self.reports:
            if sent.owner.id in devices:
                ring.add_into(total, unpack(sent.y, self.proposal.layout))
                self.take_off(total, sent)
        return pack(total, self.proposal.layout)

    def unmasked(self, vector: NDArray[np.uint32]) -> NDArray[np.int64]:
        """What main finds in Y when its masks are off."""
        return self.unmasked_of(vector, [listed.device for listed in self.world.main.accepted(self.m)])

    def unmasked_of(self, vector: NDArray[np.uint32], devices: Collection[bytes]) -> NDArray[np.int64]:
        """What main finds in the sum over these devices."""
        total = unpack(vector.copy(), self.proposal.layout)
        for listed in self.world.main.accepted(self.m):
            if listed.device not in devices:
                continue
            seed = open_seed(listed.sealed_main, self.main_round_key, MASK_MAIN, self.m.mh, listed.device)
            subtract_mask(total, mask_key(seed, MASK_MAIN, self.m.mh, listed.device))
        return centre(self.proposal.layout, total).astype(np.int64)

    def take_off(self, total: NDArray[Any], sent: Sent) -> None:
        """Subtract the aggregator's mask of one report."""
        sealed, mh = sent.envelope.sealed_aggregator, self.a.mh
        seed = open_seed(sealed, self.aggregator_round_key, MASK_AGGREGATOR, mh, sent.owner.id)
        subtract_mask(total, mask_key(seed, MASK_AGGREGATOR, mh, sent.owner.id))

    def sum_hashes(self, vector: NDArray[np.uint32]) -> list[bytes]:
        """The digest of each shard's part of Y."""
        shards = self.world.aggregator.shards(self.a, self.world.aggregator.accepted(self.a, self.held))
        return [digest_of(part) for part in vector.reshape(len(shards), -1)]

    def release(self, total: NDArray[np.uint32] | None = None) -> tuple[bytes, NDArray[np.uint32]]:
        """The signed release and Y."""
        vector = self.masked_sum() if total is None else total
        accepted = self.world.aggregator.accepted(self.a, self.held)
        step = self.world.aggregator.release(self.a, accepted, self.sum_hashes(vector), HEAD)
        self.a = step.record
        return step.reply, vector

    def take_release(self, release: bytes, vector: NDArray[np.uint32], *, key_lost: bool = False) -> main_round.Step:
        step = self.world.main.take_release(self.m, release, vector, None if key_lost else self.main_round_key)
        self.m = step.record
        return step

    def finish(self, outcome: bytes) -> bytes:
        step = self.world.aggregator.finish(self.a, outcome)
        self.a = step.record
        self.m = self.world.main.countersigned(self.m, step.reply).record
        return step.reply

    def complete(self) -> Totals:
        """From an agreed round to the published version; returns what main learned."""
        step = self.take_release(*self.release())
        self.finish(step.reply)
        self.m = self.world.main.publish(self.m).record
        assert step.totals is not None
        return step.totals

    def abandon(self, reason: str = "operator") -> bytes:
        """The aggregator gives up and tells main; returns its signed outcome."""
        step = self.world.aggregator.abandon(self.a, reason)
        self.a = step.record
        self.m = self.world.main.abandoned(self.m, step.reply).record
        return step.reply

    def end(self, sent: Sent) -> device_round.End:
        """The device hears what became of the round."""
        answer = self.world.main.outcome_for(self.m, sent.owner.id)
        assert answer is not None
        end = sent.owner.device.end(sent.record, answer)
        sent.record = end.record
        return end

    def manifest(self) -> Manifest:
        return read_manifest(self.world.trust, self.signed)


def digest_of(vector: NDArray[np.uint32]) -> bytes:
    """The vector digest of a whole array."""
    return vector_digest(vector.data.cast("B"))
