"""Bytes of the protocol, version 1, suite 1: what every Fanlight must produce and accept, for ever.

The file = the reference = the package; ``v1`` says byte by byte what they mean.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.core.segments import Segment
from fanlight.errors import NotAuthentic
from fanlight.protocol import codec, identities, log, manifest, merkle, signing
from fanlight.protocol.contribution import expected_layout
from fanlight.protocol.device import Device
from fanlight.protocol.device_round import answer_key
from fanlight.protocol.digests import VectorDigest, device_id, federation_id, key_id, vector_digest
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.manifest import Manifest, Proposal, cohort_hash, manifest_hash
from fanlight.protocol.merkle import Entry, included, set_root
from fanlight.protocol.plan import Plan
from fanlight.protocol.report import REPORT, ReportHeader, report_id, sealed_hash
from fanlight.protocol.signing import Signed
from tests.vectors import reference as ref
from tests.vectors.files import Case, load
from tests.vectors.reference_round import PLAN_FIELDS, plan
from tests.vectors.reference_sealing import round_key

IDS, MANIFEST, SIGNATURES = load("v1/ids"), load("v1/manifest"), load("v1/signatures")
REPORTS, LOGS = load("v1/reports"), load("v1/logs")


def key(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret)


ROOT = key(IDS["federation"].given["root_secret"])
DEVICE = key(IDS["device"].given["device_secret"])
ROOT_KEY, FID = IDS["federation"].expected["root_key"], IDS["federation"].expected["fid"]
DEVICE_KEY, DEV = IDS["device"].expected["device_key"], IDS["device"].expected["device"]


def test_ids() -> None:
    for private, name, public in ((ROOT, "federation", "root"), (DEVICE, "device", "device")):
        given, expected = IDS[name].given, IDS[name].expected
        public_key = expected[f"{public}_key"]
        assert signing.raw_public_key(private) == ref.verifying_key(given[f"{public}_secret"]) == public_key
        assert key_id(public_key) == ref.key_id(public_key) == expected["key_id"]
    assert federation_id(ROOT_KEY) == ref.digest("fanlight/fed/v1", ROOT_KEY) == FID
    assert hashlib.sha256(IDS["federation"].expected["preimage"]).digest() == FID
    assert device_id(FID, DEVICE_KEY) == ref.digest("fanlight/dev/v1", FID, DEVICE_KEY)[:16] == DEV
    assert hashlib.sha256(IDS["device"].expected["preimage"]).digest()[:16] == DEV


def the_plan() -> Plan:
    return Plan.decode(MANIFEST["plan"].expected["plan"])


def test_plan() -> None:
    given, expected = MANIFEST["plan"].given, MANIFEST["plan"].expected
    assert plan(given) == expected
    absent = ("algorithm", "augmentation", "class_counts", "fine_tune")  # unless it has one
    assert (*given, *absent) == (*PLAN_FIELDS, *absent) == tuple(Plan.model_fields)
    ours = the_plan()
    assert ours == Plan(**{**given, "classes": tuple(given["classes"])})
    assert (ours.encode(), ours.hash) == (expected["plan"], expected["plan_hash"])


def test_manifest() -> None:
    given, expected = MANIFEST["manifest"].given, MANIFEST["manifest"].expected
    encoded, mh = expected["manifest"], expected["mh"]
    layout = expected_layout(the_plan(), given["n_max"], given["clip_micro"], with_counts=False)
    assert [[*dataclasses.astuple(segment)] for segment in layout] == expected["layout"]
    limits = {name: given[name] for name in ("n_max", "k_min", "r_max_percent", "window_s", "demo")}
    proposal = Proposal(
        fid=given["fid"], suite=manifest.SUITE, task="t", round=1, attempt=0, kind="train", model=given["model"],
        plan=given["plan_hash"], layout=layout, cohort=b"", main_key=round_key(given["main_round_secret"]), noise=0,
        **limits,
    )  # fmt: skip
    ours = Manifest(proposal=proposal, aggregator_key=given["aggregator_round_key"], opened_at=given["opened_at"])
    theirs = ref.message(
        given["fid"], 1, "t", 1, 0, "train", given["model"], given["plan_hash"], expected["layout"], b"",
        *limits.values(), round_key(given["main_round_secret"]), 0,
    )  # fmt: skip
    assert ref.cbor(ref.message(theirs, given["aggregator_round_key"], given["opened_at"])) == encoded
    assert ours.encode() == encoded
    assert Manifest.decode(encoded) == ours
    assert ours.length == 12
    assert manifest_hash(encoded) == ref.digest("fanlight/manifest/v1", encoded) == mh
    assert hashlib.sha256(expected["preimage_head"] + encoded).digest() == mh


def test_the_segment_of_a_packed_update() -> None:
    given, expected = MANIFEST["packed update"].given, MANIFEST["packed update"].expected
    layout = expected_layout(
        the_plan(), given["n_max"], given["clip_micro"], with_counts=False, update_bits=given["update_bits"]
    )
    assert layout[1] == Segment(*expected["layout"][0])
    assert codec.encode(dataclasses.astuple(layout[1])) == expected["segment"]
    assert ref.cbor(expected["layout"][0]) == expected["segment"]


def test_what_devices_answer_once_and_who_is_invited() -> None:
    devices, cohort = MANIFEST["cohort"].given["devices"], MANIFEST["cohort"].expected["cohort"]
    assert cohort_hash(devices) == ref.digest("fanlight/cohort/v1", sorted(devices)) == cohort
    asked = [MANIFEST["answer"].given[name] for name in ("plan_hash", "attempt", "model")]
    assert answer_key(*asked) == ref.digest("fanlight/answer/v1", *asked) == MANIFEST["answer"].expected["answer"]


def check_signed(name: str, private: Ed25519PrivateKey, label: str, ours: bytes, *fields: Any) -> None:
    """The reference's fields, the file's bytes and ours are one; the signature is the label's."""
    expected = SIGNATURES[name].expected
    assert ref.cbor(ref.message(*fields)) == expected["payload"]
    assert ref.signed(private.private_bytes_raw(), label, expected["payload"]) == expected["signed"]
    assert ours == expected["signed"]
    assert signing.verify_bytes(signing.raw_public_key(private), label, ours) == expected["payload"]
    with pytest.raises(NotAuthentic):
        signing.verify_bytes(signing.raw_public_key(private), f"{label}0", ours)


