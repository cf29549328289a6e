"""Whole rounds from files: each party says, byte for byte, what the reference wrote down.

What a device seals cannot be reproduced (see ``test_sealed_seeds``). Its y is compared, its seeds are opened, and from
there on the round goes on with the reports of the file.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import subtract_mask
from fanlight.core.packing import pack, unpack
from fanlight.core.randomness import Keystream
from fanlight.protocol import aggregator_round, identities, log, main_round
from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.closing import Verdict
from fanlight.protocol.contribution import centre, encode, expected_layout
from fanlight.protocol.device_round import Delivery, Floors, History, Record
from fanlight.protocol.digests import VectorDigest, vector_digest
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.log import LogEntry
from fanlight.protocol.manifest import Proposal, SignedManifest
from fanlight.protocol.plan import Plan
from fanlight.protocol.report import Envelope, ReportHeader, body_prefix, sign_report
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed
from fanlight.protocol.signing import Signed, raw_public_key
from tests.vectors.reference_round import play
from tests.vectors.round_file import File, signing_key

ROUNDS = ("round_of_three", "packed_round_of_three")


@pytest.fixture(params=ROUNDS)
def file(request: pytest.FixtureRequest) -> File:
    return File(request.param)


def test_the_reference_plays_the_same_round(file: File) -> None:
    assert play({name: fields for name, fields in file.given.items() if fields}) == file.expected


def test_federation_and_enrolments(file: File) -> None:
    said = file.expected["federation"]
    root = signing_key(file.given["federation"]["root_secret"])
    assert (raw_public_key(root), file.trust.fid) == (said["root_key"], said["fid"])
    for role in Role:
        ours = identities.issue_certificate(root, role, said[f"{role.value}_key"])
        assert ours == said[f"{role.value}_certificate"]
    certificates = (said[f"{role.value}_certificate"] for role in Role)
    assert Trust.from_certificates(said["root_key"], *certificates) == file.trust
    for number in file.numbers:
        given, expected = file.given[f"device {number}"], file.expected[f"device {number}"]
        token = signing_key(given["token_secret"])
        signed = identities.issue_token(root, raw_public_key(token), given["token_expires"], given["token_name"])
        assert signed == expected["token"]
        assert identities.enrol(said["fid"], signed, token, file.device(number).private) == expected["enrolment"]
        assert file.members[expected["device"]].name == given["token_name"]


def proposal_of(file: File) -> Proposal:
    terms, plan = file.given["manifest"], Plan(**{**file.given["plan"], "classes": ("robin", "wren")})
    assert (plan.encode(), plan.hash) == (file.expected["plan"]["plan"], file.expected["plan"]["plan_hash"])
    layout = expected_layout(
        plan, terms["n_max"], terms["clip_micro"], with_counts=True, update_bits=terms["update_bits"]
    )
    assert [[*dataclasses.astuple(segment)] for segment in layout] == file.expected["manifest"]["layout"]
    names = ("round", "attempt", "model", "n_max", "k_min", "r_max_percent", "window_s", "demo")
    return Proposal(
        fid=file.trust.fid, suite=1, task=plan.task, kind=plan.kind, plan=plan.hash, layout=layout, cohort=b"",
        main_key=file.secret("main").public_key().public_bytes_raw(), noise=0, **{name: terms[name] for name in names},
    )  # fmt: skip


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_a_device_makes_the_vector_of_the_file(file: File, number: str) -> None:
    given, expected, device = file.given[f"report {number}"], file.expected[f"report {number}"], file.device(number)
    now = file.given["manifest"]["opened_at"]
    floors = Floors(5, True, 500, 34, {file.plan.backbone: file.plan.backbone_hash}, frozenset({file.plan.head}))
    manifest = device.check_manifest(
        file.signed_manifest, file.plan, file.given["manifest"]["model"], None, floors, History({}, 0), now
    )
    said = file.contribution(number)
    assert centre(file.layout, encode(file.layout, said, Keystream(given["device_stream"]))).tolist() == expected["q"]

    record, y = device.commit(file.signed_manifest, manifest, said, Keystream(given["device_stream"]), now)
    assert bytes(ring.to_bytes(y)) == expected["y"]
    envelope = Envelope.decode(record.envelope)
    for name, label, sealed in (
        ("main", MASK_MAIN, envelope.sealed_main),
        ("aggregator", MASK_AGGREGATOR, envelope.sealed_aggregator),
    ):
        seed = open_seed(sealed, file.secret(name), label, file.mh, device.device)
        assert seed == expected[f"{name}_seed"]
        assert seed == open_seed(expected[f"{name}_sealed"], file.secret(name), label, file.mh, device.device)
        assert mask_key(seed, label, file.mh, device.device) == expected[f"{name}_mask_key"]


def test_reports_are_signed_as_in_the_file(file: File) -> None:
    for number in file.numbers:
        expected, device = file.expected[f"report {number}"], file.device(number)
        digest = VectorDigest()
        digest.update(expected["y"])
        assert (digest.digest(), digest.chunks()) == (expected["y_hash"], expected["chunks"])
        header = ReportHeader.decode(Signed.decode(expected["signed_header"]).payload)
        envelope = sign_report(device.private, header, expected["main_sealed"], expected["aggregator_sealed"])
        assert (envelope.header, envelope.report_id) == (expected["signed_header"], expected["report_id"])
        assert envelope.encode() == expected["envelope"]
        assert body_prefix(envelope) + expected["y"] == expected["body"]


def test_the_servers_say_what_is_in_the_file(file: File) -> None:
    """From the proposal to the outcome, byte by byte, with both logs."""
    run = Run(file)
    run.open()
    run.collect()
    run.judge()
    run.release()
    run.end()
    for role, entries in (("main", run.main_log), ("aggregator", run.aggregator_log)):
        assert [entry.type for entry in entries] == file.expected["logs"][f"{role}_types"]
        assert heads(file.trust.fid, role, entries) == file.expected["logs"][f"{role}_heads"]


def heads(fid: bytes, role: str, entries: list[LogEntry]) -> list[bytes]:
    found = [log.first_head(fid, role)]
    for number, entry in enumerate(entries, start=1):
        found.append(log.next_head(number, found[-1], entry))
    return found


class Run:
    """One round of the role machines; each step compares what they say with the file."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.main_log: list[LogEntry] = []
        self.aggregator_log: list[LogEntry] = []
        self.held: list[Held] = []
        self.beacons: dict[bytes, bytes] = {}

    def main_says(self, step: main_round.Step) -> bytes:
        self.m = step.record
        self.main_log += step.entries
        return step.reply

    def aggregator_says(self, step: aggregator_round.Step) -> bytes:
        self.a = step.record
        self.aggregator_log += step.entries
        return step.reply

    def head(self, role: str) -> bytes:
        entries = self.main_log if role == "main" else self.aggregator_log
        return heads(self.file.trust.fid, role, entries)[-1]

    def open(self) -> None:
        file, said = self.file, self.file.expected["manifest"]
        proposal = proposal_of(file)
        assert self.main_says(file.main.propose(None, proposal, ())) == said["proposal"]
        public_key = file.secret("aggregator").public_key().public_bytes_raw()
        now = file.given["manifest"]["opened_at"]
        offered = self.aggregator_says(file.aggregator.offer(None, proposal, (), public_key, bytes(32), now))
        assert offered == said["countersigned"]
        assert (self.a.manifest, self.a.mh) == (said["manifest"], said["mh"])
        signed = self.main_says(file.main.open(self.m, offered))
        assert signed == said["signed_manifest"]
        self.aggregator_says(file.aggregator.open(self.a, SignedManifest.decode(signed)))

    def collect(self) -> None:
        file = self.file
        for number in file.numbers:
            expected, now = file.expected[f"report {number}"], file.given[f"report {number}"]["receipt_time"]
            device, envelope = file.device(number).device, Envelope.decode(expected["envelope"])
            header = file.aggregator.check_report(
                self.a, envelope, file.members[device].public_key, file.secret("aggregator"), now
            )
            step = file.aggregator.take_report(self.a, None, len(self.held), envelope, header, now)
            assert self.aggregator_says(step) == expected["receipt"]
            self.held.append(Held(device, envelope))
            receipt = file.main.take_beacon(self.m, device, expected["receipt"])
            self.beacons[device] = receipt.report_id

    def judge(self) -> None:
        file = self.file
        close = self.aggregator_says(file.aggregator.close(self.a, self.held, self.head("aggregator")))
        assert close == file.expected["close"]["close"]
        keys = {device: member.public_key for device, member in file.members.items()}
        step = file.main.judge(self.m, close, keys, self.beacons, file.secret("main"), self.head("main"))
        said, verdict = file.expected["verdict"], self.main_says(step)
        assert verdict == said["verdict"]
        content = Verdict.decode(Signed.decode(verdict).payload)
        assert [*content.accepted] == said["accepted"]
        assert [rejection.device for rejection in content.rejected] == said["rejected"]
        self.aggregator_says(file.aggregator.take_verdict(self.a, verdict, self.held))

    def release(self) -> None:
        file, said = self.file, self.file.expected["release"]
        accepted = file.aggregator.accepted(self.a, self.held)
        vector = self.masked_sum(accepted)
        assert bytes(ring.to_bytes(vector)) == said["masked_sum"]
        digest = vector_digest(said["masked_sum"])
        step = file.aggregator.release(self.a, accepted, [digest], self.head("aggregator"))
        assert self.aggregator_says(step) == said["release"]

    def masked_sum(self, accepted: tuple[Held, ...]) -> NDArray[np.uint32]:
        file = self.file
        ys = {file.device(number).device: file.expected[f"report {number}"]["y"] for number in file.numbers}
        total = np.zeros(sum(segment.length for segment in file.layout), np.uint32)
        for held in accepted:
            sealed = held.envelope.sealed_aggregator
            seed = open_seed(sealed, file.secret("aggregator"), MASK_AGGREGATOR, file.mh, held.device)
            ring.add_into(total, unpack(ring.from_bytes(ys[held.device]), file.layout))
            subtract_mask(total, mask_key(seed, MASK_AGGREGATOR, file.mh, held.device))
        return pack(total, file.layout)

    def end(self) -> None:
        file, said, clear = self.file, self.file.expected["outcome"], self.file.expected["sum"]
        vector = ring.from_bytes(file.expected["release"]["masked_sum"])
        step = file.main.take_release(self.m, file.expected["release"]["release"], vector, file.secret("main"))
        totals = step.totals
        assert totals is not None
        assert totals.mean is not None
        assert totals.mean.tolist() == pytest.approx(clear["mean"], rel=1e-15, abs=0)
        assert (totals.weight, totals.within_clip) == (clear["sum"][0], clear["sum"][-1])
        assert self.main_says(step) == said["main_outcome"]
        both = self.aggregator_says(file.aggregator.finish(self.a, said["main_outcome"]))
        assert both == said["signed_outcome"]
        self.main_says(file.main.countersigned(self.m, both))
        accepted = file.expected["verdict"]["accepted"]
        for device, told in zip(accepted, said["told_to_devices"], strict=True):
            answer = file.main.outcome_for(self.m, device)
            assert answer is not None
            assert answer.encode() == told
        for number in file.numbers:
            self.device_ends(number, accepted)

    def device_ends(self, number: str, accepted: list[bytes]) -> None:
        """A device that has the file's report stored verifies receipt, outcome and proof."""
        file, expected, terms = self.file, self.file.expected[f"report {number}"], self.file.given["manifest"]
        device = file.device(number)
        record = Record(
            delivery=Delivery.COMMITTED.value, number=terms["round"], kind="train", mh=file.mh, plan=file.plan.hash,
            model=terms["model"], attempt=terms["attempt"], envelope=expected["envelope"],
            length=len(expected["y"]) // 4, committed_at=terms["opened_at"],
        )  # fmt: skip
        answer = file.main.outcome_for(self.m, device.device)
        assert answer is not None
        ended = device.end(device.take_receipt(record, expected["receipt"]), answer)
        assert ended.was_included == (device.device in accepted)
