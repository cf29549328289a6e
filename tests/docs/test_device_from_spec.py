"""``examples/device_from_spec.py`` is on its own, and refuses what our device refuses, for the same reason."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest

from examples import device_from_spec as example
from fanlight.core.segments import Segment
from fanlight.errors import FanlightError
from fanlight.learning import model_file
from fanlight.learning.heads import HeadKind
from fanlight.learning.model_file import HeadModel
from fanlight.protocol import closing, device_round, exchange, identities, manifest, plan, report, signing
from fanlight.protocol.closing import (
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    Outcome,
    OutcomeForDevice,
    SignedOutcome,
)
from fanlight.protocol.device_round import History, answer_key
from fanlight.protocol.exchange import DECLINE_REASONS, Offer
from fanlight.protocol.identities import Role
from fanlight.protocol.manifest import MANIFEST_AGGREGATOR, MANIFEST_MAIN, Manifest, Proposal, SignedManifest, invite
from fanlight.protocol.message import Message
from fanlight.protocol.plan import Kind, Plan, PlannedAlgorithm, PlannedAugmentation, PlannedFineTuning
from fanlight.protocol.report import Envelope
from fanlight.services.device.offers import allowed_backbones
from fanlight.services.device.wishes import HEADS
from tests.docs.current import DOCS
from tests.docs.protocol_tables import bounds_of, unwrapped
from tests.protocol_world import EXPIRES, NOW, WEIGHTS, Round, World, floors, key, plan_of, public, round_key, secret

SOURCE = Path(example.__file__).read_text()
NEEDED = (DOCS.parent / "examples" / "requirements-device_from_spec.txt").read_text()
WORLD, PLAN = World(5), plan_of()
OWNER = WORLD.owners[0]


def model_of(head: str) -> bytes:
    """A model file with this head."""
    zeros = np.zeros((3, 2), np.float32), np.zeros(2, np.float32)
    return model_file.encode(HeadModel("t", 0, ("a", "b"), "lite", WEIGHTS.hex(), 128, *zeros, kind=HeadKind(head)))


FILE = model_of("softmax")
MODEL = hashlib.sha256(FILE).digest()
TERMS = WORLD.proposal(PLAN).with_(model=MODEL)
COHORT = [owner.id for owner in WORLD.owners]


def imported() -> set[str]:
    """The packages that the example imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").partition(".")[0])
    return found


def test_it_imports_what_its_requirements_name_and_the_standard_library() -> None:
    required = set(re.findall(r"^([a-z0-9]+)", NEEDED, re.MULTILINE))
    assert imported() - sys.stdlib_module_names == required
    assert "fanlight" not in required
    assert not re.search(r"import_module|__import__|exec\(|eval\(", SOURCE)