def test_certificate() -> None:
    signed = SIGNATURES["certificate"].expected["signed"]
    ours = identities.issue_certificate(ROOT, Role.MAIN, DEVICE_KEY)
    check_signed("certificate", ROOT, identities.CERTIFICATE, ours, FID, "main", DEVICE_KEY)
    assert identities.check_certificate(ROOT_KEY, signed, Role.MAIN) == DEVICE_KEY


def test_token_and_enrolment() -> None:
    given, said = SIGNATURES["enrolment"].given, SIGNATURES["enrolment"].expected["said"]
    token, expires, name = key(given["token_secret"]), given["expires"], given["token_name"]
    token_key = signing.raw_public_key(token)
    signed = identities.issue_token(ROOT, token_key, expires, name)
    check_signed("token", ROOT, identities.TOKEN, signed, FID, token_key, expires, name)
    assert ref.cbor([identities.ENROL, FID, token_key, DEVICE_KEY]) == said
    secrets = (given["token_secret"], given["device_secret"])
    signatures = [ref.signature(secret, identities.ENROL, said) for secret in secrets]
    enrolment = SIGNATURES["enrolment"].expected["enrolment"]
    assert ref.cbor(ref.message(signed, DEVICE_KEY, *signatures)) == enrolment
    assert identities.enrol(FID, signed, token, DEVICE) == enrolment
    member = identities.check_enrolment(ROOT_KEY, enrolment, expires - 1)
    assert member == identities.Member(DEV, DEVICE_KEY, token_key, name)


def test_change_of_key() -> None:
    case = SIGNATURES["change of key"]
    new, said = key(case.given["new_secret"]), case.expected["said"]
    new_key = signing.raw_public_key(new)
    assert ref.cbor([identities.REKEY, FID, DEV, new_key]) == said
    proof = ref.signature(case.given["new_secret"], identities.REKEY, said)
    ours = identities.rekey(FID, DEV, DEVICE, new)
    check_signed("change of key", DEVICE, identities.REKEY, ours, FID, DEV, new_key, proof)
    member = identities.Member(DEV, DEVICE_KEY, bytes(32), "front door")
    assert identities.check_rekey(FID, member, case.expected["signed"]).public_key == new_key


def test_revocation_and_leaving() -> None:
    time = SIGNATURES["leaving"].given["time"]
    revoked = identities.revoke(ROOT, DEV, time)
    check_signed("revocation", ROOT, identities.REVOCATION, revoked, FID, DEV, time)
    assert identities.check_revocation(ROOT_KEY, revoked).subject == DEV
    left = identities.leave(FID, DEV, DEVICE, time)
    check_signed("leaving", DEVICE, identities.LEAVE, left, FID, DEV, time)
    assert identities.check_leave(FID, DEV, DEVICE_KEY, left).time == time


def test_readiness() -> None:
    given = SIGNATURES["readiness"].given
    assert given["task"] == the_plan().task
    ours = Device(DEVICE, DEV, Trust(ROOT_KEY, bytes(32), bytes(32))).announce(
        the_plan(), given["model"], given["time"]
    )
    check_signed(
        "readiness", DEVICE, "fanlight/readiness/v1", ours,
        FID, DEV, given["task"], given["plan_hash"], given["model"], given["time"],
    )  # fmt: skip


def test_invitation() -> None:
    given, signed = SIGNATURES["invitation"].given, SIGNATURES["invitation"].expected["signed"]
    main = key(given["main_secret"])
    ours = manifest.invite(main, given["mh"], DEV)
    check_signed("invitation", main, manifest.INVITATION, ours, given["mh"], DEV)
    manifest.check_invitation(Trust(ROOT_KEY, signing.raw_public_key(main), bytes(32)), signed, given["mh"], DEV)


@pytest.mark.parametrize("name", ["one chunk", "two chunks", "empty"])
def test_hash_of_a_vector(name: str) -> None:
    given, expected = REPORTS[name].given, REPORTS[name].expected
    y = given["y"] if "y" in given else bytes(given["zeros"]) + given["then"]
    assert vector_digest(y) == ref.vector_hash(y) == expected["y_hash"]
    if "preimage" in expected:
        assert hashlib.sha256(expected["preimage"]).digest() == expected["y_hash"]
    if "chunks" in expected:
        whole = VectorDigest()
        whole.update(y)
        assert whole.chunks() == ref.chunk_hashes(y) == expected["chunks"]


def test_report_id() -> None:
    given, expected = REPORTS["header"].given, REPORTS["header"].expected
    hashes = [sealed_hash(given[f"{name}_sealed"]) for name in ("main", "aggregator")]
    ours = ReportHeader(
        mh=given["mh"], device=given["device"], length=given["length"], y_hash=given["y_hash"],
        main_hash=hashes[0], aggregator_hash=hashes[1],
    )  # fmt: skip
    theirs = ref.message(given["mh"], given["device"], given["length"], given["y_hash"], *hashes)
    assert ours.encode() == ref.cbor(theirs) == expected["header"]
    signed = expected["signed_header"]
    assert signing.sign(DEVICE, REPORT, ours.encode()).encode() == signed
    assert ref.signed(given["device_secret"], REPORT, expected["header"]) == signed
    assert report_id(signed) == ref.digest("fanlight/report-id/v1", signed) == expected["report_id"]


@pytest.mark.parametrize("case", load("v1/sets").values(), ids=lambda case: case.name)
def test_sets(case: Case) -> None:
    mh, devices, expected = case.given["mh"], case.given["devices"], case.expected
    reports = dict(zip(devices, case.given["report_ids"], strict=True))
    leaves, entries, root = ref.set_leaves(reports), [Entry(*pair) for pair in reports.items()], expected["set_root"]
    assert ref.tree_head(leaves) == expected["tree_head"]
    assert set_root(mh, entries[::-1]) == ref.set_root(mh, reports) == root
    proofs = merkle.inclusion_proofs(entries)
    for index, path in enumerate(expected.get("paths", [])):
        assert ref.audit_path(index, leaves) == path
        assert proofs[devices[index]] == (index, tuple(path))
        assert included(mh, root, len(entries), index, path, entries[index])
        assert not included(mh, root, len(entries), index, path, entries[index]._replace(report_id=bytes(32)))


def test_a_small_tree_by_hand() -> None:
    expected = load("v1/sets")["3 reports"].expected
    first, second, third = expected["leaf_hashes"]
    assert hashlib.sha256(expected["leaf_1"]).digest() == first
    assert hashlib.sha256(b"\x01" + first + second).digest() == expected["node"]
    assert hashlib.sha256(b"\x01" + expected["node"] + third).digest() == expected["tree_head"]


@pytest.mark.parametrize("case", LOGS.values(), ids=lambda case: case.name)
def test_logs(case: Case) -> None:
    fid, role = case.given["fid"], case.given["role"]
    entries = list(zip(case.given["types"], case.given["payloads"], strict=True))
    heads = [log.first_head(fid, role)]
    for number, entry in enumerate(entries, start=1):
        heads.append(log.next_head(number, heads[-1], log.LogEntry(*entry)))
    assert heads == ref.log_heads(fid, role, entries) == case.expected["heads"]
    chained = [log.ChainedEntry(i, heads[i], *entry) for i, entry in enumerate(entries, start=1)]
    assert log.verify_chain(fid, role, chained) == heads[-1]


def test_the_first_entry_of_a_log_by_hand() -> None:
    expected = LOGS["main's"].expected
    assert hashlib.sha256(expected["preimage"]).digest() == expected["heads"][1]


def test_a_signed_object_is_read_as_it_is_written() -> None:
    for case in SIGNATURES.values():
        if signed := case.expected.get("signed"):
            assert Signed.decode(signed).payload == case.expected["payload"]
            assert Signed.decode(signed).encode() == signed