def test_its_help_helps(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["device_from_spec.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        example.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert {"--token", "--state", "--accept-demo", "--k-min"} <= set(re.findall(r"--[a-z-]+", said))
    assert "it imports nothing of Fanlight" in said


def test_it_knows_the_backbones_heads_and_words_of_refusal() -> None:
    assert {name: bytes.fromhex(text) for name, text in example.BACKBONES.items()} == allowed_backbones()
    assert set(example.HEADS) == HEADS - {"analytic", "prototypes"}, (
        "it refuses those that are solved from sums, as one may"
    )
    assert set(example.DECLINES) == DECLINE_REASONS


TABLES: dict[type[Message], example.Fields] = {
    identities.Certificate: example.CERTIFICATE,
    identities.TokenCertificate: example.TOKEN,
    exchange.Welcome: example.WELCOME,
    exchange.Offer: example.OFFER,
    plan.PlannedAlgorithm: example.ALGORITHM,
    plan.PlannedAugmentation: example.AUGMENTATION,
    plan.PlannedFineTuning: example.FINE_TUNING,
    plan.Plan: example.PLAN,
    manifest.Proposal: example.PROPOSAL,
    manifest.Manifest: example.MANIFEST,
    manifest.SignedManifest: example.SIGNED_MANIFEST,
    manifest.Invitation: example.INVITATION,
    report.Receipt: example.RECEIPT,
    closing.ShardOutcome: example.SHARD,
    closing.Outcome: example.OUTCOME,
    closing.SignedOutcome: example.SIGNED_OUTCOME,
    closing.InclusionProof: example.PROOF,
    closing.OutcomeForDevice: example.OUTCOME_FOR_DEVICE,
}
"""What the example reads, by the class whose table is on the page."""


def as_in_the_example(annotation: Any, metadata: Sequence[Any] = ()) -> Any:
    """A field's type as ``example.read`` takes it."""
    annotation, metadata = unwrapped(annotation, metadata)
    bounds = bounds_of(metadata)
    args = get_args(annotation)
    if args:
        return [as_in_the_example(args[0])] if args[-1] is ... else tuple(map(as_in_the_example, args))
    if issubclass(annotation, Message):
        return table_of(annotation)
    if annotation is int:
        return range(bounds["ge"], bounds.get("le", bounds.get("lt", 0) - 1) + 1)
    if annotation is bytes and bounds.get("min_length") == bounds.get("max_length"):
        return bounds.get("min_length", bytes)
    return example.SEGMENT if annotation is Segment else annotation


def table_of(kind: type[Message]) -> example.Fields:
    """A message as the example writes it."""
    fields = kind.model_fields.items()
    return {
        name if field.is_required() else f"{name}?": as_in_the_example(field.annotation, field.metadata)
        for name, field in fields
    }


@pytest.mark.parametrize("kind", TABLES)
def test_it_reads_each_message_with_the_fields_that_the_page_gives_it(kind: type[Message]) -> None:
    assert list(TABLES[kind].items()) == list(table_of(kind).items())


def test_no_table_of_the_example_is_left_out() -> None:
    tables = [value for name, value in vars(example).items() if name.isupper() and isinstance(value, dict)]
    assert [table for table in tables if table not in TABLES.values()] == [example.BACKBONES]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> example.Device:
    """The example as the first device of a world."""
    certificates = {
        f"{role.value}_certificate": identities.issue_certificate(WORLD.root, role, public(private)).hex()
        for role, private in ((Role.MAIN, WORLD.main_key), (Role.AGGREGATOR, WORLD.aggregator_key))
    }
    token_key = key("world/token-0")
    token = {
        "root_key": public(WORLD.root).hex(),
        **certificates,
        "main_url": "http://localhost:1",
        "aggregator_url": "http://localhost:2",
        "token": identities.issue_token(WORLD.root, public(token_key), EXPIRES, "device-0").hex(),
        "token_key": secret("world/token-0").hex(),
    }
    (tmp_path / "token.json").write_text(json.dumps(token))
    (tmp_path / "device.key").write_bytes(secret("world/device-0"))
    monkeypatch.setattr(example, "BACKBONES", {"lite": WEIGHTS.hex()})
    rules = argparse.Namespace(
        token=tmp_path / "token.json",
        state=tmp_path,
        k_min=5,
        accept_demo=True,
        answers_per_day=500,
        r_max_percent=34,
        pictures=10,
        rounds=1,
    )
    made = example.Device(rules)
    assert made.id == OWNER.id
    made.model, made.aggregator.skew = FILE, NOW - time.time()
    monkeypatch.setattr(made.aggregator, "time_there", lambda: NOW)
    return made


def ours(offer: Offer, signed: SignedManifest, rules: dict[str, Any], history: History) -> str:
    """Why our device does not answer; empty if it does."""
    offered, kind = Plan.decode(offer.plan), signed.terms.proposal.kind
    held = offered.with_(kind=kind) if kind == "measure" else offered
    try:
        OWNER.device.check_manifest(signed, held, offer.model, offer.invitation, floors(**rules), history, NOW)
    except FanlightError as error:
        return error.slug
    return ""


def theirs(device: example.Device, offer: Offer, signed: SignedManifest, rules: dict[str, Any]) -> str:
    """The same of the example."""
    for name, value in rules.items():
        if name not in ("backbones", "heads"):
            setattr(device.floors, name, value)
    said = example.read(example.SIGNED_MANIFEST, signed.encode())
    try:
        device.check(example.read(example.OFFER, offer.encode()), said, signed.hash)
    except example.Refused as refusal:
        return refusal.slug
    return ""


def layout_with(of: str, **changes: Any) -> Proposal:
    return TERMS.with_(
        layout=tuple(dataclasses.replace(part, **changes) if part.kind == of else part for part in TERMS.layout)
    )


def signed_with(terms: Proposal, **changes: Any) -> SignedManifest:
    manifest = Manifest(proposal=terms, aggregator_key=public(round_key("agg-round")), opened_at=NOW).with_(**changes)
    payload = manifest.encode()
    return SignedManifest(
        payload=payload,
        aggregator_signature=signing.sign(WORLD.aggregator_key, MANIFEST_AGGREGATOR, payload).signature,
        main_signature=signing.sign(WORLD.main_key, MANIFEST_MAIN, payload).signature,
    )


NAMED = WORLD.proposal(PLAN, COHORT).with_(model=MODEL)
GOOD = signed_with(TERMS)
PROPOSALS = {
    "good": TERMS,
    "counts left out": TERMS.with_(layout=tuple(part for part in TERMS.layout if part.kind not in ("counts", "loss"))),
    "measuring": WORLD.proposal(PLAN.with_(kind="measure")).with_(model=MODEL),
    "packed": WORLD.proposal(PLAN, update_bits=16, most_pictures=100).with_(model=MODEL),
    "packed, ten bits": WORLD.proposal(PLAN, update_bits=10, n_max=3).with_(model=MODEL),
    "a real one": TERMS.with_(demo=False, k_min=5),
    "federation": TERMS.with_(fid=bytes(32)),
    "suite": TERMS.with_(suite=2),
    "limits": TERMS.with_(k_min=1001),
    "too many may be rejected": TERMS.with_(r_max_percent=35),
    "cohort of 16 bytes": TERMS.with_(cohort=bytes(16)),
    "kind": TERMS.with_(kind="steal"),
    "kind and layout": TERMS.with_(kind="measure"),
    "another kind that teaches": TERMS.with_(kind="statistics"),
    "changes of no collection": TERMS.with_(kind="changes"),
    "changes of a later collection": TERMS.with_(kind="changes", collection=1),
    "a collection of nothing": TERMS.with_(round=2, collection=1),
    "shards of nobody": TERMS.with_(shards=2),
    "shards that are not drawn": NAMED.with_(shards=2),
    "task": TERMS.with_(task="other"),
    "plan": TERMS.with_(plan=bytes(32)),
    "model": TERMS.with_(model=bytes(32)),
    "not invited": NAMED,
    "below the floor": TERMS.with_(demo=False, k_min=4),
    "more devices than that layout is for": TERMS.with_(n_max=40_000),
    "noise of layouts": layout_with("weight", hi=20_000),
    "negative weight": layout_with("weight", lo=-1),
    "no weight": layout_with("weight", hi=0),
    "longer": layout_with("update", length=9),
    "one-sided": layout_with("update", lo=-1),
    "no steps": layout_with("update", lo=0, hi=0),
    "negative steps": layout_with("update", lo=-6, hi=-5),
    "exact": layout_with("update", rounding="exact"),
    "scale": layout_with("update", scale_numerator=1 << 62),
    "no scale": layout_with("update", scale_numerator=0),
    "wider": layout_with("update", bits=33),
    "narrow": layout_with("update", bits=12),
    "counts": layout_with("counts", hi=100_000),
    "another kind": layout_with("loss", kind="secrets"),
    "reversed": TERMS.with_(layout=TERMS.layout[::-1]),
    "no update": TERMS.with_(layout=tuple(part for part in TERMS.layout if part.kind != "update")),
    "no loss": TERMS.with_(layout=tuple(part for part in TERMS.layout if part.kind != "loss")),
    "weight alone": TERMS.with_(layout=TERMS.layout[:1]),
    "twice": TERMS.with_(layout=TERMS.layout[:1] + TERMS.layout),
}
GOOD_ONES = {"good", "counts left out", "measuring", "packed", "packed, ten bits", "a real one"}


def offer_of(signed: SignedManifest, invitation: bytes | None = None, **changes: Any) -> Offer:
    return Offer(
        fid=WORLD.trust.fid, version=1, by_itself=True, plan=PLAN.encode(), model=MODEL, model_version=0,
        manifest=signed.encode(), invitation=invitation,
    ).with_(**changes)  # fmt: skip


@pytest.mark.parametrize("name", PROPOSALS)
def test_both_answer_the_same_proposals_and_refuse_others_with_the_same_word(name: str, device: example.Device) -> None:
    signed = signed_with(PROPOSALS[name])
    offer = offer_of(signed)
    word = ours(offer, signed, {}, History({}, 0))
    without_pictures = "nothing-to-learn-from" if name == "measuring" else word
    assert theirs(device, offer, signed, {}) == without_pictures, "the example has none to measure on"
    assert (word == "") == (name in GOOD_ONES)


@pytest.mark.parametrize(
    ("signed", "slug"),
    [
        (GOOD.with_(main_signature=GOOD.aggregator_signature), "not-authentic"),
        (GOOD.with_(aggregator_signature=GOOD.main_signature), "not-authentic"),
        (GOOD.with_(payload=GOOD.payload[:-1] + b"\x00"), "not-authentic"),
        (signed_with(TERMS, aggregator_key=TERMS.main_key), "one-round-key"),
        (signed_with(TERMS, aggregator_key=TERMS.main_key[:31] + bytes([TERMS.main_key[31] | 128])), "bad-round-key"),
        (signed_with(TERMS, opened_at=NOW - 600), "window-passed"),
        (signed_with(TERMS, draw=bytes(32)), "bad-manifest"),
    ],
    ids=["main", "aggregator", "altered", "one key", "one key in two spellings", "window", "a draw of nothing"],
)
def test_both_refuse_what_is_not_signed_by_both_or_not_in_time(
    signed: SignedManifest, slug: str, device: example.Device
) -> None:
    offer = offer_of(signed)
    assert ours(offer, signed, {}, History({}, 0)) == theirs(device, offer, signed, {}) == slug


def test_the_example_whose_clock_is_ahead_asks_the_aggregator_before_it_refuses(device: example.Device) -> None:
    device.aggregator.skew += 86_400
    assert theirs(device, offer_of(GOOD), GOOD, {}) == ""


@pytest.mark.parametrize(
    ("rules", "slug"),
    [
        ({"accept_demo": False}, "demo-refused"),
        ({"r_max_percent": TERMS.r_max_percent - 1}, "may-reject-too-many"),
        ({"backbones": {}}, "backbone-refused"),
        ({"heads": frozenset()}, "head-refused"),
        ({"answers_per_day": 0}, "answers-per-day"),
    ],
)
def test_both_refuse_what_the_owner_does_not_allow(
    rules: dict[str, Any], slug: str, device: example.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "BACKBONES", rules.get("backbones", example.BACKBONES))
    monkeypatch.setattr(example, "HEADS", rules.get("heads", example.HEADS))
    offer = offer_of(GOOD)
    assert ours(offer, GOOD, rules, History({}, 0)) == theirs(device, offer, GOOD, rules) == slug


@pytest.mark.parametrize(("head", "kind"), [("analytic", "statistics"), ("prototypes", "statistics"),
                                            ("prototypes", "changes"), ("analytic", "train")])  # fmt: skip
def test_it_declines_rounds_of_heads_that_are_solved_from_sums_and_goes_on(
    head: str, kind: str, device: example.Device, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such offers name a collection: the message has to be read before the head can be refused."""
    offered, file = plan_of(head=head, kind=kind), model_of(head)
    changed = 1 if kind == "changes" else None
    signed = signed_with(WORLD.proposal(offered, model=hashlib.sha256(file).digest(), round=2, collection=changed))
    offer = offer_of(signed, plan=offered.encode(), model=signed.terms.proposal.model, collection=1)
    assert ours(offer, signed, {"heads": frozenset(example.HEADS)}, History({}, 0)) == "head-refused"
    asked, said = 0, []

    def main(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.url.path.endswith("/decline"):
            said.append(exchange.Decline.decode(request.content).reason)
            return httpx.Response(204, stream=httpx.ByteStream(b""))
        asked += 1
        if asked == 2:
            raise KeyboardInterrupt
        payload = signing.sign(WORLD.main_key, exchange.OFFER, offer.encode()).encode()
        return httpx.Response(200, stream=httpx.ByteStream(payload))

    device.model = file
    device.main.http = httpx.Client(transport=httpx.MockTransport(main))
    with pytest.raises(KeyboardInterrupt):
        device.run()
    assert said == ["head-refused"]
    assert "round not answered: head-refused" in capsys.readouterr().err


def test_both_refuse_another_kind_that_teaches_than_they_hold(device: example.Device) -> None:
    held, file = plan_of(head="prototypes", kind="statistics"), model_of("prototypes")
    device.model = file
    signed = signed_with(WORLD.proposal(held.of_kind(Kind.TRAIN), model=hashlib.sha256(file).digest()))
    offer = offer_of(signed, plan=held.encode(), model=signed.terms.proposal.model)
    assert ours(offer, signed, {}, History({}, 0)) == theirs(device, offer, signed, {}) == "other-model"


def test_it_refuses_sums_for_a_head_that_is_not_solved_from_any(device: example.Device) -> None:
    """Our device cannot even read such a plan."""
    held = PLAN.of_kind(Kind.STATISTICS)
    signed = signed_with(TERMS.with_(kind="statistics", plan=held.hash))
    assert theirs(device, offer_of(signed, plan=held.encode()), signed, {}) == "bad-manifest"


def test_both_have_the_same_floor_for_sums_of_squares(device: example.Device) -> None:
    offered, file = plan_of(head="analytic", kind="statistics"), model_of("analytic")
    device.model, rules = file, {"heads": frozenset(example.HEADS)}
    for k_min, slug in ((9, "below-floor"), (10, "head-refused")):
        terms = WORLD.proposal(offered, model=hashlib.sha256(file).digest(), demo=False, k_min=k_min)
        signed = signed_with(terms)
        offer = offer_of(signed, plan=offered.encode(), model=terms.model)
        assert ours(offer, signed, rules, History({}, 0)) == theirs(device, offer, signed, rules) == slug


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({"augmentation": PlannedAugmentation(variants=2, flip=True, zoom_percent=0, light_percent=0)}, ""),
        ({"class_counts": (7, 3)}, ""),
        ({"algorithm": PlannedAlgorithm(name="scaffold", parameters=(("rate", 1),), steps=True)}, "algorithm-refused"),
        ({"fine_tune": PlannedFineTuning(blocks=1, batch_norm="frozen", learning_rate_micro=1, parameters=9)},
         "needs-torch"),
    ],
)  # fmt: skip
def test_it_reads_whatever_a_plan_asks_for_and_refuses_what_it_cannot_do(
    changes: dict[str, Any], slug: str, device: example.Device
) -> None:
    offered = plan_of(**changes)
    signed = signed_with(WORLD.proposal(offered, model=MODEL))
    offer = offer_of(signed, plan=offered.encode())
    assert ours(offer, signed, {}, History({}, 0)) == "", "whether our device can do it is looked at when it learns"
    assert theirs(device, offer, signed, {}) == slug


@pytest.mark.parametrize("result", ["released", "failed", "abandoned"])
def test_both_answer_again_only_what_was_abandoned(result: str, device: example.Device) -> None:
    used = answer_key(PLAN.hash, 0, MODEL)
    device.note("ab" * 32, state="ended", result=result, key=used.hex(), time=time.time())
    history = History({} if result == "abandoned" else {used: b"\xab" * 32}, 1)
    word = ours(offer_of(GOOD), GOOD, {}, history)
    assert word == theirs(device, offer_of(GOOD), GOOD, {}) == ("" if result == "abandoned" else "answered-before")


def test_both_want_an_invitation_of_their_own(device: example.Device) -> None:
    signed = signed_with(NAMED)
    good = invite(WORLD.main_key, signed.hash, OWNER.id)
    for invitation, slug in (
        (good, ""),
        (invite(WORLD.main_key, signed.hash, COHORT[1]), "foreign-invitation"),
        (invite(WORLD.main_key, GOOD.hash, OWNER.id), "foreign-invitation"),
        (invite(WORLD.aggregator_key, signed.hash, OWNER.id), "not-authentic"),
        (good[:-1], "malformed-message"),
    ):
        offer = offer_of(signed, invitation)
        assert ours(offer, signed, {}, History({}, 0)) == theirs(device, offer, signed, {}) == slug


def test_it_refuses_a_model_that_is_not_the_plans(device: example.Device) -> None:
    offer = example.read(example.OFFER, offer_of(GOOD).encode())
    device.take_model(offer)
    other = FILE.replace(b'\\"picture_size\\":128', b'\\"picture_size\\":129')
    infinite = FILE[:-4] + b"\x00\x00\x80\x7f"
    for file in (other, infinite, FILE[:-4], FILE + bytes(4), b"", FILE.replace(b"head.bias", b"head.bios")):
        assert file != FILE
        device.model = file
        with pytest.raises(example.Refused) as refused:
            device.take_model({**offer, "model": hashlib.sha256(file).digest()})
        assert refused.value.slug == "model-refused"


# ---- after the round


def ended_round(**changes: Any) -> Round:
    """A round of all devices, with its outcome signed by both."""
    done = Round(WORLD, **changes).open().collect().agree()
    done.complete()
    return done


def answers(done: Round) -> dict[str, tuple[str, OutcomeForDevice]]:
    """What main might tell the first device, good and bad: with the word for it."""
    good = WORLD.main.outcome_for(done.m, OWNER.id)
    assert good is not None
    assert good.proof is not None
    outcome, proof = good.outcome, good.proof
    other = Outcome.decode(outcome.payload).with_(mh=bytes(32)).encode()
    abandoned = Outcome.decode(outcome.payload).with_(result="abandoned").encode()
    elsewhere = proof.with_(path=(*proof.path[:-1], bytes(32)))
    return {
        "good": ("", good),
        "no proof": ("", good.with_(proof=None)),
        "abandoned": ("", OutcomeForDevice(outcome=by_both(abandoned).with_(main_signature=None))),
        "abandoned, and summed": (
            "bad-inclusion-proof",
            good.with_(outcome=by_both(abandoned).with_(main_signature=None)),
        ),
        "half signed": ("half-signed-outcome", good.with_(outcome=outcome.with_(main_signature=None))),
        "by main alone": (
            "not-authentic",
            good.with_(outcome=outcome.with_(aggregator_signature=outcome.main_signature)),
        ),
        "by the aggregator alone": (
            "not-authentic",
            good.with_(outcome=outcome.with_(main_signature=outcome.aggregator_signature)),
        ),
        "another round": ("foreign-outcome", good.with_(outcome=by_both(other))),
        "another path": ("bad-inclusion-proof", good.with_(proof=elsewhere)),
        "another place": ("bad-inclusion-proof", good.with_(proof=proof.with_(index=proof.index ^ 1))),
        "another size": ("bad-inclusion-proof", good.with_(proof=proof.with_(size=proof.size + 1))),
        "beyond the end": ("bad-inclusion-proof", good.with_(proof=proof.with_(index=proof.size))),
        "an empty set": ("bad-inclusion-proof", good.with_(proof=proof.with_(size=0, index=0, path=()))),
        "no such shard": ("bad-inclusion-proof", good.with_(proof=proof.with_(shard=9))),
        "no shard": ("bad-inclusion-proof", good.with_(proof=proof.with_(shard=None if proof.shard else 1))),
    }


def by_both(payload: bytes) -> SignedOutcome:
    return SignedOutcome(
        payload=payload,
        aggregator_signature=signing.sign(WORLD.aggregator_key, OUTCOME_AGGREGATOR, payload).signature,
        main_signature=signing.sign(WORLD.main_key, OUTCOME_MAIN, payload).signature,
    )


def word_for(end: Callable[[], object], error: type[Exception]) -> str:
    try:
        end()
    except error as raised:
        return str(raised.slug)  # type: ignore[attr-defined]
    return ""


ROUNDS = {"one sum": ended_round(), "shards": ended_round(cohort=COHORT, shards=2)}


@pytest.mark.parametrize("shards", ROUNDS)
@pytest.mark.parametrize("name", answers(ROUNDS["one sum"]))
def test_both_believe_the_same_outcomes(
    shards: str, name: str, device: example.Device, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ROUNDS[shards]
    slug, answer = answers(done)[name]
    sent = next(sent for sent in done.reports if sent.owner is OWNER)
    record: device_round.Record = sent.record
    device.main.http = httpx.Client(
        transport=httpx.MockTransport(lambda _request: httpx.Response(200, stream=httpx.ByteStream(answer.encode())))
    )
    report = Envelope.decode(record.envelope).report_id.hex()
    device.note(record.mh.hex(), state="confirmed", report=report, key="", time=0, result="", round=1, kind="train")
    ended = word_for(lambda: OWNER.device.end(record, answer), FanlightError)
    assert word_for(lambda: device.end(record.mh.hex()), example.Refused) == ended == slug
    if slug == "":
        said = json.loads(capsys.readouterr().out)
        assert said["included"] == OWNER.device.end(record, answer).was_included
